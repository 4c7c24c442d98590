"""JSON lines in pieces of about equal size, so that many workers read one file: same pieces whatever their number.

A piece is a range of bytes; it holds the lines that begin in it. A packed file (gzip, Zstandard) can only be read from
its start and is one piece. Left out: Parquet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped

PIECE = 32 * 2**20  # bytes
LONGEST_LINE = 64 * 2**20  # bytes
LONGEST_TEXT = 5_000_000  # letters; the tokenizers library takes about 125 bytes of memory for each
ROWS = tuple(f"{ending}{packed}" for ending in (".jsonl", ".ndjson", ".json") for packed in ("", ".gz", ".zst"))
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")  # the first bytes of gzip and Zstandard
OUR_TRAINING_SIDE = "train"


@dataclass(frozen=True)
class Range:
    """The lines of a file that begin at `start` or behind it, before `end`; a packed file is one whole range."""

    path: str
    start: int
    end: int
    packed: bool = False

    @property
    def size(self) -> int:
        """Return the bytes to read."""
        return self.end - self.start


def files_of(path: str) -> list[str]:
    """Return the files of rows that a recipe's path stands for: itself, a folder's training side, or all in a folder.

    Raises:
        UserError: the folder has none.
    """
    place = Path(os.path.abspath(shipped(path)))  # workers may stand in another folder
    if place.is_file():
        return [str(place)]
    found = sorted(str(file) for file in place.rglob("*") if file.is_file() and file.name.endswith(ROWS))
    train = [file for file in found if Path(file).relative_to(place).parts[0].startswith(OUR_TRAINING_SIDE)]
    if not found:
        raise UserError(path, "no JSON lines in this folder", f"a folder with files that end in {', '.join(ROWS)}")
    return train or found


def faults(key: Key, path: str) -> list[Fault]:
    """Return a fault for a folder without rows; what is not there yet is passed over."""
    try:
        if shipped(path).exists():
            files_of(path)
    except UserError as error:
        return [Fault(key, f"{path}: {error.what}", error.write)]
    return []


def ranges(files: Iterable[str], piece: int = PIECE) -> list[Range]:
    """Return the pieces of all files, in order."""
    found = []
    for path in files:
        with open(path, "rb") as stream:
            packed = stream.read(4).startswith(PACKED)
            size = stream.seek(0, 2)
        edges = [0] if packed else list(range(0, max(size, 1), piece))
        ends = [*edges[1:], size]
        found += [Range(path, start, end, packed) for start, end in zip(edges, ends, strict=True)]
    return found


def rows(piece: Range) -> Iterator[tuple[str, dict[str, Any] | None, str]]:
    """Yield where each line stands, its JSON object or None, and in that case what is wrong with it."""
    from data_prep.records import parse_line

    for where, line in _lines(piece):
        if len(line) > LONGEST_LINE:
            yield where, None, f"line longer than {LONGEST_LINE // 2**20} MiB"
            continue
        try:
            yield where, parse_line(line), ""
        except ValueError as error:
            # Without place and value: reasons are counted.
            yield where, None, str(error).split(" (")[0]


def _lines(piece: Range) -> Iterator[tuple[str, bytes]]:
    """Yield where each line that is not blank stands, and its bytes (cut where it is longer than any row may be).

    The place is `file:line`, or `file@byte` where a piece may begin in the middle of a file.
    """
    from data_prep.records import lines

    if piece.packed:
        for number, line in lines(Path(piece.path)):
            yield f"{Path(piece.path).name}:{number}", line
        return
    with open(piece.path, "rb") as stream:
        if piece.start:
            stream.seek(piece.start - 1)
            _pass(stream)
        while (place := stream.tell()) < piece.end:
            line = stream.readline(LONGEST_LINE + 1)
            if len(line) > LONGEST_LINE and not line.endswith(b"\n"):
                _pass(stream)
            if line.strip():
                yield f"{Path(piece.path).name}@{place}", line


def _pass(stream: Any) -> None:
    """Read up to the next line's start, a bounded number of bytes at a time."""
    while (part := stream.readline(2**20)) and not part.endswith(b"\n"):
        pass


def first_row_faults(key: Key, path: str, column: str) -> list[Fault]:
    """Return a fault when the first row of a file has no text in `column`; what is not there yet is passed over."""
    if not shipped(path).exists():
        return []
    for file in files_of(path):
        for where, row, wrong in (found for piece in ranges([file]) for found in rows(piece)):
            if row is not None and isinstance(row.get(column), str):
                return []
            what = wrong or f"no text in column {column!r}; the columns are {', '.join(row or ())}"
            return [Fault(key, f"{where}: {what}", "JSON lines, and the text's column as text_column")]
    return [Fault(key, f"{path} has no rows", "name a file with rows")]
