"""ROUGE-L between short texts, and a pool that finds the nearest of many without comparing with all.

ROUGE-L (Lin 2004, https://aclanthology.org/W04-1013) is the F1 of the longest common subsequence of words (equal
weight on precision and recall, as self-instruct uses it, Wang et al. 2023, https://arxiv.org/abs/2212.10560): with
lengths m and n, F1 = 2 LCS / (m + n). Words are folded (`data_prep.shingles`), nothing is stemmed.

The pool is exact. F1 >= t needs an LCS of at least t (m + n) / 2, and n is at least m t / (2 - t); so at least
m t / (2 - t) words are common. Two sets with so many common words share one of their first words, when both are sorted
by the same order and "first" is all but that many (prefix filtering, Chaudhuri et al. 2006). With the rarest words
first, few texts share one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from data_prep.shingles import words

__all__ = ["Pool", "common", "f1", "words"]


def common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest common subsequence (bit-parallel, Hyyro 2004)."""
    if len(one) > len(other):
        one, other = other, one
    places: dict[str, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        if found := row & places.get(word, 0):
            row = ((row + found) | (row - found)) & full
    return len(one) - row.bit_count()


def f1(one: Sequence[str], other: Sequence[str]) -> float:
    """Return ROUGE-L's F1 of two lists of words; 0 when either is empty."""
    return 2 * common(one, other) / (len(one) + len(other)) if one and other else 0.0


class Pool:
    """Texts by number, in the order they came; `frequencies` (how often a word occurs) only decides the speed."""

    def __init__(self, threshold: float, frequencies: Counter[str] | None = None) -> None:
        self.threshold = threshold
        self.texts: list[list[str]] = []
        self._frequencies: Counter[str] = frequencies if frequencies is not None else Counter()
        self._places: dict[tuple[str, int], list[int]] = {}
        self._needed = threshold / (2 - threshold)

    def add(self, text: list[str]) -> int:
        """Take a text's words in; return its number."""
        number = len(self.texts)
        self.texts.append(text)
        for key in self._first(text):
            self._places.setdefault(key, []).append(number)
        return number

    def near(self, text: Sequence[str]) -> Iterable[tuple[float, int]]:
        """Yield F1 and number of every text that is at least `threshold` alike, in the order of their numbers."""
        shortest, longest = len(text) * self._needed, len(text) / self._needed
        numbers = {number for key in self._first(text) for number in self._places.get(key, ())}
        for number in sorted(numbers):
            if shortest <= len(self.texts[number]) <= longest:
                likeness = f1(text, self.texts[number])
                if likeness >= self.threshold:
                    yield likeness, number

    def _first(self, text: Sequence[str]) -> list[tuple[str, int]]:
        """Return the words of which two alike texts share one; a repeated word counts as different ones."""
        seen: Counter[str] = Counter()
        keys = []
        for word in text:
            keys.append((word, seen[word]))
            seen[word] += 1
        keys.sort(key=lambda key: (self._frequencies[key[0]], key))
        return keys[: len(keys) - math.ceil(len(keys) * self._needed - 1e-9) + 1]
