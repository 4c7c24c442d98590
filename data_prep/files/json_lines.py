"""Rows of JSON lines, plain or compressed. A line above `streams.MAX_LINE` is refused by itself; the rest is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import streams
from data_prep.files.decoding import Unreadable
from data_prep.records import parse_line


def rows(path: Path, start: int = 0, end: int = 0, first: int = 1) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    """Yield each row with its line's number, and the reason for each line that is none.

    `start` and `end` are bytes of a plain file at which lines begin; `first` is the number of the line at `start`.
    """
    with streams.open_text(path) as stream:
        if start:
            stream.seek(start)
        for number, line in streams.numbered_lines(stream, end - start if end else None, first):
            if line is None:
                yield Unreadable(f"a row {streams.TOO_LONG}", number)
            elif line.strip():
                yield _row(line, number)


def _row(line: bytes, number: int) -> tuple[int, dict[str, Any]] | Unreadable:
    try:
        return number, parse_line(line)
    except ValueError as error:
        reason, _, detail = str(error).partition(" (")
        return Unreadable(reason, number, detail.removesuffix(")"))
