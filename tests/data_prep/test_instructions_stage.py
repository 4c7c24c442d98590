"""Supervised data: every shape gives the same messages, every bad row its reason with file and line."""

from __future__ import annotations

import ast
import dataclasses
import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import (
    Conversation,
    Labelled,
    Pair,
    Preference,
    Tagged,
    Unpaired,
    read,
    read_rows,
    write_rows,
)
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


def test_answers_that_differ_in_white_space_alone_are_equal(tmp_path: Path) -> None:
    rows = [{"prompt": "Where?", "chosen": "Here, I think.", "rejected": " Here,  I\tthink. "},
            {"prompt": "Who?", "chosen": "Me.", "rejected": "me."}]  # fmt: skip
    (kept,) = _run(tmp_path, rows, kind="preferences", deduplicate=None)
    assert kept["prompt"][0]["content"] == "Who?"
    assert _refused(tmp_path) == [(1, "chosen equals rejected", "")]


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
    (fault,) = _recipe(tmp_path, b"\n\n").faults()
    assert (fault.what, fault.write) == (f"{tmp_path}/in.jsonl: an empty file", "name a file with rows")
    (fault,) = _recipe(tmp_path, b"[\n").faults()
    assert fault.what == f"{tmp_path}/in.jsonl:2: JSON that ends too early"
    assert _recipe(tmp_path, [SHAPES["alpaca"]]).faults() == []


def test_no_row_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _run(tmp_path, [{"question": "Where?", "answer": ""}] * 2)
    assert str(caught.value) == (
        f"{tmp_path}/in.jsonl: no row could be used (2 x empty answer: turn 2); rows with a question and an answer"
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
    assert "a@example.org" not in (tmp_path / "out" / "report.html").read_text()
    assert row["messages"][0]["content"] == "Who?"
    assert row["messages"][1]["content"] == "  def f():\n      caf\u00e9 x\nmail <EMAIL>"


KINDS: dict[str, tuple[list[dict[str, Any]], Any]] = {
    "unpaired": ([{"prompt": "Where?", "completion": "Here.", "label": True}], Unpaired([ASKED], [ANSWERED], True)),
    "classification": ([{"text": "Where?", "label": "question"}], Labelled("Where?", ["question"])),
    "pairs": ([{"article": "A long text.", "summary": "Text."}], Pair("A long text.", "Text.")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_rows_of_its_type(tmp_path: Path, kind: str) -> None:
    rows, wanted = KINDS[kind]
    _run(tmp_path, [{**rows[0], "topic": "x"}], kind=kind)
    (row,) = read(tmp_path / "out" / "train.jsonl", type(wanted))
    assert row == dataclasses.replace(wanted, id="in.jsonl#1", meta={"file": "in.jsonl", "line": 1, "topic": "x"})


def test_words_with_tags(tmp_path: Path) -> None:
    _run(tmp_path, [{"tokens": ["Mara", "digs"], "ner_tags": ["B-PER", "O"]}], kind="classification")
    (row,) = read(tmp_path / "out" / "train.jsonl", Tagged)
    assert (row.tokens, row.tags) == (["Mara", "digs"], ["B-PER", "O"])
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert labels == {"problem_type": "token_classification", "labels": ["B-PER", "O"]}


def test_columns_of_their_own_and_what_is_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"subject": "Fern", "body": "It is dry.", "rude": 0, "urgent": 1}, {"subject": "Moss", "body": "Fine.",
            "rude": 0, "urgent": 0}]  # fmt: skip
    found = _run(
        tmp_path, rows, kind="classification", columns={"text": ["subject", "body"], "labels": ["rude", "urgent"]}
    )
    assert [(row["text"], row["labels"]) for row in found] == [
        ("Fern\n\nIt is dry.", ["urgent"]),
        ("Moss\n\nFine.", []),
    ]
    assert "read as text_label (subject and body as text, rude and urgent as labels)" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["problem_type"] == "multi_label_classification"


def test_an_ambiguous_file_says_what_was_taken_and_why_and_can_be_read_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"instruction": "Translate.", "input": "Baum", "output": "Tree"}]
    _run(tmp_path, rows)
    assert (
        "in.jsonl: read as alpaca (instruction, output, input); question_answer (input+output) would fit too: alpaca "
        "was taken because it reads the instruction and its input together\n"
        "    user: Translate. Baum / assistant: Tree\n"
    ) in capsys.readouterr().out
    inputs = [{"path": str(tmp_path / "in.jsonl"), "shape": "question_answer"}]
    (row,) = _run(tmp_path, rows, inputs=inputs)
    assert [turn["content"] for turn in row["messages"]] == ["Baum", "Tree"]
    inputs[0]["shape"] = "alpca"
    (fault,) = _recipe(tmp_path, rows, inputs=inputs).faults()
    assert fault.what == f"{tmp_path}/in.jsonl: there is no shape alpca of kind conversations"
    assert fault.write.startswith("one of messages, sharegpt, ")
    inputs[0]["shape"] = "sharegpt"
    (fault,) = _recipe(tmp_path, rows, inputs=inputs).faults()
    assert fault.what == f"{tmp_path}/in.jsonl: columns input, instruction, output do not make the shape sharegpt"


