"""Rows of CSV and TSV files, in constant memory.

The delimiter is the one of comma, tab, semicolon and bar that stands most often in the header outside of quotes. Lines
that are not UTF-8 are read in the one legacy encoding that such lines of the first MiB are likeliest in. A row with
another number of fields than the header is refused: which field is missing is not known, and a guess would take one
column for another. A row of many lines (a quote that is never closed, say) is refused above `streams.MAX_LINE`.

The standard library's reader, 130 to 200 MB a CPU second; pyarrow's reaches 990, but wants one encoding for the whole
file, and the quality filters that follow run at some 10.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import streams
from data_prep.files.decoding import Unreadable

DELIMITERS = (",", "\t", ";", "|")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def rows(path: Path, *, header: bool = True) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    """Yield each row with the number of the line on which it starts, and the reason for each that cannot be read.

    Without a header the columns are called 1, 2, ...
    Raises: Unreadable for an empty file or a repeated name.
    """
    csv.field_size_limit(2 * streams.MAX_LINE)  # the standard library's limit is 128 KiB; ours is that of `_Lines`
    with streams.open_text(path) as stream:
        lines = _Lines(streams.numbered_lines(stream), path)
        first = next(lines, "").removeprefix("\ufeff")
        while first and not first.strip():
            first = next(lines, "")
        if not first:
            raise Unreadable("empty file")
        delimiter, number = delimiter_of(first), lines.number
        fields = next(csv.reader([first, *lines.rest_of(first)], delimiter=delimiter))
        if not header:
            yield number, {str(place): field for place, field in enumerate(fields, start=1)}
            fields = [str(place) for place in range(1, len(fields) + 1)]
        yield from _rows(lines, delimiter, _names(fields, number))


def delimiter_of(header: str) -> str:
    """Return what stands between the fields of a table's first line."""
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)


def _rows(lines: _Lines, delimiter: str, names: list[str]) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = lines.start_row()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except Unreadable as error:
            yield Unreadable(error.reason, error.row or number)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        except csv.Error as error:
            unclosed = "unexpected end" in str(error)
            yield (
                Unreadable("a quote that is never closed", number)
                if unclosed
                else Unreadable("not CSV", number, str(error))
            )
        else:
            if len(fields) == len(names):
                yield number, dict(zip(names, fields, strict=True))
            elif any(map(str.strip, fields)):
                reason = f"{'more' if len(fields) > len(names) else 'fewer'} fields than columns"
                yield Unreadable(reason, number, f"{len(fields)} for {len(names)}")


class _Lines:
    """The lines of a file as text; an iterator that goes on after an error."""

    def __init__(self, source: Iterator[tuple[int, bytes | None]], path: Path) -> None:
        self.source = source
        self.path = path
        self.codec = ""  # of lines that are not UTF-8, once there is one
        self.number = 0
        self.taken = 0  # bytes of the row so far

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        self.number, line = next(self.source)
        self.taken += len(line or b"")
        if line is None or self.taken > streams.MAX_LINE:
            self.taken = 0
            raise Unreadable(f"a row {streams.TOO_LONG}, or a quote that is never closed")
        if b"\0" in line:
            raise Unreadable("binary data (NUL bytes)", self.number)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            return self._legacy(line)

    def _legacy(self, line: bytes) -> str:
        from data_prep.files.legacy_encodings import decoded, encoding_of

        self.codec = self.codec or encoding_of(_sample(self.path) or line)
        return decoded(line, self.codec)

    def start_row(self) -> int:
        """Begin to count a row; return the number of its first line."""
        self.taken = 0
        return self.number + 1

    def rest_of(self, header: str) -> Iterator[str]:
        """Yield the lines on which a header with line ends in its names goes on."""
        while header.count('"') % 2 and (line := next(self, "")):
            header += line
            yield line


def _sample(path: Path, size: int = 2**20) -> bytes:
    """Return those of a file's first lines that are not UTF-8."""
    found = []
    with streams.open_text(path) as stream:
        for _, line in streams.numbered_lines(stream, size):
            try:
                (line or b"").decode("utf-8")
            except UnicodeDecodeError:
                found.append(line or b"")
    return b"".join(found)


def _names(fields: list[str], line: int) -> list[str]:
    """Return the columns' names.

    Raises: Unreadable when a name stands there twice.
    """
    # pandas writes its index under an empty name.
    names = [name.strip("\ufeff \t\r\n") or f"column {place}" for place, name in enumerate(fields, start=1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Unreadable(f"the column {', '.join(twice)} stands there twice", line)
    return names
