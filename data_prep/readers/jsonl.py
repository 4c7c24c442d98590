"""JSON lines, plain or compressed: one document a row (data_prep/table.py says which column is what).

A plain file is divided by byte ranges that begin at a line; each part knows the number of its first line, so rows keep
their numbers. Counting the line ends of a whole file runs at 3 GB a CPU second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data_prep.decoding import Unreadable
from data_prep.records import DAMAGED, open_binary, parse_line

SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
MAX_LINE = 64 * 2**20  # bytes: a longer row is a whole data set on one line
CHUNK = 2**20


def recognises(head: bytes) -> bool:
    """Tell JSON lines by a first line that is an object, so that `.json` files of one object are not caught."""
    first, end, _ = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")
    return bool(end) and first.startswith(b'{"') and first.rstrip().endswith(b"}")


def parts(path: Path, size: int) -> list[tuple[int, ...]]:
    """Return (first byte, end, number of the first line) of pieces of about `size` bytes; none of a packed file."""
    with path.open("rb") as stream, open_binary(path) as unpacked:
        if stream.read(4) != unpacked.read(4):
            return []
        found: list[tuple[int, ...]] = []
        start, number = 0, 1
        while True:
            end, ends = _line_end(stream, start, size)
            found.append((start, end, number))
            if end <= start or not _more(stream, end):
                return found
            start, number = end, number + ends


def _more(stream: IO[bytes], position: int) -> bool:
    stream.seek(position)
    return bool(stream.read(1))


def _line_end(stream: IO[bytes], start: int, size: int) -> tuple[int, int]:
    """Return where the line ends that `start + size` lies in, and how many lines end up to there."""
    stream.seek(start)
    position, ends = start, 0
    while position < start + size and (chunk := stream.read(min(CHUNK, start + size - position))):
        position += len(chunk)
        ends += chunk.count(b"\n")
        last = chunk[-1:]
    if position < start + size or last == b"\n":
        return position, ends
    while chunk := stream.read(CHUNK):
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1, ends + 1
        position += len(chunk)
    return position, ends


def rows(path: Path, start: int = 0, end: int = 0, first: int = 1) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    """Yield each row with its line's number, and the reason for each line that is none."""
    with open_binary(path) as stream:
        if start:
            stream.seek(start)
        for number, line in _lines(stream, end - start if end else None, first):
            if line is None:
                yield Unreadable(f"a line longer than {MAX_LINE // 2**20} MiB", number)
            elif line.strip():
                yield _row(line, number)


def _lines(stream: IO[bytes], left: int | None, number: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of each line, None for one that is too long to be held."""
    number -= 1
    try:
        while (left is None or left > 0) and (line := stream.readline(MAX_LINE + 1)):
            number += 1
            size = len(line)
            if size > MAX_LINE:
                while not line.endswith(b"\n") and (line := stream.readline(CHUNK)):
                    size += len(line)
            left = None if left is None else left - size
            yield number, line if size <= MAX_LINE else None
    except DAMAGED as error:
        raise Unreadable("damaged compressed file", number + 1) from error


def _row(line: bytes, number: int) -> tuple[int, dict[str, Any]] | Unreadable:
    try:
        return number, parse_line(line)
    except ValueError as error:
        return Unreadable(str(error).partition(" (")[0], number)
