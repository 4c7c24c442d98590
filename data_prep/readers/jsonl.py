"""JSON lines, plain or compressed: one document a row (data_prep/files/columns.py says which column is what).

A plain file is divided by byte ranges that begin at a line; each part knows the number of its first line, so rows keep
their numbers. Counting line ends is bound by the disk; rows of 1 kB become documents at 165 MB a CPU second, rows of
20 kB at 600.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from data_prep.files import streams
from data_prep.files.json_lines import rows

__all__ = ["SUFFIXES", "belongs", "parts", "recognises", "rows"]

SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
BY_HINTS = True
_BLANK = b"\xef\xbb\xbf \t\r\n"


def recognises(head: bytes) -> bool:
    """Tell what may be JSON lines: a first line that is an object, as far as the head shows it."""
    first, end, _ = head.lstrip(_BLANK).partition(b"\n")
    return first.startswith(b'{"') and (not end or first.rstrip().endswith(b"}"))


def belongs(path: Path) -> bool:
    """Tell JSON lines by a first line that ends and is a whole object, so that files of one object are not caught.

    Where it is too long to tell, the name decides.
    """
    with streams.open_text(path) as stream:
        line = b"\n"
        while line and not line.strip(_BLANK):
            line = stream.readline(streams.MAX_LINE)
    named = any(suffix.lower() in SUFFIXES for suffix in path.suffixes)
    return line.endswith((b"}\n", b"}\r\n")) or (named and len(line) == streams.MAX_LINE)


def parts(path: Path, size: int) -> list[tuple[int, ...]]:
    """Return (first byte, end, number of the first line) of pieces of about `size` bytes; none of a packed file."""
    with path.open("rb") as stream, streams.open_text(path) as unpacked:
        if stream.read(4) != unpacked.read(4):
            return []
        found: list[tuple[int, ...]] = []
        start, number = 0, 1
        while stream.seek(start) == start and stream.read(1):
            end, ends = _line_end(stream, start, size)
            found.append((start, end, number))
            start, number = end, number + ends
    return found


def _line_end(stream: IO[bytes], start: int, size: int) -> tuple[int, int]:
    """Return where the line ends that the byte before `start + size` lies in, and how many lines end up to there."""
    stream.seek(start)
    position, ends, chunk = start, 0, b""
    while position < start + size and (chunk := stream.read(min(streams.CHUNK, start + size - position))):
        position += len(chunk)
        ends += chunk.count(b"\n")
        if position == start + size and chunk.endswith(b"\n"):
            return position, ends
    while chunk := stream.read(streams.CHUNK):
        found = chunk.find(b"\n")
        if found >= 0:
            return position + found + 1, ends + 1
        position += len(chunk)
    return position, ends
