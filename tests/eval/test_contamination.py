"""Planted test items are found in training files, and nothing else is."""

from __future__ import annotations

from pathlib import Path

from data_prep.records import write_rows
from eval import contamination
from eval.lineage import TrainingFile

LONG = " ".join(f"word{number}" for number in range(60))
CLEAN = "Which month does the quiet violet open its petals?"


def found(tmp_path: Path, rows: list[dict[str, object]], probes: dict[str, str]) -> list[str]:
    path = tmp_path / "train.jsonl"
    write_rows(path, rows)
    file = TrainingFile("sft", "train.jsonl", path)
    hits, missing = contamination.search({"task": list(probes.items())}, {"sft": [file]})
    assert missing == []
    assert all(hit.task == "task" and hit.checkpoints == ("sft",) and hit.of == len(probes) for hit in hits)
    return [item for hit in hits for item in hit.items]


def conversation(text: str) -> dict[str, object]:
    return {"id": CLEAN, "messages": [{"role": "user", "content": text}], "meta": {"text": CLEAN}}


def test_items_are_found_within_longer_texts_whatever_case_and_punctuation(tmp_path: Path) -> None:
    probes = {"a": "When does the blue poppy bloom?", "b": CLEAN}
    rows = [conversation("Tell me -- WHEN does the «blue poppy» bloom, please")]
    assert found(tmp_path, rows, probes) == ["a"]
    assert found(tmp_path, [{"text": "Once. when does the\nblue poppy bloom"}], probes) == ["a"]
    assert found(tmp_path, [{"prompt": "x", "chosen": [{"role": "assistant", "content": probes["a"]}]}], probes) == [
        "a"
    ]


def test_names_and_meta_are_no_training_text(tmp_path: Path) -> None:
    assert found(tmp_path, [conversation("something else entirely here")], {"b": CLEAN}) == []


def test_part_of_an_item_is_no_hit(tmp_path: Path) -> None:
    rows = [conversation("When does the blue poppy"), conversation("does the blue poppy bloom?")]
    assert found(tmp_path, rows, {"a": "When does the blue poppy bloom?"}) == []


def test_short_items_count_only_as_whole_texts(tmp_path: Path) -> None:
    probes = {"short": "What is it?"}
    assert found(tmp_path, [conversation("Now, what is it that grows here?")], probes) == []
    assert found(tmp_path, [conversation("what is it")], probes) == ["short"]


def test_long_documents_count_from_half_of_their_windows(tmp_path: Path) -> None:
    words = LONG.split()
    assert found(tmp_path, [{"text": f"Preface. {LONG} End."}], {"doc": LONG}) == ["doc"]
    assert found(tmp_path, [{"text": " ".join(words[:40])}], {"doc": LONG}) == ["doc"]
    assert found(tmp_path, [{"text": " ".join(words[:20])}], {"doc": LONG}) == []


def test_files_that_are_gone_are_named() -> None:
    hits, missing = contamination.search({"t": [("1", CLEAN)]}, {"base": [TrainingFile("base", "data/x.jsonl", None)]})
    assert (hits, missing) == ([], ["data/x.jsonl"])
