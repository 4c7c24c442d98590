"""Rows: what is written comes back, and every mistake names file, line, what was found and what was expected."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from data_prep.records import Conversation, Document, Preference, Prompt, read, read_rows, write_rows, writer
from recipes.errors import UserError

USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Hello"}
ROWS = [
    Document("a", "Text with \u2028 and \x85 line ends.", "s", meta={"n": 1}),
    Conversation([USER, ASSISTANT], id="c"),
    Preference([USER], [ASSISTANT], [{"role": "assistant", "content": "No"}], margin=2.0),
    Prompt([USER], references=["x"]),
]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_row_comes_back_as_it_was(tmp_path: Path, name: str, row: object) -> None:
    write_rows(tmp_path / name, [row, row])
    assert list(read(tmp_path / name, type(row))) == [row, row]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_rows(tmp_path / name, [{"b": 1, "a": "é"}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).decode() == '{"a": "é", "b": 1}\n'


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(b'{"a": 1}\n'))
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"a": 1}]


def test_columns_that_a_type_does_not_have_are_kept_in_meta(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"id": "1", "text": "t", "source": "s", "reason": "r", "meta": {"x": 1}}])
    assert next(read(tmp_path / "a.jsonl", Document)).meta == {"reason": "r", "x": 1}


def test_nothing_is_left_of_a_file_whose_writing_failed(tmp_path: Path) -> None:
    target = tmp_path / "a.jsonl"
    write_rows(target, [{"old": 1}])
    with pytest.raises(RuntimeError), writer(target) as write:
        write({"new": 1})
        raise RuntimeError
    assert list(read_rows(target)) == [{"old": 1}]
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_a_killed_writer_left_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), writer(tmp_path / "a.jsonl") as write:
        write({"new": 1})
        (left,) = tmp_path.iterdir()
        raise RuntimeError
    left.write_text("half a li")
    write_rows(tmp_path / "a.jsonl", [{"b": 1}])
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_half_surrogate_does_not_stop_the_writing(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"text": json.loads('"\\ud83d"')}])
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"text": "?"}]


def _said(path: Path, kind: type | None = None) -> str:
    with pytest.raises(UserError) as caught:
        list(read(path, kind) if kind else read_rows(path))
    return str(caught.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"a": ', "a.jsonl:3: not JSON (Expecting value at column 7); one JSON object on each line"),
        (b'{"a": NaN}', "a.jsonl:3: not JSON (NaN is no JSON number); one JSON object on each line"),
        (b'{"a": "\0"}', "a.jsonl:3: not JSON (Invalid control character at column 8); one JSON object on each line"),
        (b"[1]", "a.jsonl:3: a JSON list where an object was expected; one JSON object on each line"),
        (b'{"a": "\xff"}', "a.jsonl:3: not UTF-8 (byte 7 is 0xff); one JSON object on each line"),
    ],
)
def test_a_corrupt_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n' + line + b"\n")
    assert _said(tmp_path / "a.jsonl") == said


def test_a_deeply_nested_line_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": ' + b"[" * 100_000 + b"\n")
    assert "a.jsonl:1: " in _said(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        (
            {"id": "1", "body": "x"},
            Document,
            "a.jsonl:1: missing column text, source; found body, id; "
            "columns id, text, source (optional: title, url, license, meta)",
        ),
        (
            {"id": "1", "text": 5, "source": ""},
            Document,
            "a.jsonl:1: text is 5, not text; columns id, text, source (optional: title, url, license, meta)",
        ),
        (
            {"messages": []},
            Conversation,
            "a.jsonl:1: messages is [], not a list of messages; columns messages (optional: id, meta)",
        ),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            Conversation,
            "a.jsonl:1: messages[0] has the role 'bot', not one of system, user, assistant; "
            "columns messages (optional: id, meta)",
        ),
        (
            {"messages": [{"role": "user"}]},
            Conversation,
            'a.jsonl:1: messages[0] is {"role": "user"}, not an object with role and content; '
            "columns messages (optional: id, meta)",
        ),
        (
            {"messages": [{"role": "user", "content": None}]},
            Conversation,
            "a.jsonl:1: messages[0].content is null, not text; columns messages (optional: id, meta)",
        ),
        (
            {"prompt": [USER], "references": "x"},
            Prompt,
            'a.jsonl:1: references is "x", not a list of texts; columns prompt (optional: id, references, meta)',
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, row: dict[str, object], kind: type, said: str) -> None:
    write_rows(tmp_path / "a.jsonl", [row])
    assert _said(tmp_path / "a.jsonl", kind) == said


def test_numbers_are_checked(tmp_path: Path) -> None:
    good = {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [USER]}
    cases = [
        ("margin", "2", '"2", not a number'), ("raters", 1.5, "1.5, not a whole number"),
        ("meta", [], "[], not an object"), ("raters", True, "true, not a whole number"),
    ]  # fmt: skip
    for column, value, said in cases:
        write_rows(tmp_path / "a.jsonl", [{**good, column: value}])
        assert f"a.jsonl:1: {column} is {said}" in _said(tmp_path / "a.jsonl", Preference)


def test_a_file_that_is_not_there_and_a_damaged_one_are_named(tmp_path: Path) -> None:
    assert _said(tmp_path / "b.jsonl") == "b.jsonl: cannot be read (No such file or directory); a readable file"
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-20])
    assert "damaged gzip file" in _said(tmp_path / "c.jsonl.gz")
