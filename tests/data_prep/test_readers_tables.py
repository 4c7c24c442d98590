"""Readers of rows: CSV, JSON, Parquet, Arrow, and how columns are found; parts give the same documents as the whole."""

from __future__ import annotations

import datetime
import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from data_prep import readers
from data_prep.files import streams
from data_prep.inputs import Input, documents_of, faults, units_of
from data_prep.readers import Skipped
from data_prep.records import Document


def _read(root: Path) -> list[Document | Skipped]:
    return list(readers.read(root))


def _texts(root: Path) -> list[str]:
    return [item.text for item in _read(root) if isinstance(item, Document)]


def _reasons(root: Path) -> list[tuple[int, str]]:
    return [(item.row, item.reason) for item in _read(root) if isinstance(item, Skipped)]


def test_csv_with_quotes_line_ends_and_ragged_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(
        b'\xef\xbb\xbftitle,text,n\r\n"A ""b""","One,\ntwo.",1\r\n\r\nx,y\r\nB,Three.,2\r\np,q,r,s\r\nC," ",4\r\n'
    )
    one, short, three, long, empty = _read(tmp_path)
    assert isinstance(one, Document) and isinstance(three, Document)
    assert (one.title, one.text, one.meta) == ('A "b"', "One,\ntwo.", {"n": "1", "row": 2, "path": "a.csv"})
    assert (three.id, three.text) == (f"{tmp_path.name}/a.csv#6", "Three.")
    assert short == Skipped("a.csv", "fewer fields than columns", 5)
    assert long == Skipped("a.csv", "more fields than columns", 7)
    assert empty == Skipped("a.csv", "text is empty or no text", 8)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_finds_its_delimiter_also_under_another_name(tmp_path: Path, delimiter: str) -> None:
    rows = [["id", "text"], ["1", "One; two, three."], ["2", "Four | five."], ["3", "Six."]]
    lines = [delimiter.join(f'"{field}"' for field in row) for row in rows]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    (tmp_path / "b.txt").write_text("\n".join(lines) + "\n")
    assert _texts(tmp_path) == [row[1] for row in rows[1:]] * 2


def test_a_letter_with_commas_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Dear text, hello\nthis is a letter, really\nnot a table, no\nbye, me\n" * 2)
    assert len(_texts(tmp_path)) == 1  # as text: "text" is not the name of a column here


def test_csv_in_mixed_encodings_and_utf_16(tmp_path: Path) -> None:
    french = "Le caf\u00e9 est tr\u00e8s bon, m\u00eame na\u00efve"
    mixed = "text,n\ncaf\u00e9,1\n".encode() + f'"{french}",2\n'.encode("cp1252") + b"a\0b,3\nend,4\n"
    (tmp_path / "a.csv").write_bytes(mixed)
    (tmp_path / "b.csv").write_bytes("text;n\r\ncaf\u00e9;1\r\n".encode("utf-16"))
    assert _texts(tmp_path) == ["caf\u00e9", french, "end", "caf\u00e9"]
    assert _reasons(tmp_path) == [(4, "binary data (NUL bytes)")]


def test_csv_with_a_quote_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text('text,n\ngood,1\n"open,2\nlost,3\n')
    assert (_texts(tmp_path), _reasons(tmp_path)) == (["good"], [(3, "a quote that is never closed")])
    monkeypatch.setattr(streams, "MAX_LINE", 100)
    (tmp_path / "a.csv").write_text('text,n\n"open,2\n' + "lost,3\n" * 40 + "x" * 200 + "\nlast,5\n")
    reason = "a row longer than 64 MiB, or a quote that is never closed"
    assert _reasons(tmp_path)[0] == (2, reason)
    assert _texts(tmp_path)[-1] == "last"


