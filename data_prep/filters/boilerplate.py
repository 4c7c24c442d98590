"""Remove lines that repeat over the documents of a source: footers, notices, calls to subscribe.

A line is boilerplate when documents beyond `min_share` of its source (and at least `min_documents`) have it. Digits
count as equal, so that "Page 3 of 12" and a changing year are found. Short lines are left alone: headings such as
"Care" repeat because documents are alike, not because they are padded.

Lines are told apart by 64-bit hashes; the model is the sorted hashes of the boilerplate lines.

Left out: boilerplate inside a line of running text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from data_prep.engine import sorted_runs
from data_prep.engine.phases import replacing
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = 40

_DIGITS = re.compile(r"\d+")
_EMPTY_LINES = re.compile(r"\n{3,}")
_FIELDS = [("key", "<u8"), ("source", "<u8")]
_SIZES = ".sizes.npy"


class Settings(Section):
    """How often is too often."""

    min_share: float = Field(default=0.2, gt=0, le=1, description="Share of a source's documents that have the line.")
    min_documents: int = Field(default=5, ge=2)
    min_words: int = Field(default=4, ge=1, description="Shorter lines (headings) are never boilerplate.")


class _Lines:
    """The lines of a shard's documents, each counted once a document."""

    def __init__(self, settings: Settings) -> None:
        self._min_words = settings.min_words
        self._seen: list[tuple[list[int], int]] = []
        self._sizes: Counter[int] = Counter()

    def see(self, document: Document) -> None:
        source = _hash(document.source)
        self._sizes[source] += 1
        keys = {_line_key(line, self._min_words, document.source) for line in document.text.split("\n")}
        self._seen.append((sorted(keys - {0}), source))

    def save(self, path: Path) -> None:
        import numpy as np

        records = np.zeros(sum(len(keys) for keys, _ in self._seen), dtype=_FIELDS)
        records["key"] = [key for keys, _ in self._seen for key in keys]
        records["source"] = [source for keys, source in self._seen for _ in keys]
        sizes = np.array(sorted(self._sizes.items()), dtype=np.uint64).reshape(-1, 2)
        with replacing(path.with_name(path.name + _SIZES)) as stream:
            np.save(stream, sizes)
        sorted_runs.write(path, records)


def survey(settings: Settings) -> _Lines:
    """Return what counts the lines of a shard."""
    return _Lines(settings)


def reduce(settings: Settings, parts: Sequence[Path], target: Path) -> None:
    """Write the sorted hashes of all lines that enough documents of their source have."""
    import numpy as np

    sizes: Counter[int] = Counter()
    for part in parts:
        for source, count in np.load(part.with_name(part.name + _SIZES)).tolist():
            sizes[source] += count
    found: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    for records in sorted_runs.slices(parts):
        starts, counts = sorted_runs.groups(records)
        often = np.flatnonzero(counts >= settings.min_documents)
        of_source = np.array([sizes[source] for source in records["source"][starts[often]].tolist()], dtype=np.float64)
        found.append(records["key"][starts[often[counts[often] >= settings.min_share * of_source]]])
    with replacing(target) as stream:
        np.save(stream, np.concatenate(found))


def build(settings: Settings, model: Path) -> Check:
    """Return a repair that drops what was nothing but boilerplate."""
    import numpy as np

    known = frozenset(np.load(model).tolist())

    def check(document: Document) -> Drop | None:
        if not known:
            return None
        lines = document.text.split("\n")
        kept = [line for line in lines if _line_key(line, settings.min_words, document.source) not in known]
        if len(kept) < len(lines):
            document.meta["boilerplate_lines"] = len(lines) - len(kept)
            document.text = _EMPTY_LINES.sub("\n\n", "\n".join(kept)).strip()
        return None if document.text else Drop("boilerplate", "every line is boilerplate of its source")

    return check


def _line_key(line: str, min_words: int, source: str) -> int:
    """Return what counts as the same line of the same source, or 0 for a line too short to be boilerplate."""
    words = line.casefold().split()
    if len(words) < min_words:
        return 0
    return _hash(_DIGITS.sub("0", " ".join(words)) + "\0" + source)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "little")
