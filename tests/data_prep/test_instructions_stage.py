"""Supervised data: every shape gives the same messages, every bad row its reason with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import Conversation, Preference, read, read_rows, write_rows
from data_prep.stages import instructions
from recipes.errors import UserError
from recipes.load import load

ASKED, ANSWERED = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here."}
OTHER = {"role": "assistant", "content": "Nowhere."}
SYSTEM = {"role": "system", "content": "Be kind."}
SHAPES: dict[str, dict[str, Any]] = {
    "messages": {"messages": [ASKED, ANSWERED]},
    "sharegpt": {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Here."}]},
    "sharegpt with roles": {"conversations": [ASKED, ANSWERED]},
    "alpaca": {"instruction": "Where?", "input": "", "output": "Here."},
    "prompt_completion": {"prompt": "Where?", "completion": "Here."},
    "prompt_completion as messages": {"prompt": [ASKED], "completion": [ANSWERED]},
    "question_answer": {"question": "Where?", "answer": "Here."},
    "query": {"query": "Where?", "response": "Here."},
    "prompt": {"prompt": "Where?", "response": "Here."},
    "input": {"input": "Where?", "output": "Here."},
}


def _recipe(folder: Path, rows: list[Any] | bytes, **keys: Any) -> instructions.Recipe:
    if isinstance(rows, bytes):
        (folder / "in.jsonl").write_bytes(rows)
    else:
        write_rows(folder / "in.jsonl", rows)
    columns = keys.pop("columns", {})
    given = {"inputs": [{"path": str(folder / "in.jsonl"), "columns": columns}], "output_dir": str(folder / "out")}
    return instructions.Recipe(**{**given, "validation": 0.0, **keys})


def _run(folder: Path, rows: list[Any] | bytes, **keys: Any) -> list[dict[str, Any]]:
    instructions.run(_recipe(folder, rows, **keys))
    return list(read_rows(folder / "out" / "train.jsonl"))


def _refused(folder: Path) -> list[tuple[int, str, str]]:
    return [(row["line"], row["reason"], row["detail"]) for row in read_rows(folder / "out" / "refused.jsonl")]


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_is_recognised_and_gives_the_same_messages(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = _run(tmp_path, [SHAPES[name]])
    assert row["messages"] == [ASKED, ANSWERED]
    assert next(read(tmp_path / "out" / "train.jsonl", Conversation)).id == "in.jsonl#1"
    assert f"in.jsonl: read as {name.split()[0]}" in capsys.readouterr().out or name in ("query", "prompt", "input")


def test_alpaca_input_and_system_texts_find_their_place(tmp_path: Path) -> None:
    (row,) = _run(tmp_path, [{"instruction": "Translate.", "input": "Baum", "output": "Tree", "system": "Be kind."}])
    assert [turn["content"] for turn in row["messages"]] == ["Be kind.", "Translate.\n\nBaum", "Tree"]
    (row,) = _run(tmp_path, [SHAPES["alpaca"]], system="Be kind.")
    assert row["messages"] == [SYSTEM, ASKED, ANSWERED]


def test_other_columns_are_named_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"title": "Where?", "body": "Here.", "id": "x7", "topic": "places", "meta": {"n": 1}}]
    (row,) = _run(tmp_path, rows, columns={"question": "title", "answer": "body"})
    assert row["messages"] == [ASKED, ANSWERED]
    assert row["id"] == "x7"
    assert row["meta"] == {"topic": "places", "n": 1, "file": "in.jsonl", "line": 1}
    assert "read as question_answer (title as question, body as answer)" in capsys.readouterr().out


PREFERENCES: dict[str, dict[str, Any]] = {
    "texts": {"prompt": "Where?", "chosen": "Here.", "rejected": "Nowhere."},
    "messages": {"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [OTHER]},
    "common start": {"chosen": [ASKED, ANSWERED], "rejected": [ASKED, OTHER]},
    "prompt twice": {"prompt": "Where?", "chosen": [ASKED, ANSWERED], "rejected": [ASKED, OTHER]},
}


@pytest.mark.parametrize("name", PREFERENCES)
def test_preferences(tmp_path: Path, name: str) -> None:
    _run(tmp_path, [{**PREFERENCES[name], "margin": 2, "grade": 4}], kind="preferences")
    (row,) = read(tmp_path / "out" / "train.jsonl", Preference)
    assert (row.prompt, row.chosen, row.rejected, row.margin) == ([ASKED], [ANSWERED], [OTHER], 2)
    assert row.meta["grade"] == 4


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"messages": [ASKED, {"role": "assistant", "content": " "}]}, "empty answer", "turn 2"),
        ({"messages": [{"role": "user", "content": ""}, ANSWERED]}, "empty message", "turn 1"),
        ({"messages": [ANSWERED]}, "no user turn", "assistant"),
        ({"messages": [SYSTEM, ANSWERED]}, "no user turn", "system assistant"),
        ({"messages": [ASKED]}, "no answer at the end", "the last turn is the user's"),
        ({"messages": [ASKED, ASKED, ANSWERED]}, "roles out of order", "user user assistant"),
        ({"messages": [ANSWERED, ASKED, ANSWERED]}, "roles out of order", "assistant user assistant"),
        ({"messages": [ASKED, SYSTEM, ANSWERED]}, "roles out of order", "user system assistant"),
        ({"messages": [{"role": "tool", "content": "x"}, ANSWERED]}, "tool turn", "tool"),
        ({"messages": [{"role": "narrator", "content": "x"}, ANSWERED]}, "unknown role", "narrator"),
        ({"messages": []}, "no messages", "empty"),
        ({"messages": "Where?"}, "no messages", "a text"),
        ({"messages": [ASKED, {"role": "assistant"}]}, "not a message", "needs role and content"),
        ({"messages": [ASKED, {"role": "assistant", "content": 5}]}, "not text", "content is a number"),
        ({"messages": [ASKED, {"role": "assistant", "content": "x" * 95}]}, "too long", "101 characters, at most 100"),
        ({"messages": [ASKED, {"role": "assistant", "content": "x"}]}, "answer too short", "1 characters"),
        ({"question": "Where?"}, "missing column", "found question"),
        ({"messages": [{**ASKED, "content": "WHERE?"}, {**ANSWERED, "content": "Here. "}]}, "duplicate", "in.jsonl:1"),
        ({"messages": [{"role": "user", "content": "Which fern grows in the rock house?"}, ANSWERED]}, "contaminated",
         "eval.jsonl:1"),
    ],
)  # fmt: skip
def test_each_bad_row_has_its_reason_and_line(tmp_path: Path, row: dict[str, Any], reason: str, detail: str) -> None:
    write_rows(tmp_path / "eval.jsonl", [{"question": "which fern grows in the ROCK house"}])
    good = {"messages": [ASKED, ANSWERED]}
    kept = _run(
        tmp_path, [good, row], max_characters=100, min_answer_characters=2, decontaminate=[str(tmp_path / "eval.jsonl")]
    )
    assert len(kept) == 1
    ((line, said, seen),) = _refused(tmp_path)
    assert (line, said, seen.replace(f"{tmp_path}/", "")) == (2, reason, detail)


def test_a_pair_of_equal_answers_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, [PREFERENCES["texts"], {**PREFERENCES["texts"], "rejected": "Here."}], kind="preferences")
    assert _refused(tmp_path) == [(2, "chosen equals rejected", "")]


def test_a_corrupt_line_is_counted_or_stops(tmp_path: Path) -> None:
    rows = json.dumps(SHAPES["alpaca"]).encode() + b'\n\n{"instruction": \n\xff\n[1]\n'
    _run(tmp_path, rows)
    assert [refused[:2] for refused in _refused(tmp_path)] == [(line, "not a JSON object") for line in (3, 4, 5)]
    with pytest.raises(UserError) as caught:
        _run(tmp_path, rows, strict=True)
    assert str(caught.value) == (
        f"{tmp_path}/in.jsonl:3: not a JSON object (not JSON (Expecting value at column 17)); "
        "repair the row, or write strict: false"
    )


def test_columns_of_no_shape_are_refused_before_the_work(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, [{"text": "x", "label": 1}])
    (fault,) = recipe.faults()
    assert fault.key == ("inputs", 0, "path")
    assert fault.what == "columns label, text fit no shape of conversations"
    assert fault.write == "write kind: classification (they fit text_label), or name yours with `columns:`"
    with pytest.raises(UserError, match=r"in\.jsonl:1: columns label, text fit no shape of conversations"):
        instructions.run(recipe)
    (fault,) = _recipe(tmp_path, [{"text": "x"}], columns={"question": "title", "answer": "text"}).faults()
    assert (fault.what, fault.write) == (f"{tmp_path}/in.jsonl has no column title", "one of text")
    (fault,) = _recipe(tmp_path, []).faults()
    assert fault.what == f"{tmp_path}/in.jsonl has no row"
    assert _recipe(tmp_path, [SHAPES["alpaca"]]).faults() == []


def test_no_row_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _run(tmp_path, [{"question": "Where?", "answer": ""}] * 2)
    assert str(caught.value) == (
        f"{tmp_path}/in.jsonl: no row could be used (2 x empty answer); rows with a question and an answer"
    )


def test_one_group_stands_on_one_side(tmp_path: Path) -> None:
    rows = [
        {"question": f"Question {n} about {n % 40}?", "answer": f"Answer {n}.", "focus": n % 40} for n in range(400)
    ]
    train = _run(tmp_path, rows, group_column="focus", validation=0.3)
    held_back = list(read_rows(tmp_path / "out" / "validation.jsonl"))
    assert len(train) + len(held_back) == 400
    assert held_back
    assert not {row["meta"]["focus"] for row in train} & {row["meta"]["focus"] for row in held_back}
    assert all("group" not in row for row in train)


def test_texts_are_tidied_and_redacted(tmp_path: Path) -> None:
    (row,) = _run(
        tmp_path,
        [{"question": "Who\u200b?", "answer": "  def f():\n      cafe\u0301  x\r\nmail a@example.org"}],
        redact=True,
    )
    assert row["messages"][0]["content"] == "Who?"
    assert row["messages"][1]["content"] == "  def f():\n      caf\u00e9 x\nmail <EMAIL>"


def test_the_shipped_recipe_loads_where_its_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/medical/qa_train\.jsonl\.gz is not there"):
        load("recipes/medical/instructions.yaml")
    for name in ("train", "valid", "test"):
        rows = [{"question": f"What is {name} {n} good for?", "answer": f"For {n}.", "focus": "x"} for n in range(4)]
        write_rows(f"data/medical/qa_{name}.jsonl.gz", rows)
    recipe = load("recipes/medical/instructions.yaml")
    assert isinstance(recipe, instructions.Recipe)
    instructions.run(recipe)
    assert len(list(read_rows("runs/medical/instructions/train.jsonl"))) == 4
