"""Rows of a table, one at a time, with the line that each stands in: JSON lines, JSON, CSV/TSV, Parquet, Arrow.

`rows_of(path)` yields (line, row); a row that cannot be read is a `ValueError` that says why, and the next row follows.
What cannot be read at all is a `UserError`. The format is told by content first (Parquet, Arrow and JSON have marks),
then by suffix. Gzip and Zstandard are unpacked on the way, whatever the name.

| format | line is | streamed |
|---|---|---|
| JSON lines | the line | by line |
| a JSON array, objects one after the other | the line on which the row starts | by row |
| a JSON object of arrays or of rows | the line on which the array or the row starts | no |
| CSV, TSV (comma, semicolon, tab or bar) | the line on which the row starts | by row |
| Parquet, Arrow, a data set of Hugging Face saved to disk | the number of the row | by up to 1,024 rows |

Memory: one row of text, of at most 64 MiB (`streams.MAX_LINE`), or one batch of rows. The readers of documents read
these formats with the same functions. Left out: Excel, fixed-width columns, SQL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import columnar, delimited, json_lines
from data_prep.files.decoding import Unreadable
from data_prep.files.streams import open_text
from data_prep.records import DAMAGED
from recipes.errors import UserError
from recipes.manifest import MANIFEST

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row | ValueError]]
HEAD = 2**16
BLANK = b"\xef\xbb\xbf \t\r\n"
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow")
PACKED = (".gz", ".zst")
LINES, JSON, CSV, PARQUET, ARROW, SAVED = "JSON lines", "JSON", "CSV", "Parquet", "Arrow", "a saved data set"
MARKS = {
    b"PK\x03\x04": ("a zip file (an Excel sheet is one)", "unpack it, or save the sheet as CSV"),
    b"%PDF": ("a PDF file, not a table", "name a table; documents go through `stage: corpus`"),
}


def files(path: Path) -> list[Path]:
    """Return the tables that a path names: itself, or all below a folder, in the order of their names."""
    if not path.is_dir() or columnar.is_saved(path):
        return [path]
    found = []
    result = (path / MANIFEST).is_file()  # its JSON files tell of it; its rows are in the others
    for entry in sorted(path.iterdir()):
        if entry.name.startswith((".", "_")) or (entry.is_symlink() and entry.is_dir()):
            continue
        if entry.is_dir():
            found += files(entry)
        elif entry.name == "dataset_info.json" or (result and entry.suffix == ".json"):
            continue
        elif _suffix(entry) in SUFFIXES:
            found.append(entry)
    return found


def rows_of(path: Path | str, *, header: bool = True, split: str = "") -> Numbered:
    """Yield the rows of a table with their lines.

    `header: False` names the columns of a CSV file 1, 2, ...; `split` is one of a saved data set's.
    Raises: UserError for a file that is no table or that is damaged.
    """
    path = Path(path)
    try:
        for item in _rows(path, header, split):
            yield (item.row, ValueError(str(item))) if isinstance(item, Unreadable) else item
    except Unreadable as error:
        where = f"{path}:{error.row}" if error.row else str(path)
        raise UserError(where, str(error), "repair the file") from error
    except OSError as error:
        raise UserError(str(path), f"cannot be read ({error.strerror or error})", "a readable file") from error


def is_empty(path: Path) -> bool:
    """Tell a file that holds nothing, or white space alone."""
    return path.is_file() and not _head(path).lstrip(BLANK)


def format_of(path: Path) -> str:
    """Return the name of a table's format.

    Raises: UserError for what is no table.
    """
    if path.is_dir():
        return SAVED
    if path.exists() and not path.is_file():  # to open a pipe is to wait for ever
        raise UserError(str(path), "a pipe or a device, not a file", "name a file")
    head = _head(path)
    if columnar.is_parquet(head):
        return PARQUET
    if columnar.is_arrow(head):
        return ARROW
    for mark, told in MARKS.items():
        if head.startswith(mark):
            raise UserError(str(path), *told)
    return _text_format(path, head)


def _head(path: Path) -> bytes:
    try:
        with open_text(path) as stream:
            return stream.read(HEAD)
    except DAMAGED as error:
        raise UserError(str(path), "damaged compressed file", "a file that unpacks") from error


def _text_format(path: Path, head: bytes) -> str:
    """Tell JSON lines, JSON and CSV apart: a first line that is a whole object is a row, whatever the name."""
    suffix, start = _suffix(path), head.lstrip(BLANK)
    if not start:
        raise UserError(str(path), "an empty file", "name a file with rows")
    if suffix in (".csv", ".tsv") or not start.startswith((b"{", b"[")):
        if suffix in (".jsonl", ".ndjson", ".json"):
            return LINES
        if b"\0" in head:
            raise UserError(str(path), "binary data that are no table", "name JSON lines, JSON, CSV, TSV or Parquet")
        return CSV
    first, end, _ = start.partition(b"\n")
    if suffix in (".jsonl", ".ndjson") and not (start.startswith(b"[") and not _whole(first)):
        return LINES
    return LINES if start.startswith(b"{") and end and _whole(first) else JSON


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _rows(path: Path, header: bool, split: str) -> Iterator[tuple[int, Row] | Unreadable]:
    form = format_of(path)
    if form == LINES:
        return json_lines.rows(path)
    if form == JSON:
        return _json(path)
    if form == CSV:
        return delimited.rows(path, header=header)
    if form == SAVED:
        return columnar.saved(path, split)
    return columnar.parquet(path) if form == PARQUET else columnar.arrow(path)


def _json(path: Path) -> Iterator[tuple[int, Row] | Unreadable]:
    """Yield the rows of a JSON value with their lines, where the reader of documents counts them."""
    from data_prep.files import json_stream

    with open_text(path) as stream:
        text = json_stream.Text(stream)
        try:
            for _, line, row in json_stream.rows(text):
                yield Unreadable(row.reason, line) if isinstance(row, Unreadable) else (line, row)
        except Unreadable as error:
            raise Unreadable(error.reason, text.line, error.detail) from error


def _suffix(path: Path) -> str:
    """Return the suffix that tells the format, without the one that tells the packing."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in PACKED), "")