def test_roles_of_their_own(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "Customer", "content": "Where?"}, {"role": "Agent", "content": "Here."}]}]
    with pytest.raises(UserError, match="1 x unknown role"):
        _run(tmp_path, rows)
    inputs = [{"path": str(tmp_path / "in.jsonl"), "roles": {"Customer": "user", "Agent": "assistant"}}]
    assert _run(tmp_path, rows, inputs=inputs)[0]["messages"] == [ASKED, ANSWERED]


def test_two_shapes_in_one_file_are_told_apart(tmp_path: Path) -> None:
    _run(tmp_path, [SHAPES["alpaca"], {"instruction": "When?", "output": "Now."}, SHAPES["messages"], {"x": 1}])
    assert _refused(tmp_path) == [
        (3, "another shape", "reads as messages, the file as alpaca"),
        (4, "missing column", "found x"),
    ]


def test_a_folder_of_files_and_one_that_is_no_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    write_rows(folder / "a.jsonl.gz", [SHAPES["alpaca"]])
    (folder / "b.csv").write_text("question,answer\nWhen?,Now.\n")
    (folder / "c.csv").write_text("x,y\n1,2\n")
    write_rows(folder / "d.jsonl", [{"question": "Who?", "answer": "Me."}] * 30)
    with (folder / "d.jsonl").open("ab") as stream:
        stream.write(b'{"question": "Whose?", "answer"')
    found = _run(tmp_path, [], inputs=[{"path": str(folder)}])
    assert [row["messages"][0]["content"] for row in found] == ["Where?", "When?", "Who?"]
    first = next(read_rows(tmp_path / "out" / "refused.jsonl"))
    assert (Path(first["file"]).name, first["line"], first["reason"]) == ("c.csv", 0, "file cannot be read")
    out = capsys.readouterr().out
    assert "a.jsonl.gz: read as alpaca" in out and "b.csv: read as question_answer" in out
    with pytest.raises(UserError, match=r"c\.csv:2: columns x, y fit no shape"):
        _run(tmp_path, [], inputs=[{"path": str(folder)}], strict=True)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "pipe.jsonl")
    write_rows(tmp_path / "data" / "a.jsonl", [SHAPES["alpaca"]])
    assert len(_run(tmp_path, [], inputs=[{"path": str(tmp_path / "data")}])) == 1
    assert _refused(tmp_path) == [(0, "file cannot be read", "a pipe or a device, not a file")]


def test_what_is_shown_of_a_row_has_no_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path, [{"question": "Where\x00 is \x1b[2Jit?", "answer": "Here."}])
    assert "user: Where is [2Jit? / assistant: Here." in capsys.readouterr().out


