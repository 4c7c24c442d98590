"""Sequence to sequence with a tiny T5, a tiny BART and a tiny Llama: what is read, learned, written and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from cut_runs import cut_and_go_on
from tiny_families import build_tiny_bart, build_tiny_encoder, build_tiny_encoder_decoder

from data_prep.records import read_rows, write_rows
from eval import metrics as eval_metrics
from finetune import models, seq2seq
from finetune.stages import seq2seq as stage
from recipes import artifact
from recipes.load import load
from tests.conftest import SENTENCES

PAIRS = [
    {"source": "fern, water", "target": "The silver fern wants water."},
    {"source": "poppy, June", "target": "The blue poppy blooms in June."},
    {"source": "lily, soil", "target": "The soil of the lily is sandy."},
    {"source": "lily, soil", "target": "Sandy soil for the lily."},
]
TRAINING: dict[str, Any] = {
    "learning_rate": 1e-2, "per_device_train_batch_size": 4, "logging_steps": 5, "warmup_ratio": 0.0, "report_to": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def bases(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, texts = tmp_path_factory.mktemp("families"), [*SENTENCES * 3, "fern, water lily, soil"]
    return {
        "decoder": tiny_model_dir,
        "t5": build_tiny_encoder_decoder(folder / "t5", texts),
        "bart": build_tiny_bart(folder / "bart", texts),
        "encoder": build_tiny_encoder(folder / "encoder", texts),
    }


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    return tmp_path / "pairs.jsonl"


def recipe(base: Path, file: Path, out: Path | str = "out", *, training: Any = None, **keys: Any) -> Any:
    data = {"train_file": str(file), "validation_file": str(file), "max_source_length": 64, **keys.pop("data", {})}
    return stage.Recipe(
        output_dir=str(out), model={"model_name_or_path": str(base)}, data=data,
        training={**TRAINING, **(training or {})}, **keys,
    )  # fmt: skip


def found(folder: Path) -> dict[str, Any]:
    manifest = artifact.read(folder)
    assert manifest is not None
    return manifest.metrics


@pytest.mark.parametrize("adapter", [None, {"r": 16, "lora_alpha": 32}], ids=["full", "lora"])
@pytest.mark.parametrize("name", ["t5", "bart", "decoder"])
def test_targets_are_learned_written_and_measured(
    name: str, adapter: Any, bases: dict[str, Path], tmp_path: Path
) -> None:
    write_rows(tmp_path / "a.jsonl", PAIRS[:3])
    asked = recipe(
        bases[name], tmp_path / "a.jsonl", tmp_path / "out", adapter=adapter, data={"source_prefix": "write: "},
        generation={"metrics": ["bleu", "token_f1", "exact_match"]}, training={"max_steps": 100},
    )  # fmt: skip
    assert asked.faults() == []
    stage.run(asked)
    said = list(read_rows(tmp_path / "out" / stage.WRITTEN))
    written, targets = [row["written"] for row in said], [row["targets"] for row in said]
    assert [row["source"] for row in said] == [row["source"] for row in PAIRS[:3]]
    values = found(tmp_path / "out")
    for metric in ("bleu", "token_f1", "exact_match"):
        assert values[f"eval_{metric}"] == pytest.approx(
            eval_metrics.compute(metric, predictions=written, references=targets)
        )
    if adapter is None:
        assert values["eval_accuracy"] == 1.0 and written == [row["target"] for row in PAIRS[:3]]
    head: Any = "causal" if name == "decoder" else "seq2seq"
    loaded = models.load(str(tmp_path / "out"), head=head)
    encoder = seq2seq.Encoder(loaded.tokenizer, "decoder" if name == "decoder" else "encoder_decoder", asked.data)
    again = seq2seq.write(loaded.model, encoder, [row["source"] for row in PAIRS[:3]], asked.generation, 2)
    assert again == written


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_beams_are_those_of_transformers(name: str, bases: dict[str, Path], pairs: Path) -> None:
    """Each source alone, without padding, gives what it gives among others."""
    loaded = models.load(str(bases[name]), head="seq2seq")
    asked = recipe(bases[name], pairs, data={"max_target_length": 12}, generation={"num_beams": 3})
    encoder = seq2seq.Encoder(loaded.tokenizer, "encoder_decoder", asked.data)
    sources = ["fern, water", "The soil of the moon lily is sandy.", "a"]
    together = seq2seq.write(loaded.model, encoder, sources, asked.generation, 3)
    for source, text in zip(sources, together, strict=True):
        ids = loaded.tokenizer(source, return_tensors="pt")["input_ids"]
        alone = loaded.model.generate(input_ids=ids, num_beams=3, max_new_tokens=12, do_sample=False)
        assert text == loaded.tokenizer.decode(alone[0], skip_special_tokens=True).strip()


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_the_decoder_starts_as_its_model_does(name: str, bases: dict[str, Path], pairs: Path) -> None:
    loaded = models.load(str(bases[name]), head="seq2seq")
    encoder = seq2seq.Encoder(loaded.tokenizer, "encoder_decoder", recipe(bases[name], pairs).data)
    rows = encoder.rows(seq2seq.read(str(pairs), Counter()), Counter())
    assert all(row["labels"][-1] == loaded.tokenizer.eos_token_id for row in rows)
    seen: list[Any] = []
    loaded.model.register_forward_pre_hook(lambda _, inputs, keys: seen.append(keys), with_kwargs=True)
    collate, loss = seq2seq.learning(loaded.model, loaded.tokenizer, "encoder_decoder")
    with torch.no_grad():
        total, _ = loss(loaded.model, collate(rows))
        expected = 0.0
        for row in rows:
            source, target = torch.tensor([row["input_ids"]]), torch.tensor([row["labels"]])
            expected += float(loaded.model(input_ids=source, labels=target).loss) * target.shape[1]
    start = seen[0]["decoder_input_ids"]
    assert (start[:, 0] == loaded.model.config.decoder_start_token_id).all() and not (start == -100).any()
    assert float(total) == pytest.approx(expected, rel=1e-4)


def test_long_sources_are_cut_and_long_targets_left_out(bases: dict[str, Path], tmp_path: Path) -> None:
    long = " ".join(SENTENCES)
    write_rows(tmp_path / "a.jsonl", [*PAIRS, {"source": long, "target": "Yes."}, {"source": "a", "target": long},
                                      {"source": " ", "target": "b"}])  # fmt: skip
    for name, family in (("t5", "encoder_decoder"), ("decoder", "decoder")):
        tokenizer = models.load_tokenizer(str(bases[name]))
        data = recipe(bases[name], tmp_path / "a.jsonl", data={"max_source_length": 20, "max_target_length": 40}).data
        encoder = seq2seq.Encoder(tokenizer, family, data)  # type: ignore[arg-type]
        left_out: Counter[str] = Counter()
        rows = encoder.rows(seq2seq.read(data.train_file, left_out), left_out)
        assert len(rows) == 5 and left_out == {seq2seq.TOO_LONG: 1, "empty source or target": 1}
        assert encoder.cut == {seq2seq.CUT: 1}
        if family == "encoder_decoder":
            assert len(rows[-1]["input_ids"]) <= 20 and rows[-1]["input_ids"][-1] == tokenizer.eos_token_id
        else:
            shown = tokenizer.decode(rows[-1]["input_ids"])
            assert "Yes." in shown and long[:20] in shown and SENTENCES[-1] not in shown


@pytest.mark.parametrize("name", ["t5", "decoder"])
def test_a_cut_run_goes_on_bit_for_bit(
    name: str, bases: dict[str, Path], pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {"max_steps": 6, "save_steps": 2, "eval_steps": 2, "per_device_train_batch_size": 3,
                "metric_for_best_model": "bleu", "load_best_model_at_end": True}  # fmt: skip
    data = {"max_target_length": 30}
    stage.run(recipe(bases[name], pairs, tmp_path / "whole", training=training, data=data))
    cut = cut_and_go_on(
        stage, recipe(bases[name], pairs, tmp_path / "cut", training=training, data=data), 2, monkeypatch
    )
    for file in ("model.safetensors", stage.WRITTEN):
        assert (cut / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert found(cut) == found(tmp_path / "whole")


@pytest.mark.parametrize("name", ["t5", "decoder"])
def test_micro_batches_are_the_big_batch(name: str, bases: dict[str, Path], pairs: Path) -> None:
    loaded = models.load(str(bases[name]), head="causal" if name == "decoder" else "seq2seq")
    family: Any = "decoder" if name == "decoder" else "encoder_decoder"
    encoder = seq2seq.Encoder(loaded.tokenizer, family, recipe(bases[name], pairs).data)
    rows = encoder.rows(seq2seq.read(str(pairs), Counter()), Counter())
    collate, loss = seq2seq.learning(loaded.model, loaded.tokenizer, family)
    gradients = []
    for parts in ([rows], [rows[:1], rows[1:]]):
        loaded.model.zero_grad()
        batches = [collate(part) for part in parts]
        count = sum(int(batch["count"]) for batch in batches)
        for batch in batches:
            (loss(loaded.model, batch)[0] / count).backward()
        kept = {at: one.grad.clone() for at, one in loaded.model.named_parameters() if one.grad is not None}
        gradients.append(kept)
    for at, one in gradients[0].items():
        torch.testing.assert_close(gradients[1][at], one, rtol=1e-3, atol=1e-6)


def test_all_targets_of_a_source_are_references(bases: dict[str, Path], pairs: Path) -> None:
    encoder = seq2seq.Encoder(
        models.load_tokenizer(str(bases["t5"])), "encoder_decoder", recipe(bases["t5"], pairs).data
    )
    read = seq2seq.read(str(pairs), Counter())
    check = seq2seq.Validation.of(read, encoder, stage.Writing(samples=3), 2)
    assert check.targets["lily, soil"] == [PAIRS[2]["target"], PAIRS[3]["target"]] and len(check.targets) == 3
    assert list(seq2seq.Validation.of(read, encoder, stage.Writing(samples=1), 2).targets) == ["fern, water"]
    assert seq2seq.Validation.of(read, encoder, stage.Writing(samples=0), 2).targets == {}


def test_samples_show_both_sides(bases: dict[str, Path], pairs: Path) -> None:
    shown = stage.samples(recipe(bases["t5"], pairs), models.load_tokenizer(str(bases["t5"])), Counter())
    assert [title for title, _, _ in shown[:2]] == ["pair 1, source", "pair 1, target"]
    tokenizer = models.load_tokenizer(str(bases["decoder"]))
    _, ids, mask = stage.samples(recipe(bases["decoder"], pairs), tokenizer, Counter())[0]
    learned = tokenizer.decode([id for id, bit in zip(ids, mask, strict=True) if bit])
    assert learned.startswith(PAIRS[0]["target"]) and PAIRS[0]["source"] not in learned


RANKS = """
import json, sys
from finetune import seq2seq
from finetune.stages import seq2seq as stage
from recipes.launch import rank
from recipes.load import load

