"""What `tuneloop show` prints of each family and stage: what is read, what is learned, and no false alarm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tiny_families import build_tiny_encoder, build_tiny_encoder_decoder

from data_prep.records import write_rows
from finetune import show
from finetune.stages import classify, cpt, seq2seq
from tests.conftest import SENTENCES

SPECIAL = re.compile(r"\[(CLS|SEP)\]")
TRAINING = {"learning_rate": 1e-4, "max_steps": 1}
ROWS: dict[str, list[dict[str, Any]]] = {
    "texts": [{"text": text} for text in SENTENCES],
    "labels": [{"text": text, "label": label} for text, label in zip(SENTENCES[:2], "ab", strict=True)],
    "words": [{"tokens": "Mara Holm keeps the rock house".split(), "tags": "B-PER I-PER O O O O".split()}],
    "pairs": [{"source": "fern, water", "target": "The silver fern wants water."}] * 2,
}


@pytest.fixture(scope="module")
def bases(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    texts = [*SENTENCES * 3, "fern, water"]
    return {
        "decoder": tiny_model_dir,
        "encoder": build_tiny_encoder(folder / "encoder", texts),
        "encoder_decoder": build_tiny_encoder_decoder(folder / "t5", texts),
    }


@pytest.fixture
def shown(bases: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def made(stage: Any, family: str, file: str, data: dict[str, Any], **keys: Any) -> str:
        write_rows(tmp_path / "rows.jsonl", ROWS[file])
        recipe = stage.Recipe(
            output_dir="out", model={"model_name_or_path": str(bases[family])}, training=TRAINING,
            data={"train_file": str(tmp_path / "rows.jsonl"), **data}, **keys,
        )  # fmt: skip
        assert recipe.faults() == []
        capsys.readouterr()
        show.main(recipe, "recipe.yaml")
        return capsys.readouterr().out

    return made


def test_what_each_objective_reads_and_learns(shown: Any) -> None:
    said = shown(cpt, "decoder", "texts", {"max_length": 48})
    assert "── row 1 · 48 tokens, " in said and "2 rows, 84 tokens, " in said  # but the first token of each document
    said = shown(cpt, "encoder", "texts", {"max_length": 48})
    titles = [line.partition(" · ")[0] for line in said.splitlines() if line.startswith("──")]
    assert titles == ["── row 1, read", "── row 1, told", "── row 2, read", "── row 2, told"]
    read, told = (said.splitlines()[at] for at in (1, 4))
    assert "[MASK]" in read and "[MASK]" not in told
    count = int(said.splitlines()[3].split(", ")[2].split()[0])
    assert 0 < read.count("[MASK]") <= count == told.count("[") - len(SPECIAL.findall(told))
    learned = sum(int(line.split(", ")[2].split()[0]) for line in said.splitlines() if ", told" in line)
    assert f"2 rows, 79 tokens, {learned / 79:.1%} of them learned" in said
    said = shown(cpt, "encoder_decoder", "texts", {"max_length": 48})
    assert "── row 1, read · " in said and "── row 1, written · " in said and "<extra_id_0>" in said
    assert said.splitlines()[-1].startswith("2 rows, ")


def test_the_label_of_a_text_and_the_tags_of_words(shown: Any) -> None:
    said = shown(classify, "encoder", "labels", {"max_length": 64})
    assert "── row 1 -> a · 17 tokens\n" in said and "── row 2 -> b · 16 tokens\n" in said
    assert said.splitlines()[-1] == "2 rows, 33 tokens, learned is the label behind the arrow"
    keys = {"classification": {"task": "token-classification"}}
    said = shown(classify, "encoder", "words", {"max_length": 64}, **keys)
    assert "[CLS][mara·holm·keeps·the·rock·house][SEP]" in said and "1 rows, 8 tokens, 75.0%" in said
    shown_words = shown(classify, "decoder", "words", {"max_length": 64}, **keys)
    assert "6 of them learned" in shown_words


def test_pairs_of_both_families(shown: Any) -> None:
    said = shown(seq2seq, "encoder_decoder", "pairs", {"max_source_length": 64})
    titles = [line.partition(" · ")[0] for line in said.splitlines() if line.startswith("──")]
    assert titles == [f"── pair {number}, {side}" for number in (1, 2) for side in ("source", "target")]
    assert said.splitlines()[-1].startswith("2 rows, ")
    said = shown(seq2seq, "decoder", "pairs", {"max_source_length": 64})
    assert "[The· silver· fern· wants· wat·er·.·<|end|>]" in said


def test_no_end_of_turn_is_missed_where_nothing_is_answered(shown: Any, bases: dict[str, Path]) -> None:
    """An answer without its end is told; masked tokens and tags are no answers."""
    keys = {"classification": {"task": "token-classification"}}
    assert all(
        "look here" not in said
        for said in (
            shown(cpt, "encoder", "texts", {"max_length": 48}),
            shown(classify, "decoder", "words", {"max_length": 64}, **keys),
        )
    )
    from finetune.models import load_tokenizer

    tokenizer = load_tokenizer(str(bases["decoder"]))
    samples = [("row", [5, 6, 7], [0, 1, 0]), ("row", [5, 6, tokenizer.eos_token_id], [0, 0, 1])]
    assert show.warnings(tokenizer, samples) == ["1 of 2 rows never learn an end of turn, so the model will not stop"]
    assert show.warnings(tokenizer, samples, answers=False) == []