def test_half_a_surrogate_pair_anywhere_is_no_crash(tmp_path: Path) -> None:
    rows = b"".join(b'{"text": "%s", "label": "%s"}\n' % pair for pair in (
        (b"broken \\ud83d", b"a"), (b"whole", b"\\ud83d"), (b"good", b"a")))  # fmt: skip
    found = _run(tmp_path, rows, kind="classification")
    assert [row["text"] for row in found] == ["whole", "good"]
    assert _refused(tmp_path) == [(1, "encoding damage", "half a surrogate pair")]
    assert json.loads((tmp_path / "out" / "labels.json").read_text())["labels"] == ["?", "a"]


def test_files_of_one_name_give_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("a/data.jsonl", "b/data.jsonl", "c/d.jsonl"):
        write_rows(tmp_path / name, [{"question": f"Where is {name}?", "answer": "Here."}])
    found = _run(tmp_path, [], inputs=[{"path": str(tmp_path / name)} for name in ("a", "b/data.jsonl", "c")])
    assert [row["id"] for row in found] == ["a/data.jsonl#1", "b/data.jsonl#1", "d.jsonl#1"]
    assert found[0]["meta"]["file"] == "a/data.jsonl"


def test_a_folder_without_evaluation_questions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "README.md").write_text("None yet.")
    (fault,) = _recipe(tmp_path, [SHAPES["alpaca"]], decontaminate=[str(tmp_path / "evals")]).faults()
    assert fault.key == ("decontaminate", 0)
    assert fault.what == f"{tmp_path}/evals holds no table, so nothing would be found"


def test_a_file_that_breaks_off_gives_the_rows_before(tmp_path: Path) -> None:
    chance = random.Random(1)
    rows = [{"question": f"Who is number {n} of them?", "answer": f"{chance.getrandbits(400)}"} for n in range(3000)]
    data = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())[:-99_000]
    found = _run(tmp_path, data, deduplicate=None)
    assert 1000 < len(found) < 2000
    ((line, reason, detail),) = _refused(tmp_path)
    assert (line, reason) == (len(found), "file damaged from here on")
    assert detail == "damaged compressed file"
    with pytest.raises(UserError, match="damaged compressed file"):
        _run(tmp_path, data, strict=True)


def test_values_that_do_not_go_together_are_told_by_their_keys(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [SHAPES["alpaca"]])
    (tmp_path / "recipe.yaml").write_text(
        f"stage: instructions\noutput_dir: {tmp_path}/out\ninputs: [{{path: {tmp_path}/in.jsonl}}]\n"
        "validation: 0.5\ntest: 0.5\nbalance: weights\nmax_tokens: 9\n"
    )
    with pytest.raises(UserError) as caught:
        load(str(tmp_path / "recipe.yaml"))
    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "recipe.yaml:4: validation: validation 0.5 and test 0.5 leave nothing to train on; shares that add up to less "
        "than 1",
        "recipe.yaml:6: balance: balance: weights is for kind: classification; write balance: none",
        "recipe.yaml:7: max_tokens: max_tokens needs a tokenizer to count with; write tokenizer: FOLDER",
    ]


