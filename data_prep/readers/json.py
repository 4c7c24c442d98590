"""JSON: an array of rows, objects one after the other, or one object, as data_prep/files/json_stream.py tells them.

`meta.row` counts rows from 1; the document of a file that is one object has none. 220 MB a CPU second for rows of 1 kB,
an array of 1 GB in 24 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import json_stream, streams
from data_prep.files.decoding import Unreadable
from data_prep.readers import jsonl

SUFFIXES = (".json",)
BY_HINTS = True
# Texts begin with brackets too (`[[link of a wiki]]`, `["a title" in a list]`), but not with values after them.
_START = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:\{\s*[\"}]|\[\s*(?:[{\]]|\"[^\"\n]*\"\s*[,\]]|\[\s*(?:[\[{\]\"\d-]|true|false|null)))"
)


def recognises(head: bytes) -> bool:
    """Tell JSON by how an array of rows or an object begins."""
    return bool(_START.match(head))


def belongs(path: Path) -> bool:
    """Leave JSON lines to their own reader."""
    with streams.open_text(path) as stream:
        head = stream.read(4096)
    return not (jsonl.recognises(head) and jsonl.belongs(path))


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    """Yield each element with its number, or the single object with the number 0."""
    with streams.open_text(path) as stream:
        for number, _, row in json_stream.rows(json_stream.Text(stream)):
            yield row if isinstance(row, Unreadable) else (number, row)