def test_a_table_without_the_column_is_one_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n" + "1,2\n" * 100)
    parquet.write_table(pyarrow.table({"a": [1, 2]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("text,text\n1,2\n")
    assert [reason for _, reason in _reasons(tmp_path)] == [
        "no column text, content, body, document, article; there are a, b",
        "no column text, content, body, document, article; there are a",
        "the column text stands there twice",
    ]


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ('[{"text": "One."}, {"text": "Two."}]', ["#1 One.", "#2 Two."]),
        ('[\n  {"text": "One \\u00e9 [{."},\n  {"text": "Two."}\n]\n', ["#1 One \u00e9 [{.", "#2 Two."]),
        ('{"text": "One.",\n "n": [1, {}]}', ["One."]),
        ('{"version": 1, "data": [{"text": "One."}, {"text": "Two."}]}', ["#1 One.", "#2 Two."]),
        ('{"text": "One.",\n"n": 1}\n{"text":\n"Two."}', ["#1 One.", "#2 Two."]),
        ('{"a": {"text": "One."},\n"b": {"text": "Two."}}', ["#1 One.", "#2 Two."]),
        ('{"links": [{"text": "x"}], "text": "One.", "by": {}}', ["One."]),
        ("[]", []),
    ],
    ids=["array", "indented", "object", "object of rows", "several", "rows by name", "with lists", "empty"],
)
def test_json(tmp_path: Path, source: str, rows: list[str]) -> None:
    for name in ("a.json", "b.txt"):
        (tmp_path / name).write_text(source, encoding="utf-8")
        found = [item for item in _read(tmp_path / name) if isinstance(item, Document)]
        assert [f"{item.id.removeprefix(name)} {item.text}".strip() for item in found] == rows
        assert _reasons(tmp_path / name) == []


def test_json_elements_longer_than_what_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHUNK", 7)
    expected = [{"text": 'a\u20ac\\"' * length, "n": length} for length in range(1, 40)]
    (tmp_path / "a.json").write_text(json.dumps(expected, ensure_ascii=False), encoding="utf-8")
    assert _texts(tmp_path) == [row["text"] for row in expected]


@pytest.mark.parametrize(
    ("source", "reasons"),
    [
        (b'[{"text": "One."}, {"text": ', [(2, "JSON that ends too early")]),
        (b'[{"text": "One."}', [(2, "JSON that ends too early")]),
        (b'[{"text": "One."}, {"text" "Two."}, {"text": "Three, which is lost with the rest."}]', [(2, "not JSON")]),
        (b'[{"text": "One."}, 5, ["x"], {"a": 1}]', [
            (2, "a JSON int where an object was expected"), (3, "a JSON list where an object was expected"),
            (4, "no column text, content, body, document, article")]),
        (b'[{"text": "One."}, {"text": NaN}]', [(2, "text is empty or no text")]),
        (b'[{"text": "One."}, ' + b"[" * 100_000 + b"]" * 100_000 + b"]", [(2, "JSON nested too deeply")]),
        (b'[{"text": "One."}, {"text": "\xff"}]', [(2, "not UTF-8")]),
    ],
    ids=["cut", "cut between", "broken", "no objects", "nan", "deep", "bytes"],
)  # fmt: skip
def test_bad_json(tmp_path: Path, source: bytes, reasons: list[tuple[int, str]]) -> None:
    (tmp_path / "a.json").write_bytes(source)
    assert _reasons(tmp_path) == reasons
    assert _texts(tmp_path) == (["One."] if reasons[0][0] else [])


def test_json_lines_nested_deeply_are_one_bad_row(tmp_path: Path) -> None:
    deep = b'{"text": "x", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "a.jsonl").write_bytes(deep + b'\n{"text": "Two."}\n')
    assert (_texts(tmp_path), _reasons(tmp_path)) == (["Two."], [(1, "JSON nested too deeply")])


def test_a_row_of_50_mb_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "' + b"a" * 50_000_000 + b'"}\n{"text": "Two."}\n')
    assert [len(text) for text in _texts(tmp_path)] == [50_000_000, 4]


