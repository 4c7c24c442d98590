"""Drop documents that repeat themselves: Gopher's repetition rules.

Rae et al. 2021, appendix A.1.1, table A1: thresholds as published; "words" are runs of letters and digits, folded, and
shares of characters are taken over the words joined by blanks. A document in which no run of five words occurs twice
breaks none of the six duplicate n-gram rules, which settles most documents with one sort.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from pydantic import Field

from data_prep import shingles
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 65

TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class Settings(Section):
    """Thresholds as published; the n-gram thresholds scale with `ngram_factor`."""

    max_duplicate_lines: float = Field(default=0.30, ge=0, le=1)
    max_duplicate_paragraphs: float = Field(default=0.30, ge=0, le=1)
    max_duplicate_line_characters: float = Field(default=0.20, ge=0, le=1)
    max_duplicate_paragraph_characters: float = Field(default=0.20, ge=0, le=1)
    ngram_factor: float = Field(default=1.0, gt=0, description="1: table A1. Above 1 for short or formulaic texts.")


def build(settings: Settings) -> Check:
    """Return a check that names the first rule broken."""

    def check(document: Document) -> Drop | None:
        text = document.text
        return (
            _parts(text.split("\n"), "line", settings.max_duplicate_lines, settings.max_duplicate_line_characters)
            or _parts(
                text.split("\n\n"),
                "paragraph",
                settings.max_duplicate_paragraphs,
                settings.max_duplicate_paragraph_characters,
            )
            or _ngrams(shingles.words(text), settings.ngram_factor)
        )

    return check


def _parts(parts: Sequence[str], name: str, max_parts: float, max_characters: float) -> Drop | None:
    """Judge the share of lines or paragraphs that occurred before, by number and by characters."""
    present = [part.strip() for part in parts if part.strip()]
    seen: set[str] = set()
    repeated = [part for part in present if part in seen or seen.add(part)]  # type: ignore[func-returns-value]
    if len(repeated) > max_parts * len(present):
        return Drop(f"duplicate_{name}_fraction", f"{len(repeated)} of {len(present)} {name}s")
    characters, total = sum(map(len, repeated)), sum(map(len, present))
    if characters > max_characters * total:
        return Drop(f"duplicate_{name}_character_fraction", f"{characters} of {total} characters")
    return None


def _ngrams(words: list[str], factor: float) -> Drop | None:
    total = sum(map(len, words)) + len(words) - 1
    hashes = shingles.hashes(words)
    for length, share in TOP_NGRAM.items():
        covered = _top(words, hashes, length)
        if covered > min(1.0, share * factor) * total:
            return Drop(f"top_{length}_gram", f"{covered} of {total} characters")
    ends = _ends(words)
    for length, share in DUPLICATE_NGRAMS.items():
        covered = _duplicated(hashes, ends, length)
        if covered > min(1.0, share * factor) * total:
            return Drop(f"duplicate_{length}_grams", f"{covered} of {total} characters")
        if not covered:
            break  # no run of five words occurs twice, so none of six does
    return None


def _top(words: list[str], hashes: shingles.Hashes, length: int) -> int:
    """Return how many characters the most frequent run of `length` words covers, 0 if none occurs twice."""
    import numpy as np

    if len(words) <= length:
        return 0
    runs = shingles.runs(hashes, length)
    _, first, counts = np.unique(runs, return_index=True, return_counts=True)
    top = int(counts.argmax())
    if counts[top] == 1:
        return 0
    gram = words[int(first[top]) : int(first[top]) + length]
    return int(counts[top]) * len(" ".join(gram))


def _ends(words: list[str]) -> list[int]:
    """Return where each word ends in the words joined by blanks, with the start of the first in front."""
    return list(accumulate((len(word) + 1 for word in words), initial=-1))


def _duplicated(hashes: shingles.Hashes, ends: list[int], length: int) -> int:
    """Return how many characters lie in runs of `length` words that began before as well, none counted twice."""
    import numpy as np

    if len(hashes) <= length:
        return 0
    runs = shingles.runs(hashes, length)
    _, first, inverse = np.unique(runs, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] < np.arange(len(runs))).tolist()
    covered = free = 0
    for start in again:
        if start >= free:
            free = start + length
            covered += ends[free] - ends[start] - 1
    return covered