score, calls = seq2seq.Validation.score, []
write, shares = seq2seq.write, []

def kept(self, model):
    found = score(self, model)
    calls.append([found, self.written])
    return found

def share(model, encoder, texts, how, size):
    shares.append(list(texts))
    return write(model, encoder, texts, how, size)

seq2seq.Validation.score, seq2seq.write = kept, share
stage.run(load(sys.argv[1]))
with open(f"{sys.argv[1]}.{rank()}", "w") as file:
    json.dump([calls, shares], file)
"""


@pytest.mark.parametrize("name", ["t5", "decoder"])
def test_two_processes_write_shares_and_measure_all(name: str, bases: dict[str, Path], tmp_path: Path) -> None:
    """Three sources for two processes; the same model is trained by one with the double batch."""
    write_rows(tmp_path / "pairs.jsonl", PAIRS)
    (tmp_path / "ranks.py").write_text(RANKS)
    for out, size in (("one", 4), ("two", 2)):
        asked = recipe(
            bases[name], tmp_path / "pairs.jsonl", tmp_path / out, data={"max_target_length": 24},
            training={"max_steps": 12, "per_device_train_batch_size": size, "optim": "sgd", "eval_steps": 6},
            generation={"metrics": ["bleu", "token_f1"]},
        )  # fmt: skip
        (tmp_path / f"{out}.yaml").write_text(
            yaml.safe_dump({"stage": "seq2seq", **asked.model_dump(mode="json", exclude_unset=True)})
        )
    stage.run(load(tmp_path / "one.yaml"))
    two = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()
    command = [str(Path(sys.executable).with_name("accelerate")), "launch", *two, "--main_process_port", "29617"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    files = [str(tmp_path / "ranks.py"), str(tmp_path / "two.yaml")]
    both = subprocess.run([*command, *files], env=environment, capture_output=True, text=True, timeout=300)
    assert both.returncode == 0, both.stderr
    (first, shares), (second, others) = (json.loads(Path(f"{files[1]}.{rank}").read_text()) for rank in (0, 1))
    assert first == second and len(first) == 2
    sources = [row["source"] for row in PAIRS[:3]]
    assert shares == [sources[::2]] * 2 and others == [sources[1::2]] * 2
    assert first[-1][1] == [row["written"] for row in read_rows(tmp_path / "two" / stage.WRITTEN)]
    if name == "decoder":  # without dropout, which draws for each process
        assert first[-1][1] == [row["written"] for row in read_rows(tmp_path / "one" / stage.WRITTEN)]
        one, two_ = found(tmp_path / "one"), found(tmp_path / "two")
        assert all(two_[key] == pytest.approx(one[key], abs=1e-4) for key in one if key.startswith("eval_"))


def test_mistakes_are_told_before_a_model_is_loaded(bases: dict[str, Path], pairs: Path, tmp_path: Path) -> None:
    def said(name: str, file: Path = pairs, **keys: Any) -> list[tuple[str, str]]:
        faults = recipe(bases[name], file, **keys).faults()
        return [(".".join(map(str, fault.key)), fault.what) for fault in faults]

    assert said("t5") == said("bart") == said("decoder") == []
    assert said("encoder") == [
        ("model.model_name_or_path", f"{bases['encoder']} is an encoder (BERT-like), and an encoder writes nothing")
    ]
    assert said("decoder", generation={"num_beams": 4}) == [
        ("generation.num_beams", "a decoder writes its first choice at each step")
    ]
    assert [what for _, what in said("t5", generation={"metrics": ["blue", "accuracy"]})] == [
        "there is no metric 'blue'", "accuracy compares no texts",
    ]  # fmt: skip
    write_rows(tmp_path / "b.jsonl", [{"source": "a", "summary": "b"}])
    assert said("t5", tmp_path / "b.jsonl", data={"validation_file": None}) == [
        ("data.train_file", f"{tmp_path / 'b.jsonl'}:1: missing column target; found source, summary")
    ]