def test_rows_that_are_all_held_back_are_no_result(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _run(tmp_path, [SHAPES["alpaca"]], validation=0.99)
    assert str(caught.value) == (
        "validation: no row is left to train on: all 1 that could be used are held back; "
        "a smaller share, 0 for so few rows, or more rows"
    )
    assert not (tmp_path / "out").exists()


def test_a_file_whose_roles_are_not_known_says_what_to_write(tmp_path: Path) -> None:
    row = {"messages": [{"role": "customer", "content": "Where?"}, {"role": "agent", "content": "Here."}]}
    with pytest.raises(UserError) as caught:
        _run(tmp_path, [row])
    assert str(caught.value) == (
        f"{tmp_path}/in.jsonl: no row could be used (1 x unknown role: customer); "
        "roles: {customer: user} beside the path, with every role that the file has"
    )


def test_tokens_are_counted_by_the_tokenizer(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    (tmp_path / "model").mkdir()
    tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    rows = [{"question": "one two", "answer": "three"}, {"question": "one two", "answer": "three four"}]
    pairs = [{"prompt": "one two", "chosen": "three", "rejected": "three four"}]
    keys = {"tokenizer": str(tmp_path / "model"), "max_tokens": 3}
    assert len(_run(tmp_path, rows, **keys)) == 1
    assert _refused(tmp_path) == [(2, "too many tokens", "4 tokens, at most 3")]
    assert json.loads((tmp_path / "out/statistics.json").read_text())["lengths"]["tokens"]["p100"] == 3
    with pytest.raises(UserError, match="1 x too many tokens"):
        _run(tmp_path, pairs, kind="preferences", **keys)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json: not a tokenizer \("):
        _run(tmp_path, rows, tokenizer=str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer.json").unlink()
    (fault,) = _recipe(tmp_path, rows, tokenizer=str(tmp_path)).faults()
    assert fault.what == f"{tmp_path} holds no tokenizer.json"


def _classes(counts: dict[str, int]) -> list[dict[str, str]]:
    return [
        {"text": f"{label} number {n} of many", "label": label} for label, count in counts.items() for n in range(count)
    ]


def test_balance_weighs_or_repeats_training_rows_alone(tmp_path: Path) -> None:
    rows = _classes({"a": 30, "b": 10})
    keys: dict[str, Any] = {"kind": "classification", "validation": 0.2}
    weighed = _run(tmp_path, rows, balance="weights", **keys)
    assert {row["labels"][0]: row["weight"] for row in weighed} == {
        "a": 0.666667,
        "b": 2.0,
    }  # 32 / (2 * 24), 32 / (2 * 8)
    held_back = list(read_rows(tmp_path / "out" / "validation.jsonl"))
    assert Counter(row["labels"][0] for row in held_back) == {"a": 6, "b": 2}
    assert all("weight" not in row for row in held_back)
    more = _run(tmp_path, rows, balance="oversample", **keys)
    assert Counter(row["labels"][0] for row in more) == {"a": 24, "b": 24}
    assert len({row["id"] for row in more}) == 48
    assert Counter(row["labels"][0] for row in _run(tmp_path, rows, balance="undersample", **keys)) == {"a": 8, "b": 8}
    with pytest.raises(UserError, match="balance: weights needs one label a row; this one has 2"):
        _run(tmp_path, [{"text": "x", "labels": ["a", "b"]}], kind="classification", balance="weights")


def test_near_duplicates_are_listed_with_the_kept_row(tmp_path: Path) -> None:
    text = "The silver fern in the rock house wants water every second day, and more of it from the month of May on"
    rows = [{"question": text + ".", "answer": text}, {"question": text + "!", "answer": text + " indeed"}]
    assert len(_run(tmp_path, rows)) == 1
    ((line, reason, detail),) = _refused(tmp_path)
    assert (line, reason, detail.replace(f"{tmp_path}/", "")) == (2, "near-duplicate", "0.95 like in.jsonl:1")
    assert len(_run(tmp_path, rows, deduplicate={"threshold": 1})) == 2
    assert len(_run(tmp_path, rows + rows, deduplicate=None)) == 4


def test_short_evaluation_questions_are_found_as_whole_prompts(tmp_path: Path) -> None:
    (tmp_path / "eval.csv").write_text(
        "question,answer\nWhat is acne?,A disease\nwhere does the blue fern grow,There\n"
    )
    rows = [{"question": "What is ACNE", "answer": "Skin."}, {"question": "What is acne like?", "answer": "Red."},
            {"question": "And where does the blue fern grow?", "answer": "Here."}]  # fmt: skip
    keys = {"decontaminate": [str(tmp_path / "eval.csv")]}
    assert [row["id"] for row in _run(tmp_path, rows, **keys)] == ["in.jsonl#2"]
    hits = [(row["row"], row["evaluation"]) for row in read_rows(tmp_path / "out" / "contamination.jsonl")]
    assert hits == [
        (f"{tmp_path}/in.jsonl:1", f"{tmp_path}/eval.csv:2"),
        (f"{tmp_path}/in.jsonl:3", f"{tmp_path}/eval.csv:3"),
    ]
    found = _run(tmp_path, rows, decontaminate_by="whole", **keys)
    assert [row["id"] for row in found] == ["in.jsonl#2", "in.jsonl#3"]


def test_what_a_user_should_look_at_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"{label} as it was on day {n}", "label": label} for label in ("good", "Good ") for n in range(9)]
    rows = [{**row, "text": row["text"].replace("Good", "fine")} for row in rows]
    _run(tmp_path, rows, kind="classification", labels=["good", "Good", "bad"], validation=0.0)
    out = capsys.readouterr().out
    assert "look at: labels that differ in spelling alone: Good, good" in out
    assert "look at: labels without a row: bad" in out


def test_figures_and_report_tell_what_was_read_and_refused(tmp_path: Path) -> None:
    rows = [{"question": f"Question {n} <b>?", "answer": "z" * n, "system": "Be kind."} for n in range(1, 11)]
    _run(tmp_path, [*rows, {"question": "Empty?", "answer": ""}])
    figures = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert figures["rows"] == {"all": 10, "train": 10, "validation": 0}
    assert (figures["read"], figures["refused"]) == (11, {"empty answer": 1})
    assert figures["lengths"]["answer"] == {"mean": 5.5, "p5": 1, "p25": 3, "p50": 5, "p75": 8, "p95": 10, "p100": 10}
    assert figures["systems"] == {"with": 10, "different": 1, "most_frequent": {"Be kind.": 10}}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "read as question_answer (question, answer, system)" in page
    assert "<b>empty answer</b>" in page and "in.jsonl:11" in page
    assert "Question 1 &lt;b&gt;?" in page and "<b>?" not in page
    assert "http" not in page and "<script" not in page
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["metrics"]["answer_p95"] == 10
    assert manifest["volatile"] == ["report.html"]


def test_the_same_bytes_whatever_the_hash_seed(tmp_path: Path) -> None:
    rows = _classes({"a": 30, "b": 20, "c": 3}) + [
        {"text": "a number 3 of many", "label": "b"},
        {"text": "", "label": "a"},
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    made = []
    for seed in ("0", "1"):
        recipe = {"kind": "classification", "inputs": [{"path": "in.jsonl"}], "output_dir": f"out{seed}", "test": 0.1}
        code = f"from data_prep.stages import instructions as i; i.run(i.Recipe(**{recipe!r}))"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()}
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
        names = ("train", "validation", "test", "refused")
        made.append([(tmp_path / f"out{seed}" / f"{name}.jsonl").read_bytes() for name in names])
        made[-1] += [(tmp_path / f"out{seed}" / name).read_bytes() for name in ("statistics.json", "report.html")]
    assert made[0] == made[1]


def test_the_page_names_every_reason() -> None:
    """A reason that a user sees in refused.jsonl can be looked up."""
    root = Path(__file__).parents[2]
    reasons = {"not a JSON object", "not a row", "contaminated", "empty message"}  # made of parts, or named apart
    for file in (root / "data_prep" / "supervised").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Refused"
                and node.args
            ):
                reasons |= {one.value for one in ast.walk(node.args[0])
                            if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value}  # fmt: skip
    reasons -= {"same ", " with another label", "assistant"}
    assert len(reasons) > 40
    page = (root / "docs" / "instructions.md").read_text(encoding="utf-8")
    table = page.split("## Why a row is refused")[1].split("## ")[0]
    assert sorted(one for one in reasons if one not in table) == []
    assert "same text with another label, same answer with another label" in table


def test_the_shipped_recipe_loads_where_its_data_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/medical/qa_train\.jsonl\.gz is not there"):
        load("recipes/medical/instructions.yaml")
    for name in ("train", "valid", "test"):
        rows = [{"question": f"What is {name} {n} good for?", "answer": f"For {n}.", "focus": "x"} for n in range(4)]
        write_rows(f"data/medical/qa_{name}.jsonl.gz", rows)
    write_rows("data/medical/pairs_test.jsonl.gz", [{"prompt": "Is the blue fern good for anything at all?"}])
    recipe = load("recipes/medical/instructions.yaml")
    assert isinstance(recipe, instructions.Recipe)
    instructions.run(recipe)
    assert len(list(read_rows("runs/medical/instructions/train.jsonl"))) == 4
