"""Drop documents that repeat themselves: Gopher's repetition rules.

Rae et al. 2021, appendix A.1.1, table A1: names and thresholds as published. A repeated line, paragraph or run of words
is one that was there before, so its first occurrence counts for nothing; the most frequent run counts in full, if it
occurs twice at all. Most documents are settled by sorting their runs of two and of five words: no run of three words
is more frequent than the most frequent run of two, and if no run of five occurs twice, no longer one does.

The paper does not say what a word is. `words: folded` takes runs of letters and digits, folded, and shares of the
characters of these words joined by blanks. `words: tokens` takes words as they stand and punctuation marks, and shares
of all characters, where blanks inside repeated runs do not count: datatrove's reading, which lets about a fifth more
repetition pass. Of scripts without blanks, whose words nobody marks, `folded` takes what stands between punctuation
marks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from data_prep import shingles, splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = 65

TOP_NGRAM = {2: 0.20, 3: 0.18, 4: 0.16}
DUPLICATE_NGRAMS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


class Settings(Section):
    """Thresholds as published; the n-gram thresholds scale with `ngram_factor`."""

    words: Literal["folded", "tokens"] = Field(
        default="folded", description="tokens: punctuation marks are words too, as in datatrove."
    )
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
            or _ngrams(text, settings)
        )

    return check


def _parts(parts: Sequence[str], name: str, max_parts: float, max_characters: float) -> Drop | None:
    """Judge the share of lines or paragraphs that occurred before, by number and by characters."""
    present = [stripped for part in parts if (stripped := part.strip())]
    different = set(present)
    repeated = len(present) - len(different)
    if not repeated:
        return None
    if repeated > max_parts * len(present):
        return Drop(f"duplicate_{name}_fraction", f"{repeated} of {len(present)} {name}s")
    total = sum(map(len, present))
    characters = total - sum(map(len, different))
    if characters > max_characters * total:
        return Drop(f"duplicate_{name}_character_fraction", f"{characters} of {total} characters")
    return None


def _ngrams(text: str, settings: Settings) -> Drop | None:
    factor = settings.ngram_factor
    if settings.words == "tokens":
        words, blank = splits.tokens(text), 0
        total, hashes = len(text), shingles.hashes(words)
    else:
        # The thresholds are for words: five letters of Chinese recur in any text.
        words, blank = shingles.spaced_words(text), 1
        hashes = shingles.text_hashes(text) if words is shingles.words(text) else shingles.hashes(words)
        total = sum(map(len, words)) + len(words) - 1
    if len(words) < 2:
        return None
    longest = max(map(len, words)) + 1
    return _top_ngrams(words, hashes, longest, total, factor) or _duplicate_ngrams(
        words, hashes, longest, total, factor, blank
    )


def _top_ngrams(words: list[str], hashes: shingles.Hashes, longest: int, total: int, factor: float) -> Drop | None:
    """Judge the most frequent runs; `longest` is the length of the longest word with a blank."""
    most = len(words)
    for length, share in TOP_NGRAM.items():
        allowed = min(1.0, share * factor) * total
        if most * longest * length <= allowed:
            continue  # even if as frequent as a shorter run, and made of the longest word alone
        most, top = _most_frequent(hashes, length)
        if most < 2:
            return None
        if most * longest * length > allowed:
            start = top()
            covered = most * len(" ".join(words[start : start + length]))
            if covered > allowed:
                return Drop(f"top_{length}_gram", f"{covered} of {total} characters")
    return None


def _most_frequent(hashes: shingles.Hashes, length: int) -> tuple[int, Callable[[], int]]:
    """Return how often the most frequent run of `length` words occurs, and what finds its first place in the text."""
    import numpy as np

    if len(hashes) <= length:
        return 1, int
    runs = shingles.runs(hashes, length)
    ordered = np.sort(runs)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    counts = np.diff(ends, prepend=-1)
    most = int(counts.max())
    # Of several that are as frequent, the one that comes first.
    return most, lambda: int(np.isin(runs, ordered[ends[counts == most]]).argmax())


def _duplicate_ngrams(
    words: list[str], hashes: shingles.Hashes, longest: int, total: int, factor: float, blank: int
) -> Drop | None:
    """Judge what lies in runs that were there before."""
    least = min(1.0, min(DUPLICATE_NGRAMS.values()) * factor) * total
    ends = None
    shortest = min(DUPLICATE_NGRAMS)
    starts, runs = _recurring(hashes, shortest)
    for length, share in DUPLICATE_NGRAMS.items():
        if length > shortest:
            starts, runs = _longer(starts, runs, hashes, length)
        if len(starts) * longest * max(DUPLICATE_NGRAMS) <= least:
            return None  # longer runs recur no more often than these, so they cover too little as well
        ends = _ends(words, blank) if ends is None else ends
        covered = _covered(starts, runs, ends, length, blank)
        if covered > min(1.0, share * factor) * total:
            return Drop(f"duplicate_{length}_grams", f"{covered} of {total} characters")
    return None


def _recurring(hashes: shingles.Hashes, length: int) -> tuple[NDArray[np.int64], shingles.Hashes]:
    """Return where each run of `length` words begins that occurs at least twice, and the run's hash."""
    import numpy as np

    runs = shingles.runs(hashes, length)
    ordered = np.sort(runs)
    if len(hashes) <= length or not (ordered[1:] == ordered[:-1]).any():
        return np.empty(0, dtype=np.int64), runs[:0]
    return _twice(np.arange(len(runs)), runs)


def _longer(
    starts: NDArray[np.int64], runs: shingles.Hashes, hashes: shingles.Hashes, length: int
) -> tuple[NDArray[np.int64], shingles.Hashes]:
    """Return the same for runs of one word more: they can only begin where the shorter ones recur."""
    import numpy as np

    inside = starts + length <= len(hashes)
    starts, runs = starts[inside], runs[inside]
    return _twice(starts, shingles.scramble(runs + hashes[starts + length - 1] * np.uint64(2 * length + 1)))


def _twice(starts: NDArray[np.int64], runs: shingles.Hashes) -> tuple[NDArray[np.int64], shingles.Hashes]:
    import numpy as np

    _, inverse, counts = np.unique(runs, return_inverse=True, return_counts=True)
    again = counts[inverse] > 1
    return starts[again], runs[again]


def _ends(words: list[str], blank: int) -> NDArray[np.int64]:
    """Return where each word ends in the words joined by `blank` blanks, with the start of the first in front."""
    import numpy as np

    ends = np.empty(len(words) + 1, dtype=np.int64)
    ends[0] = -blank
    ends[1:] = np.fromiter(map(len, words), dtype=np.int64, count=len(words)) + blank
    return np.cumsum(ends)


def _covered(starts: NDArray[np.int64], runs: shingles.Hashes, ends: NDArray[np.int64], length: int, blank: int) -> int:
    """Return how many characters lie in runs seen before, reading on behind each that is counted."""
    characters = ends[starts + length] - ends[starts] - blank
    seen: set[int] = set()
    covered = free = 0
    for start, run, size in zip(starts.tolist(), runs.tolist(), characters.tolist(), strict=True):
        if start < free:
            continue
        if run in seen:
            free = start + length
            covered += size
        else:
            seen.add(run)
    return covered
