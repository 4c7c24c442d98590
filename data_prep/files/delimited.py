"""Rows of CSV and TSV files.

The delimiter is the one of `,` `;` tab and `|` that stands most often in the header outside of quotes. Text is UTF-8
(with or without a mark), UTF-16 (with one), else Windows-1252. A row with another number of fields than the header is
one that cannot be read: which field is missing is not known, and a guess would put answers under questions.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from recipes.errors import UserError

DELIMITERS = (",", "\t", ";", "|")
MAX_FIELD = 64 * 2**20  # characters
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def rows(
    path: Path, opened: Callable[[], IO[bytes]], *, header: bool = True
) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Yield line and row; the line is that on which a row starts.

    Raises: UserError for a header with an empty or a repeated name.
    """
    csv.field_size_limit(MAX_FIELD)
    with opened() as probe:
        encoding = _encoding(probe.read(2**20))
    with opened() as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
        first = next((line for line in text if line.strip()), "")
        reader = csv.reader(itertools.chain([first], text), delimiter=_delimiter(first), strict=True)
        try:
            names = next(reader, [])
        except csv.Error as error:
            raise UserError(f"{path}:1", f"not CSV ({error})", "a first line with the columns' names") from None
        if not header:
            yield reader.line_num, dict(zip(map(str, range(1, len(names) + 1)), names, strict=True))
            names = [str(number) for number in range(1, len(names) + 1)]
        _check_names(path, names)
        yield from _numbered(reader, names)


def _numbered(reader: Any, names: list[str]) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, ValueError(f"not CSV ({error})")
            continue
        if len(fields) == len(names):
            yield line, dict(zip(names, fields, strict=True))
        elif any(field.strip() for field in fields):
            yield line, ValueError(f"{len(fields)} field{'s' * (len(fields) > 1)} under {len(names)} columns")


def _check_names(path: Path, names: list[str]) -> None:
    names[:] = [name.strip() for name in names]
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise UserError(f"{path}:1", f"the column {', '.join(twice)} stands there twice", "rename one of them")
    for place, name in enumerate(names):
        # pandas writes its index under an empty name.
        names[place] = name or f"column {place + 1}"


def _delimiter(line: str) -> str:
    bare = _QUOTED.sub("", line)
    return max(DELIMITERS, key=lambda mark: bare.count(mark))


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        # The head may end in the middle of a character.
        head[: head.rfind(b"\n") + 1 or None].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"
