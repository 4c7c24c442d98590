"""Plain text: one document a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.files.decoding import read_text
from data_prep.records import Document

SUFFIXES = (".txt", ".text")


def recognises(head: bytes) -> bool:
    """Plain text has no mark of its own."""
    return False


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document; its title is a short first line set apart by an empty one."""
    text = read_text(path)
    first, _, rest = text.lstrip().replace("\r\n", "\n").partition("\n")
    apart = rest.startswith("\n") and len(first) <= 100 and not first.rstrip().endswith((".", "!", "?", ":", ";", ","))
    yield Document("", text, "", title=first.strip() if apart else "")
