"""JSON lines, plain or gzip: one document a row.

The text is in the first of the columns `TEXT`; `title`, `url`, `source` and `license` are taken where they are, all
other columns are kept in `meta`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.decoding import Unreadable
from data_prep.records import Document, open_binary, parse_line

SUFFIXES = (".jsonl", ".ndjson")
TEXT = ("text", "content", "body", "document", "article")
KNOWN = ("title", "url", "source", "license")
MAX_LINE = 64 * 2**20  # bytes: a longer row is a whole data set on one line


def recognises(head: bytes) -> bool:
    """Tell JSON lines by a first line that is an object, so that `.json` files of one object are not caught."""
    first, end, _ = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    return bool(end) and first.startswith(b'{"') and first.rstrip().endswith(b"}")


def read(path: Path) -> Iterator[Document | Unreadable]:
    """Yield a document for each row that has text, and the reason for each that has none."""
    number = 0
    try:
        with open_binary(path) as stream:
            while line := stream.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise Unreadable(f"line {number} is longer than {MAX_LINE // 2**20} MiB")
                if line.strip():
                    yield _row(line, number)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise Unreadable(f"damaged gzip file after line {number}") from error


def _row(line: bytes, number: int) -> Document | Unreadable:
    try:
        row = parse_line(line)
    except ValueError as error:
        return Unreadable(str(error).partition(" (")[0], number)
    column = next((name for name in TEXT if name in row), None)
    if column is None:
        return Unreadable(f"no column {', '.join(TEXT)}", number)
    text = row.pop(column)
    if not isinstance(text, str) or not text.strip():
        return Unreadable(f"{column} is empty or no text", number)
    return _document(text, row, number)


def _document(text: str, row: dict[str, Any], number: int) -> Document:
    known = {name: row.pop(name) for name in KNOWN if isinstance(row.get(name), str)}
    meta = row.pop("meta", {})
    return Document("", text, known.pop("source", ""), **known, meta={**row, **_object(meta), "row": number})


def _object(meta: Any) -> dict[str, Any]:
    return meta if isinstance(meta, dict) else {"meta": meta}
