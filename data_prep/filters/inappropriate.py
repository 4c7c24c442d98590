"""Drop documents with inappropriate content: by a list of words, by a classifier, or by both.

With `max_words: 0` (the default) a document goes for a single word of the list, which is C4's rule (Raffel et al. 2020,
section 2.2). The list that is used by default is short and our own: English, without words that have an ordinary or
medical sense. C4's rule is known to take out innocent text about minorities along with the rest (Dodge et al. 2021,
https://arxiv.org/abs/2104.08758), so look at what the report shows, allow more words, or bring a list (`word_lists`).

`classifier: module:function` names a function of a text that returns a score; the document goes above `max_score`. The
module may lie in the working folder, and may be slow or heavy to load, as it is imported only when the stage runs.

Left out: a classifier of our own; words hidden by stars or digits; languages that are written without blanks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from data_prep import hooks, shingles
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.errors import UserError
from recipes.sections import InputPath, Section

ORDER = 72

SHIPPED = Path(__file__).with_name("inappropriate_words.txt")
Phrases = dict[str, list[tuple[str, ...]]]


class Settings(Section):
    """Words, a classifier, or both."""

    words: bool = Field(default=True, description="Look for words; the shipped list where word_lists is empty.")
    word_lists: list[InputPath] = Field(
        default_factory=list, description="Files with a word or phrase a line; # begins a comment."
    )
    max_words: int = Field(default=0, ge=0, description="How many of them are borne in a document.")
    classifier: hooks.Function | None = Field(default=None, description="module:function of a text; returns a score.")
    max_score: float = Field(default=0.5, description="Documents with a higher score go.")

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if not self.words and self.classifier is None:
            raise ValueError("looks at nothing: write words: true or a classifier")
        if not self.words and self.word_lists:
            raise ValueError("word_lists are given, and words is false")
        return self


def build(settings: Settings) -> Check:
    """Return a check of words first, as they cost less."""
    paths = [Path(path) for path in settings.word_lists] or [SHIPPED]
    phrases = read(paths) if settings.words else {}
    name, key = settings.classifier or "", "filters.inappropriate.classifier"
    classify = hooks.load(name, key) if name else None

    def check(document: Document) -> Drop | None:
        found = occurrences(document.text, phrases) if phrases else []
        if len(found) > settings.max_words:
            return Drop("inappropriate_words", f"{len(found)} of the list's, such as {found[0]!r}")
        if classify is None:
            return None
        score = hooks.number(classify, name, key, document.text)
        return Drop("inappropriate_score", f"{score:.3g}") if score > settings.max_score else None

    return check


def read(paths: list[Path]) -> Phrases:
    """Return the phrases of word lists by their first word, each as a tuple of folded words.

    Raises:
        UserError: a list cannot be read, or there is no word in it.
    """
    found: set[tuple[str, ...]] = set()
    for path in paths:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(str(path), f"the word list cannot be read ({error})", "a text file in UTF-8") from error
        listed = {tuple(shingles.words(line.partition("#")[0])) for line in lines} - {()}
        if not listed:
            raise UserError(str(path), "there is no word in this list", "write a word or phrase on each line")
        found |= listed
    by_first: Phrases = {}
    for phrase in sorted(found, key=lambda item: (-len(item), item)):
        by_first.setdefault(phrase[0], []).append(phrase)
    return by_first


def occurrences(text: str, phrases: Phrases) -> list[str]:
    """Return the phrases that a text holds, once for each place, in order."""
    words = shingles.words(text)
    if phrases.keys().isdisjoint(words):
        return []
    found = []
    for place, word in enumerate(words):
        for phrase in phrases.get(word, ()):
            if tuple(words[place : place + len(phrase)]) == phrase:
                found.append(" ".join(phrase))
                break
    return found
