"""Tables: every format gives the same rows with their lines; what is broken is told by line, and the rest goes on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from data_prep import readers
from data_prep.files import streams, tables
from data_prep.records import Document
from recipes.errors import UserError

ROWS = [
    {"text": "Hello, you", "label": "greet"},
    {"text": 'Say "bye"\nnow', "label": "part"},
    {"text": "é", "label": "x"},
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
CSV = 'text,label\n"Hello, you",greet\n"Say ""bye""\nnow",part\né,x\n'.encode()
TSV = 'text\tlabel\nHello, you\tgreet\n"Say ""bye""\nnow"\tpart\né\tx\n'.encode()
TABLE = pyarrow.Table.from_pylist(ROWS)


def _zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))


FILES: dict[str, tuple[bytes, list[int]]] = {
    "a.jsonl": (LINES, [1, 2, 3]),
    "blank lines.jsonl": (b"\n" + LINES.replace(b"\n", b"\r\n\r\n"), [2, 4, 6]),
    "mark.jsonl": (b"\xef\xbb\xbf" + LINES, [1, 2, 3]),
    "a.jsonl.gz": (gzip.compress(LINES), [1, 2, 3]),
    "a.jsonl.zst": (_zstd(LINES), [1, 2, 3]),
    "lines.json": (LINES, [1, 2, 3]),
    "array.json": (json.dumps(ROWS).encode(), [1, 1, 1]),
    "indented.json": (json.dumps(ROWS, indent=1).encode(), [2, 6, 10]),
    "array.json.gz": (gzip.compress(json.dumps(ROWS, ensure_ascii=False).encode()), [1, 1, 1]),
    "array of another name.jsonl": (json.dumps(ROWS, indent=1).encode(), [2, 6, 10]),
    "data.json": (json.dumps({"version": 1, "data": ROWS}).encode(), [1, 1, 1]),
    "a.csv": (CSV, [2, 3, 5]),
    "mark.csv": (b"\xef\xbb\xbf" + CSV, [2, 3, 5]),
    "windows.csv": (CSV.decode().encode("cp1252"), [2, 3, 5]),
    "wide.csv": (CSV.decode().encode("utf-16"), [2, 3, 5]),
    "crlf.csv.gz": (gzip.compress(CSV.replace(b'"\nnow', b"#\nnow").replace(b"\n", b"\r\n").replace(b"#\r\n", b'"\n')),
                    [2, 3, 5]),
    "semicolon.csv": (b'text;label\nHello, you;greet\n"Say ""bye""\nnow";part\n\xc3\xa9;x\n', [2, 3, 5]),
    "a.tsv": (TSV, [2, 3, 5]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    data, lines = FILES[name]
    (tmp_path / name).write_bytes(data)
    assert list(tables.rows_of(tmp_path / name)) == list(zip(lines, ROWS, strict=True))


@pytest.mark.parametrize("name", ["a.parquet", "a parquet of another name.txt"])
def test_parquet_is_known_by_its_mark(tmp_path: Path, name: str) -> None:
    parquet.write_table(TABLE, tmp_path / name, row_group_size=2)
    assert list(tables.rows_of(tmp_path / name)) == list(zip([1, 2, 3], ROWS, strict=True))


def test_values_that_json_lacks_are_told_in_its_types(tmp_path: Path) -> None:
    import datetime

    row = {"day": datetime.date(2024, 1, 2), "picture": b"abc", "score": float("nan"), "deep": {"x": [1, None]}}
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "a.parquet")
    ((_, found),) = tables.rows_of(tmp_path / "a.parquet")
    assert found == {"day": "2024-01-02", "picture": None, "score": None, "deep": {"x": [1, None]}}


def test_hugging_face_data_sets_on_disk_give_names_for_class_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["bad", "good"]),
        "tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-PER"])),
    })  # fmt: skip
    made = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, 0], "tags": [[0, 1], []]}, features=features)
    rows = [(1, {"text": "x", "label": "good", "tags": ["O", "B-PER"]}), (2, {"text": "y", "label": "bad", "tags": []})]
    made.save_to_disk(str(tmp_path / "one"))
    assert list(tables.rows_of(tmp_path / "one")) == rows
    found = [item.meta["label"] for item in readers.read(tmp_path / "one") if isinstance(item, Document)]
    assert found == ["good", "bad"]
    made.to_parquet(str(tmp_path / "a.parquet"))
    assert list(tables.rows_of(tmp_path / "a.parquet")) == rows
    datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(str(tmp_path / "two"))
    assert list(tables.rows_of(tmp_path / "two")) == rows
    assert list(tables.rows_of(tmp_path / "two", split="test")) == rows[:1]
    with pytest.raises(UserError, match="there is no split dev; write split: one of train, test"):
        list(tables.rows_of(tmp_path / "two", split="dev"))
    assert tables.files(tmp_path / "two") == [tmp_path / "two"]


def test_objects_by_name_and_single_objects(tmp_path: Path) -> None:
    (tmp_path / "named.json").write_text(json.dumps({"17": {"q": "a"}, "18": {"q": "b", "id": "own"}}, indent=1))
    assert list(tables.rows_of(tmp_path / "named.json")) == [(2, {"id": "17", "q": "a"}), (5, {"id": "own", "q": "b"})]
    (tmp_path / "one.json").write_text('{\n "messages": [{"role": "user", "content": "x"}],\n "id": 1}')
    ((line, row),) = tables.rows_of(tmp_path / "one.json")
    assert (line, row["id"], len(row["messages"])) == (1, 1, 1)
    (tmp_path / "several.json").write_text('{\n"q": "a"}\n{\n"q": "b"}')
    assert list(tables.rows_of(tmp_path / "several.json")) == [(1, {"q": "a"}), (3, {"q": "b"})]
    (tmp_path / "commas.json").write_text('[{"q": "a"} {"q": "b"},]')
    assert list(tables.rows_of(tmp_path / "commas.json")) == [(1, {"q": "a"}), (1, {"q": "b"})]
    (tmp_path / "about.json").write_text('{"about": {"n": 1}, "data": [{"q": "a"}]}')
    assert list(tables.rows_of(tmp_path / "about.json")) == [(1, {"q": "a"})]
    (tmp_path / "nan.json").write_text('[{"q": NaN}]')
    assert list(tables.rows_of(tmp_path / "nan.json")) == [(1, {"q": None})]


def _bad(path: Path, data: bytes) -> list[Any]:
    path.write_bytes(data)
    return [row if isinstance(row, dict) else f"{line}: {row}" for line, row in tables.rows_of(path)]


def test_broken_rows_are_told_by_line_and_the_rest_goes_on(tmp_path: Path) -> None:
    assert _bad(tmp_path / "a.jsonl", b'{"a": 1}\n{"a":\n[1]\n{"a": NaN}\n{"a": 2}\n') == [
        {"a": 1}, "2: not JSON (Expecting value at column 6)", "3: a JSON list where an object was expected",
        "4: not JSON (NaN is no JSON number)", {"a": 2},
    ]  # fmt: skip
    assert _bad(tmp_path / "a.csv", b'a,b\n1,2\n3\n\n4,5,6\n"x"y,7\n8,9\n') == [
        {"a": "1", "b": "2"}, "3: fewer fields than columns (1 for 2)", "5: more fields than columns (3 for 2)",
        "6: not CSV (',' expected after '\"')", {"a": "8", "b": "9"},
    ]  # fmt: skip
    assert _bad(tmp_path / "open.csv", b'a,b\n1,2\n"3,4\n5,6\n') == [
        {"a": "1", "b": "2"}, "3: a quote that is never closed",
    ]  # fmt: skip
    assert _bad(tmp_path / "a.json", b'[{"a": 1},\n5]') == [{"a": 1}, "2: a JSON int where an object was expected"]
    assert _bad(tmp_path / "bytes.json", b'[{"a": 1},\n{"a": "\xff"},\n{"a": "\xc3\xa9"}]') == [
        {"a": 1}, "2: not UTF-8", {"a": "é"},
    ]  # fmt: skip


def test_a_row_that_is_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 2**20)
    monkeypatch.setattr(streams, "CHUNK", 2**16)
    long = b"x" * 2**24
    lines = b'{"a": 1}\n{"a": "' + long + b'"}\n{"a": 2}\n'
    assert _bad(tmp_path / "a.jsonl", lines) == [{"a": 1}, "2: a row longer than 64 MiB", {"a": 2}]
    assert _bad(tmp_path / "a.csv", b"a,b\n1,2\n3," + long + b"\n5,6\n") == [
        {"a": "1", "b": "2"}, "3: a row longer than 64 MiB, or a quote that is never closed", {"a": "5", "b": "6"},
    ]  # fmt: skip
    (tmp_path / "a.json").write_bytes(b'[{"a": 1},\n"' + long + b'"]')
    with pytest.raises(UserError, match=r"a\.json:2: a row longer than 64 MiB; repair the file"):
        list(tables.rows_of(tmp_path / "a.json"))
    (tmp_path / "b.json").write_bytes(b'{"a": "' + long + b'"}')
    with pytest.raises(UserError, match=r"b\.json:1: a row longer than 64 MiB"):
        list(tables.rows_of(tmp_path / "b.json"))
    (tmp_path / "c.json").write_text(json.dumps({str(number): {"a": "x" * 2**12} for number in range(2**9)}))
    with pytest.raises(UserError, match=r"c\.json:1: an object longer than 64 MiB"):
        list(tables.rows_of(tmp_path / "c.json"))


def test_a_damaged_arrow_file_is_told_and_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    table = pyarrow.table({"text": ["one", "two", "three"]})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    offsets = b"".join(number.to_bytes(4, "little") for number in (0, 3, 6, 11))
    whole = path.read_bytes()
    assert whole.count(offsets) == 1
    path.write_bytes(whole.replace(offsets, offsets[:8] + (2**30).to_bytes(4, "little") + offsets[12:]))
    with pytest.raises(UserError, match=r"a\.arrow:1: damaged Arrow file \("):
        list(tables.rows_of(path))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.json", b'[{"a": 1},\n{"a":', ":2: JSON that ends too early; repair the file"),
        (
            "b.json",
            b'[{"a": 1},\n{"a":\nb, "c": "and so on, and so on"}]',
            ":2: not JSON (Expecting value, line 3); repair the file",
        ),
        ("c.json", b'{"a": 1,\n"b"', ":2: JSON that ends too early; repair the file"),
        ("d.json", b'[{"a": 1}', ":1: JSON that ends too early; repair the file"),
        ("a.csv", b"a,b,a\n1,2,3\n", ":1: the column a stands there twice; repair the file"),
        ("blank.tsv", b"\n \n\n", ": an empty file; name a file with rows"),
        ("a.xlsx", b"PK\x03\x04...", ": a zip file (an Excel sheet is one); unpack it, or save the sheet as CSV"),
        ("a.bin", b"\x89PNG\0\0", ": binary data that are no table; name JSON lines, JSON, CSV, TSV or Parquet"),
        ("a.parquet", b"PAR1....", ": damaged Parquet file (Parquet"),
        ("empty.csv", b"", ": an empty file; name a file with rows"),
        ("cut.jsonl.gz", gzip.compress(LINES * 999)[:-20], ":2920: damaged compressed file; repair the file"),
    ],
)
def test_files_that_are_broken_are_told(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(tables.rows_of(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}{message}")


def test_a_csv_file_without_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"I like it,good\nI do not,bad\n")
    assert list(tables.rows_of(tmp_path / "a.csv", header=False)) == [
        (1, {"1": "I like it", "2": "good"}), (2, {"1": "I do not", "2": "bad"}),
    ]  # fmt: skip


def test_a_big_array_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHUNK", 7)
    rows = [{"n": number, "text": "ä" * (number % 50)} for number in range(300)]
    (tmp_path / "a.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    found = list(tables.rows_of(tmp_path / "a.json"))
    assert [row for _, row in found] == rows
    assert [line for line, _ in found] == [2 + 4 * number for number in range(300)]


def test_the_tables_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.csv", "a.jsonl.gz", "sub/c.parquet", "README.md", ".hidden.csv", "sub/dataset_info.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in tables.files(tmp_path)] == [
        "a.jsonl.gz", "b.csv", "sub/c.parquet",
    ]  # fmt: skip
