"""A count of what a corpus holds, in constant memory: sizes, sources, licences, languages, personal data, demographics.

Tallies of parts merge into the tally of the whole, and a tally is plain JSON on disk. The same documents in the same
parts, merged in the same order, give the same bytes.

Bounds: lengths go into half-octave bins (two a doubling). Each count by name (source, language, ...) holds at most
`HELD` names; beyond that the smaller half by words goes into `others` and loses its names, so totals stay exact and a
name that comes again starts at nothing. Demographic counts are bounded by the word list. Texts wait until `BATCH` bytes
are together, because searching them for terms is many times faster at once.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from data_prep.governance.demographics import Counts, Terms
from data_prep.governance.term_search import clean
from data_prep.records import Document

HELD = 4_000
BATCH = 2**20
BY = ("source", "language", "license", "format", "year")
NOT_STATED = "not stated"
_YEAR = re.compile(r"(?<!\d)(1[4-9]\d\d|20\d\d)(?!\d)")

Size = list[int]  # documents, words, bytes


class Names:
    """Documents, words and bytes by name, for at most HELD names."""

    def __init__(self, named: Mapping[str, Size] | None = None, others: Size | None = None) -> None:
        self.named = {name: list(size) for name, size in (named or {}).items()}
        self.others = list(others or (0, 0, 0))

    def add(self, name: str, documents: int, words: int, size: int) -> None:
        """Count under a name."""
        known = self.named.get(name)
        if known is None:
            if len(self.named) >= HELD:
                self._drop_smaller_half()
            self.named[name] = [documents, words, size]
            return
        known[0] += documents
        known[1] += words
        known[2] += size

    def _drop_smaller_half(self) -> None:
        order = sorted(self.named, key=lambda name: (-self.named[name][1], name))
        for name in order[HELD // 2 :]:
            self._add_others(self.named.pop(name))

    def _add_others(self, size: Size) -> None:
        self.others = [one + more for one, more in zip(self.others, size, strict=True)]

    def merge(self, other: Names) -> None:
        """Add the counts of another part, its names in alphabetical order."""
        for name, size in sorted(other.named.items()):
            self.add(name, *size)
        self._add_others(other.others)

    def row(self) -> dict[str, Any]:
        """Return the counts by name, sorted, and what lost its name."""
        return {"named": dict(sorted(self.named.items())), "others": self.others}


class Tally:
    """What was seen so far."""

    def __init__(self, terms: Terms | None = None) -> None:
        self.documents = self.words = self.bytes = self.characters = 0
        self.lengths: Counter[int] = Counter()
        self.by = {name: Names() for name in BY}
        self.redacted: Counter[str] = Counter()  # personal data by kind: replaced, and found and left in the text
        self.left_in: Counter[str] = Counter()
        self._counts = Counts(terms)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def see(self, document: Document) -> None:
        """Count a document."""
        text = document.text
        raw = clean(text)
        words, size = len(text.split()), len(raw)
        self.documents += 1
        self.words += words
        self.bytes += size
        self.characters += len(text)
        self.lengths[place_of(words)] += 1
        for names, name in zip(self.by.values(), _names(document), strict=True):
            names.add(name, 1, words, size)
        self.redacted.update(_kinds(document.meta.get("redacted")))
        self.left_in.update(_kinds(document.meta.get("personal_data")))
        self._waiting.append(raw)
        self._waiting_bytes += size
        if self._waiting_bytes >= BATCH:
            self._search()

    def _search(self) -> None:
        self._counts.add(self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def merge(self, other: Tally) -> None:
        """Add the tally of another part."""
        self._search()
        other._search()
        for name in ("documents", "words", "bytes", "characters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.lengths.update(other.lengths)
        self.redacted.update(other.redacted)
        self.left_in.update(other.left_in)
        for name, names in self.by.items():
            names.merge(other.by[name])
        self._counts.merge(other._counts)

    def row(self) -> dict[str, Any]:
        """Return the tally as JSON."""
        self._search()
        return {
            "documents": self.documents, "words": self.words, "bytes": self.bytes, "characters": self.characters,
            "lengths": {str(place): count for place, count in sorted(self.lengths.items())},
            "by": {name: names.row() for name, names in self.by.items()},
            "redacted": dict(sorted(self.redacted.items())), "left_in": dict(sorted(self.left_in.items())),
            "demographics": self._counts.row(),
        }  # fmt: skip

    @classmethod
    def from_row(cls, row: Mapping[str, Any], terms: Terms | None = None) -> Tally:
        """Return the tally that `row` gave; `terms` is the word list it was made with."""
        tally = cls(terms)
        for name in ("documents", "words", "bytes", "characters"):
            setattr(tally, name, row[name])
        tally.lengths = Counter({int(place): count for place, count in row["lengths"].items()})
        tally.redacted, tally.left_in = Counter(row["redacted"]), Counter(row["left_in"])
        tally.by = {name: Names(**row["by"][name]) for name in BY}
        tally._counts = Counts.from_row(row["demographics"], terms)
        return tally


def place_of(words: int) -> int:
    """Return the half-octave bin of a length: bin p holds 2^(p/2) up to 2^((p+1)/2)."""
    return math.floor(2 * math.log2(words)) if words else -1


def bin_of(place: int) -> tuple[int, int]:
    """Return the smallest and largest whole number in a bin; the bin -1 holds 0."""
    return (0, 0) if place < 0 else (math.ceil(2 ** (place / 2)), math.ceil(2 ** ((place + 1) / 2)) - 1)


def _names(document: Document) -> tuple[str, str, str, str, str]:
    """Return what a document counts under, in the order of BY."""
    meta = document.meta
    return (
        document.source or NOT_STATED, str(meta.get("language") or NOT_STATED), document.license or NOT_STATED,
        str(meta.get("format") or _suffix(meta.get("path"))), _year(meta),
    )  # fmt: skip


def _kinds(counts: object) -> dict[str, int]:
    """Return counts by kind; a raw row's own column of that name may hold anything."""
    if not isinstance(counts, dict):
        return {}
    return {str(kind): count for kind, count in counts.items() if type(count) is int}


def _suffix(path: object) -> str:
    name = path.rpartition("/")[2] if isinstance(path, str) else ""
    stem, dot, suffix = name.rpartition(".")
    if suffix in ("gz", "zst", "bz2", "xz") and "." in stem:
        suffix = stem.rpartition(".")[2]
    return suffix.lower() if dot and stem else NOT_STATED


def _year(meta: Mapping[str, Any]) -> str:
    for name in ("year", "date", "published"):
        if (value := meta.get(name)) and (found := _YEAR.search(str(value))):
            return found.group()
    return NOT_STATED
