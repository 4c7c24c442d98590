"""Words, their hashes, and hashes of runs of words: what duplicate search and decontamination compare.

A word is a run of letters and digits after Unicode compatibility folding and case folding, so that white space, case
and punctuation never matter. Hashes are 64 bits wide and the same in every process (Python's own `hash` is not).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

WORD = re.compile(r"[^\W_]+")
_MULTIPLIER = 0x9E3779B97F4A7C15


class _WordHashes(dict[str, int]):
    """Hash of each word, computed when first seen; a vocabulary is small next to the text it is made of."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "little")
        if len(self) < 2_000_000:
            self[word] = value
        return value


_table = _WordHashes()


@lru_cache(maxsize=2)
def words(text: str) -> list[str]:
    """Return the words of a text, folded; a dozen steps ask for those of one text, so do not change the list."""
    return WORD.findall(fold(text))


def fold(text: str) -> str:
    """Return a text in lower case and compatibility form."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


@lru_cache(maxsize=1)
def text_hashes(text: str) -> Hashes:
    """Return one hash for each word of a text; do not change the array."""
    return hashes(words(text))


def hashes(folded: list[str]) -> Hashes:
    """Return one hash for each word."""
    import numpy as np

    return np.fromiter(map(_table.__getitem__, folded), dtype=np.uint64, count=len(folded))


def runs(of_words: Hashes, length: int) -> Hashes:
    """Return one hash for each run of `length` words; a shorter text is one run, an empty one none."""
    import numpy as np

    count = len(of_words)
    length = min(length, count)
    if not count:
        return of_words
    mixed = np.zeros(count - length + 1, dtype=np.uint64)
    for offset in range(length):
        mixed = mixed * np.uint64(_MULTIPLIER) + of_words[offset : count - length + 1 + offset]
    return scramble(mixed)


def runs_of_each_length(of_words: Hashes, longest: int) -> Iterator[tuple[int, Hashes]]:
    """Yield 1, 2, ... with one hash for each run of so many words; `scramble` makes them those of `runs`."""
    import numpy as np

    mixed = np.zeros(len(of_words), dtype=np.uint64)
    for length in range(1, min(longest, len(of_words)) + 1):
        mixed = mixed[: len(of_words) - length + 1] * np.uint64(_MULTIPLIER) + of_words[length - 1 :]
        yield length, mixed


def shingles(text: str, length: int) -> Hashes:
    """Return the set of a text's runs of `length` words, sorted."""
    import numpy as np

    return np.unique(runs(hashes(words(text)), length))


def scramble(values: Hashes) -> Hashes:
    """Spread the bits of each value over all 64 (splitmix64, Steele et al. 2014)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
