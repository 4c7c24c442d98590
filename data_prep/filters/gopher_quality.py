"""Drop documents that do not look like running text: Gopher's quality rules.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", appendix A.1.1; names and
thresholds as published. The rule on the number of words is a filter of its own (`length`), as short domain texts need
another bound. The stop-word rule (at least two of eight English words) is skipped below 50 words, the published minimum
length: two of eight in a three-line text is another demand than two of eight in a page.

The paper does not say what a word is. `words: whitespace` takes what white space separates. `words: tokens` takes runs
of letters and digits and each punctuation mark, about as datatrove does: the share of words with a letter then falls by
the share of punctuation (about 12 % in English prose), so texts with many numbers or lists are dropped that the
published rule keeps.
"""

from __future__ import annotations

import re
import string
from typing import Literal, NamedTuple

from pydantic import Field

from data_prep import splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 60

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*")
_PUBLISHED_MINIMUM = 50
_BLANKS = string.whitespace.encode()
_LETTERS = string.ascii_letters.encode()
_DIGITS = string.digits.encode()
_ALL = bytes(range(128))
_NO_LETTERS = _ALL.translate(None, _LETTERS + _BLANKS)
_MARKS = _ALL.translate(None, _LETTERS + _DIGITS + _BLANKS)
# What stays one token: an address, a number with its separators, a dotted name; dots, dashes and lines drawn with them.
_TOGETHER = re.compile(rb"(?<=http|ttps)://\S+|(?<=\d)[.,:/](?=\d)|(?<=\w)[._@'\x7f](?=\w)|([-=.|~+])(?=\1)")
_MARKS_TO_BLANKS = bytes.maketrans(_MARKS, b" " * len(_MARKS))


class Settings(Section):
    """Thresholds as published."""

    words: Literal["whitespace", "tokens"] = Field(
        default="whitespace", description="tokens: punctuation marks are words too, as in datatrove."
    )
    min_mean_word_length: float = Field(default=3, ge=0)
    max_mean_word_length: float = Field(default=10, gt=0)
    max_symbol_to_word_ratio: float = Field(default=0.1, ge=0, description="Of hash signs and of ellipses, each.")
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    min_alphabetic_words: float = Field(default=0.8, ge=0, le=1, description="Share of words with at least one letter.")
    min_stop_words: int = Field(default=2, ge=0, le=len(STOP_WORDS))


class Counts(NamedTuple):
    """What the rules ask of the words: all, with a letter, and number and characters of those with a mean length."""

    words: int
    alphabetic: int
    measured: int
    characters: int


def build(settings: Settings) -> Check:
    """Return a check that names the first rule broken."""
    count = by_tokens if settings.words == "tokens" else by_white_space

    def check(document: Document) -> Drop | None:
        counts = count(splits.kinds(document.text))
        if not counts.measured:
            return Drop("empty", "no words")
        return (
            _words(settings, document.text, counts)
            or _stop_words(settings, splits.words(document.text))
            or _lines(settings, document.text.splitlines())
        )

    return check


def by_white_space(kinds: bytes) -> Counts:
    """Count what white space separates."""
    words = len(kinds.split())
    return Counts(words, len(kinds.translate(None, _NO_LETTERS).split()), words, len(kinds.translate(None, _BLANKS)))


def by_tokens(kinds: bytes) -> Counts:
    """Count runs of letters and digits, and each punctuation mark; the mean length is that of the runs."""
    kinds = _TOGETHER.sub(b"", kinds)
    apart = kinds.translate(_MARKS_TO_BLANKS)
    runs = len(apart.split())
    marks = len(kinds) - len(kinds.translate(None, _MARKS))
    return Counts(runs + marks, len(apart.translate(None, _DIGITS).split()), runs, len(apart.translate(None, _BLANKS)))


def _words(settings: Settings, text: str, counts: Counts) -> Drop | None:
    length = counts.characters / counts.measured
    if not settings.min_mean_word_length <= length <= settings.max_mean_word_length:
        return Drop("mean_word_length", f"{length:.1f} characters")
    for name, number in (("hashes", text.count("#")), ("ellipses", text.count("...") + text.count("…"))):
        if number > settings.max_symbol_to_word_ratio * counts.words:
            return Drop("symbol_to_word_ratio", f"{number} {name} to {counts.words} words")
    if counts.alphabetic < settings.min_alphabetic_words * counts.words:
        return Drop("alphabetic_words", f"{counts.alphabetic} of {counts.words} words have a letter")
    return None


def _stop_words(settings: Settings, words: list[str]) -> Drop | None:
    if len(words) < _PUBLISHED_MINIMUM:
        return None
    found: set[str] = set()
    for word in words:
        if len(found) >= settings.min_stop_words:
            return None
        if len(word) < 5 and word.lower() in STOP_WORDS:
            found.add(word.lower())
    if len(found) >= settings.min_stop_words:
        return None
    return Drop("stop_words", f"{len(found)} of the eight stop words")


def _lines(settings: Settings, lines: list[str]) -> Drop | None:
    bullets = sum(line.lstrip().startswith(_BULLETS) for line in lines)
    if bullets > settings.max_bullet_lines * len(lines):
        return Drop("bullet_lines", f"{bullets} of {len(lines)} lines")
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    if ellipses > settings.max_ellipsis_lines * len(lines):
        return Drop("ellipsis_lines", f"{ellipses} of {len(lines)} lines")
    return None
