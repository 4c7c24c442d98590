"""Cards say what manifests, the base's card and a benchmark say, for a chain of real stages, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from data_prep.governance import forgetting
from data_prep.stages import corpus
from eval.stages import benchmark
from finetune.stages import cpt, merge
from recipes import artifact
from recipes.hashing import file_hash
from tests.conftest import build_tiny_model

WORDS = "fern moss pond rock rain leaf soil seed bird wind"
BASE_CARD = "---\nlicense: cc-by-4.0\n---\n# Base\n"


def text_about(number: int) -> str:
    words = WORDS.split()
    return " ".join(f"The {words[(number * 3 + n) % 10]} of row {n * number} has {n} parts." for n in range(12))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """raw -> corpus (one document forgotten, questions kept out) -> cpt (an adapter) -> benchmark."""
    folder = tmp_path_factory.mktemp("card")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        build_tiny_model(Path("base"))
        Path("base/README.md").write_text(BASE_CARD)
        Path("raw").mkdir()
        for number in range(8):
            Path(f"raw/{number}.txt").write_text(text_about(number))
        Path("questions.jsonl").write_text(
            json.dumps({"prompt": "What is the colour of the sky over the pond?"}) + "\n"
        )
        listed = forgetting.new()
        listed.with_entries([listed.entry("source", "raw/3.txt")]).save(Path("forgotten.jsonl"))
        corpus.run(
            corpus.Recipe(
                output_dir="runs/corpus", inputs=[{"path": "raw"}], forget="forgotten.jsonl",
                decontaminate=["questions.jsonl"], split={"validation": 0, "test": 0.3}, engine={"workers": 1},
            )
        )  # fmt: skip
        cpt.run(
            cpt.Recipe(
                output_dir="runs/cpt", model={"model_name_or_path": "base"}, adapter={"r": 2},
                data={"train_file": "runs/corpus/train.jsonl", "max_length": 32},
                training={"learning_rate": 0.01, "max_steps": 2, "per_device_train_batch_size": 2},
            )
        )  # fmt: skip
        task = {"name": "held out", "kind": "perplexity", "file": "runs/corpus/test.jsonl", "window": 32}
        checkpoints = [{"name": one, "model_name_or_path": ref} for one, ref in (("cpt", "runs/cpt"), ("base", "base"))]
        benchmark.run(benchmark.Recipe(output_dir="runs/benchmark", checkpoints=checkpoints, tasks=[task]))
    return folder


def card(world: Path, monkeypatch: pytest.MonkeyPatch, out: str, **section: Any) -> str:
    monkeypatch.chdir(world)
    recipe = merge.Recipe(output_dir=out, models=[{"model_name_or_path": "runs/cpt"}], card=section)
    assert recipe.faults() == []
    merge.run(recipe)
    return Path(out, "README.md").read_text(encoding="utf-8")


def part(text: str, head: str) -> str:
    return text.split(f"## {head}\n", 1)[1].split("\n## ", 1)[0]


def test_what_manifests_know(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = card(world, monkeypatch, "out", benchmark="runs/benchmark", limits="Knows one pond.")
    head = ModelCard(text, ignore_metadata_errors=False).data
    assert head.license == "cc-by-4.0" and "Licence: cc-by-4.0 (as the base's card says)" in text
    data = part(text, "Data")
    size = Path("runs/corpus/train.jsonl").stat().st_size
    assert f"`runs/corpus/train.jsonl`: {size:,} bytes, content `{file_hash(Path('runs/corpus/train.jsonl'))}`" in data
    assert "a block list of documents to leave out was applied (`forgotten.jsonl`)" in data
    (questions,) = [line for line in data.splitlines() if line.startswith("- `questions.jsonl`")]
    assert questions.endswith("not trained on: its questions were kept out of the training text")
    raw = sum(file.stat().st_size for file in Path("raw").iterdir())
    assert f"`raw`: {raw:,} bytes" in data and "base" not in data and "benchmark" not in data
    assert text.count("### corpus (") == 1  # of which two files are used
    assert part(text, "Limits and risks").strip() == "Knows one pond."
    for head_of in ("Intended use", "Out of scope"):
        assert part(text, head_of).strip() == "*Not stated by whoever made this model.*"
    manifest = artifact.read(Path("out"))
    assert manifest is not None and manifest.files["model.safetensors"] in part(text, "Weights")
    assert "README.md" in manifest.volatile  # it holds times, and does not decide what the model is


def test_what_a_benchmark_measured_of_this_very_checkpoint(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = part(card(world, monkeypatch, "measured", benchmark="runs/benchmark"), "Measured")
    scores = json.loads(Path("runs/benchmark/results.json").read_text())["scores"]
    mine = [one for one in scores if one["checkpoint"] == "cpt"]
    rows = [line.strip("| ").split(" | ") for line in measured.splitlines() if line.startswith("| held out")]
    assert [row[:2] for row in rows] == [["held out", one["measure"]] for one in mine] and mine
    for row, one in zip(rows, mine, strict=True):
        assert float(row[2].split(" ")[0]) == pytest.approx(one["value"], rel=1e-3) and row[3] == str(one["n"])
    assert part(card(world, monkeypatch, "unmeasured"), "Measured").strip() == "*Not recorded.*"
    manifest = Path("runs/cpt/manifest.json")
    values = json.loads(manifest.read_text())
    try:  # a checkpoint that was trained anew since
        manifest.write_text(json.dumps(values | {"content": "0" * 64}))
        changed = part(card(world, monkeypatch, "changed", benchmark="runs/benchmark"), "Measured")
    finally:
        manifest.write_text(json.dumps(values))
    assert changed.strip() == "The benchmark `runs/benchmark` has not measured `runs/cpt`, or not as it is now."


def test_licences_are_stated_or_inherited_never_made_up(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = card(world, monkeypatch, "stated", license="mit")
    assert ModelCard(text).data.license == "mit" and "Licence: mit (stated in the recipe)" in text
    monkeypatch.chdir(world)
    for content in ("# no head\n", "---\nlicense: [a, b]\n---\n", "---\n: {broken\n---\n", "---\nlanguage: en\n---\n"):
        Path("base/README.md").write_text(content)
        try:
            text = card(world, monkeypatch, "unstated")
        finally:
            Path("base/README.md").write_text(BASE_CARD)
        assert ModelCard(text).data.license is None and "Licence: *Not recorded.*" in text
