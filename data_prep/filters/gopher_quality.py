"""Drop documents that do not look like running text: Gopher's quality rules.

Rae et al. 2021, "Scaling Language Models: Methods, Analysis & Insights from Training Gopher", appendix A.1.1; names and
thresholds as published. The rule on the number of words is a filter of its own (`length`), as short domain texts need
another bound. The stop-word rule (at least two of eight English words) is skipped below 50 words, the published minimum
length: two of eight in a three-line text is another demand than two of eight in a page.
"""

from __future__ import annotations

import re

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 60

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
_LETTER = re.compile(r"[^\W\d_]")
_BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*")
_PUBLISHED_MINIMUM = 50


class Settings(Section):
    """Thresholds as published."""

    min_mean_word_length: float = Field(default=3, ge=0)
    max_mean_word_length: float = Field(default=10, gt=0)
    max_symbol_to_word_ratio: float = Field(default=0.1, ge=0, description="Of hash signs and of ellipses, each.")
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    min_alphabetic_words: float = Field(default=0.8, ge=0, le=1, description="Share of words with at least one letter.")
    min_stop_words: int = Field(default=2, ge=0, le=len(STOP_WORDS))


def build(settings: Settings) -> Check:
    """Return a check that names the first rule broken."""

    def check(document: Document) -> Drop | None:
        words = document.text.split()
        if not words:
            return Drop("empty", "no words")
        return _words(settings, document.text, words) or _lines(settings, document.text.splitlines())

    return check


def _words(settings: Settings, text: str, words: list[str]) -> Drop | None:
    count = len(words)
    length = sum(map(len, words)) / count
    if not settings.min_mean_word_length <= length <= settings.max_mean_word_length:
        return Drop("mean_word_length", f"{length:.1f} characters")
    for name, number in (("hashes", text.count("#")), ("ellipses", text.count("...") + text.count("…"))):
        if number > settings.max_symbol_to_word_ratio * count:
            return Drop("symbol_to_word_ratio", f"{number} {name} to {count} words")
    alphabetic = sum(1 for word in words if word.isalpha() or _LETTER.search(word))
    if alphabetic < settings.min_alphabetic_words * count:
        return Drop("alphabetic_words", f"{alphabetic} of {count} words have a letter")
    found = len(STOP_WORDS.intersection(map(str.lower, words)))
    if count >= _PUBLISHED_MINIMUM and found < settings.min_stop_words:
        return Drop("stop_words", f"{found} of the eight stop words")
    return None


def _lines(settings: Settings, lines: list[str]) -> Drop | None:
    bullets = sum(line.lstrip().startswith(_BULLETS) for line in lines)
    if bullets > settings.max_bullet_lines * len(lines):
        return Drop("bullet_lines", f"{bullets} of {len(lines)} lines")
    ellipses = sum(line.rstrip().endswith(("...", "…")) for line in lines)
    if ellipses > settings.max_ellipsis_lines * len(lines):
        return Drop("ellipsis_lines", f"{ellipses} of {len(lines)} lines")
    return None