def test_parquet_keeps_values_that_json_has(tmp_path: Path) -> None:
    table = pyarrow.table({
        "text": ["One.", "Two.", None], "url": ["u", None, None], "day": [datetime.date(2024, 5, 1), None, None],
        "picture": [b"\x89", None, None], "score": [1.5, float("nan"), 0.0], "tags": [["a"], [], None],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.OSFile(str(tmp_path / "b.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    with pyarrow.OSFile(str(tmp_path / "c.dat"), "wb") as file, pyarrow.ipc.new_file(file, table.schema) as stream:
        stream.write_table(table)
    items = _read(tmp_path)
    for name, (one, two, three) in zip(
        ("a.parquet", "b.arrow", "c.dat"), (items[:3], items[3:6], items[6:]), strict=True
    ):
        assert isinstance(one, Document) and isinstance(two, Document)
        assert (one.url, one.meta) == ("u", {"day": "2024-05-01", "score": 1.5, "tags": ["a"], "row": 1, "path": name})
        assert two.meta == {"tags": [], "row": 2, "path": name}
        assert three == Skipped(name, "text is empty or no text", 3)


def _rows(count: int) -> list[dict[str, Any]]:
    chance = random.Random(0)
    return [{"text": "w\u00f6rd " * chance.randrange(1, 60), "n": index} for index in range(count)]


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n"])
def test_parts_of_json_lines_are_the_whole(tmp_path: Path, ending: bytes) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in _rows(300)]
    lines[7], lines[150] = b"broken", b" "
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + ending.join(lines) + ending * (ending != b"\r\n"))
    _check_parts(path, [1, 50, 200, 1000, 4096, 2**20])


def test_a_line_longer_than_a_part_and_one_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 3000)
    monkeypatch.setattr(streams, "CHUNK", 64)
    lines = [json.dumps({"text": "a" * length}) for length in (10, 2500, 10, 9000, 10, 10)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n")
    assert _reasons(path) == [(4, "a row longer than 64 MiB")]
    path.write_text("\n".join([lines[3], *lines]) + "\n")  # also where the first line is too long to tell the format
    assert [len(text) for text in _texts(path)] == [10, 2500, 10, 10, 10]
    _check_parts(path, [20, 100, 3000, 6000])


def test_parts_of_parquet_are_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(_rows(500)), path, row_group_size=37)
    _check_parts(path, [1, 1000, 5000])


def _check_parts(path: Path, sizes: list[int]) -> None:
    whole = list(readers.read(path, "x"))
    counts = []
    for size in sizes:
        units = list(readers.units(str(path), size))
        counts.append(len(units))
        assert [item for unit in units for item in readers.read_unit(unit, "x")] == whole
    assert counts[0] > 3 and counts == sorted(counts, reverse=True)


def test_packed_lines_are_not_divided(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "One."}\n' * 1000, mtime=0))
    assert [unit.part for unit in readers.units(str(path), 10)] == [()]


def test_columns_by_mapping(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("story,text,head\nOnce.,no,T\n")
    item = Input.model_validate({"path": str(tmp_path), "columns": {"text": "story", "title": "head"}})
    (document,) = (found for unit in units_of(item, 0) for found in documents_of(item, unit))
    assert isinstance(document, Document)
    assert (document.text, document.title, document.meta["text"]) == ("Once.", "T", "no")


def test_wrong_columns_are_found_in_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("story,head\nOnce.,T\n")
    item = Input.model_validate({"path": str(path), "columns": {"title": "heading"}})
    assert [(fault.key, fault.what, fault.write) for fault in faults(item, ("inputs", 0))] == [
        (("inputs", 0, "columns", "title"), f"{path} has no column heading", "one of story, head"),
        (("inputs", 0), f"{path} has no column text, content, body, document, article",
         "columns: {text: NAME} with one of story, head"),
    ]  # fmt: skip
    right = Input.model_validate({"path": str(path), "columns": {"text": "story"}})
    assert faults(right, ("inputs", 0)) == []
    split = Input.model_validate({"path": str(path), "columns": {"text": "story"}, "split": "test"})
    assert [fault.what for fault in faults(split, ())] == ["split belongs to a data set, and this input is a path"]
