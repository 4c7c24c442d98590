"""Remove lines that repeat over the documents of a source: footers, notices, calls to subscribe.

A line is boilerplate when documents beyond `min_share` of its source (and at least `min_documents`) have it. Digits
count as equal, so that "Page 3 of 12" and a changing year are found. Short lines are left alone: headings such as
"Care" repeat because documents are alike, not because they are padded.

Left out: boilerplate inside a line of running text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 40

_DIGITS = re.compile(r"\d+")


class Settings(Section):
    """How often is too often."""

    min_share: float = Field(default=0.2, gt=0, le=1, description="Share of a source's documents that have the line.")
    min_documents: int = Field(default=5, ge=2)
    min_words: int = Field(default=4, ge=1, description="Shorter lines (headings) are never boilerplate.")


def fit(settings: Settings, documents: Sequence[Document]) -> Check:
    """Count the lines of each source; return a repair that drops what was nothing but boilerplate."""
    found = _boilerplate(settings, documents)

    def check(document: Document) -> Drop | None:
        lines = document.text.split("\n")
        known = found.get(document.source, frozenset())
        kept = [line for line in lines if _key(line, settings.min_words) not in known]
        if len(kept) < len(lines):
            document.meta["boilerplate_lines"] = len(lines) - len(kept)
            document.text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
        return None if document.text else Drop("boilerplate", "every line is boilerplate of its source")

    return check


def _boilerplate(settings: Settings, documents: Sequence[Document]) -> dict[str, frozenset[str]]:
    sizes = Counter(document.source for document in documents)
    counts: dict[str, Counter[str]] = {source: Counter() for source in sizes}
    for document in documents:
        keys = {_key(line, settings.min_words) for line in document.text.split("\n")}
        counts[document.source].update(keys - {""})
    return {
        source: frozenset(
            line
            for line, count in counts[source].items()
            if count >= max(settings.min_documents, settings.min_share * size)
        )
        for source, size in sizes.items()
    }


def _key(line: str, min_words: int) -> str:
    """Return what counts as the same line, or "" for a line too short to be boilerplate."""
    words = line.casefold().split()
    return _DIGITS.sub("0", " ".join(words)) if len(words) >= min_words else ""
