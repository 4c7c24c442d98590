"""Words, their hashes, and hashes of runs of words: what duplicate search and decontamination compare.

A word is a run of letters and digits after Unicode compatibility folding and case folding, so that white space, case
and punctuation never matter. In scripts that are written without blanks (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
each letter is a word, without its vowel signs: otherwise a whole sentence would be one, and nothing like anything else.
Hashes are 64 bits wide and the same in every process (Python's own `hash` is not).
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

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# Vowel signs and points, which are no letters to `re`: Hebrew, Arabic, the blocks from Devanagari to Malayalam, which
# have one layout, and Sinhala.
_SIGNS = "\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc" + "".join(
    f"{chr(block)}-{chr(block + 3)}{chr(block + 0x3A)}-{chr(block + 0x4F)}{chr(block + 0x51)}-{chr(block + 0x57)}"
    f"{chr(block + 0x62)}{chr(block + 0x63)}"
    for block in range(0x900, 0xD80, 0x80)
) + "\u0d81-\u0d83\u0dca-\u0ddf"  # fmt: skip
_RUN = re.compile(r"[^\W_]+")
_RARER = re.compile(f"[{_UNSPACED}{_SIGNS}]")  # without it, a word is just a run
_RUN_WITH_SIGNS = re.compile(rf"(?:[^\W_]|[{_SIGNS}])+")
_UNSPACED_LETTER = re.compile(rf"(?![\W_])[{_UNSPACED}]")
WORD = re.compile(rf"(?![\W_])[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_SIGNS}])+")
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
    folded = fold(text)
    return (WORD if _rarer(folded) else _RUN).findall(folded)


def spaced_words(text: str) -> list[str]:
    """Return `words`, but of a script without blanks the runs between punctuation marks; do not change the list."""
    if not unspaced(text):
        return words(text)
    return _RUN_WITH_SIGNS.findall(fold(text))


def unspaced(text: str) -> bool:
    """Tell whether a text has letters of a script that is written without blanks."""
    return _rarer(text) and _UNSPACED_LETTER.search(text) is not None


def _rarer(text: str) -> bool:
    return not text.isascii() and _RARER.search(text) is not None


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
