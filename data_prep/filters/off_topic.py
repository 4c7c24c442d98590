"""Drop documents that are about something else than the collection.

Two ways, each with its own key:

- `domain_terms`: a document stays if it holds at least `min_terms` different ones of the words named. Exact, blunt, and
  up to whoever names the words.
- `max_rarity`: a model fitted on the collection itself. The weight of a word is the log of the share of documents that
  have it; the score of a passage of 300 words is the mean weight of its different words of more than three letters, and
  a document's score is that of its best passage. A document is off topic when its words are so `max_rarity` times as
  rare as those of the median document.

Limits: the fitted model needs a collection that is mostly on topic, and it cannot tell a foreign text in everyday words
(a children's story among medical pages) from a simple text on topic; in a wide collection the spread of good documents
overlaps with that of bad ones, so look at what the report shows before trusting a low bound. Words of three letters and
fewer are ignored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from data_prep import shingles
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 70

PASSAGE = 300  # words: long documents hold more rare words only because they are long
MINIMUM = 20  # documents: fewer say nothing about what the collection is about


class Settings(Section):
    """One of the two ways, or both."""

    domain_terms: list[str] = Field(default_factory=list, description="Words; case and punctuation do not matter.")
    min_terms: int = Field(default=1, ge=1)
    max_rarity: float | None = Field(default=None, gt=1, description="Such as 9. Off when absent.")

    @model_validator(mode="after")
    def _some_way(self) -> Self:
        if not self.domain_terms and self.max_rarity is None:
            raise ValueError("says nothing about what is on topic: write domain_terms or max_rarity")
        if self.domain_terms and self.min_terms > len(set(self.domain_terms)):
            raise ValueError(f"min_terms {self.min_terms} is more than the {len(set(self.domain_terms))} domain_terms")
        return self


def fit(settings: Settings, documents: Sequence[Document]) -> Check:
    """Count in how many documents each word is; return a check."""
    terms = {word for term in settings.domain_terms for word in shingles.words(term)}
    rarity = _Rarity(documents) if settings.max_rarity and len(documents) >= MINIMUM else None

    def check(document: Document) -> Drop | None:
        if terms:
            found = len(terms.intersection(shingles.words(document.text)))
            if found < settings.min_terms:
                return Drop("off_topic", f"{found} of the domain terms, at least {settings.min_terms}")
        if rarity and settings.max_rarity:
            times = rarity.times(document.text)
            if times > settings.max_rarity:
                return Drop("off_topic", f"words {times:.1f} times as rare as usual, at most {settings.max_rarity:g}")
        return None

    return check


class _Rarity:
    """How rare a text's words are in a collection, relative to the collection's median document."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._size = len(documents)
        self._documents: Counter[str] = Counter()
        for document in documents:
            self._documents.update(set().union(*_passages(document.text)))
        scores = sorted(self._score(document.text) for document in documents)
        self._median = scores[len(scores) // 2]

    def times(self, text: str) -> float:
        """Return how many times as rare the words of the text's best passage are."""
        return math.exp(self._median - self._score(text))

    def _score(self, text: str) -> float:
        return max((self._mean_weight(passage) for passage in _passages(text)), default=0.0)

    def _mean_weight(self, passage: set[str]) -> float:
        # max(1): a text that is not of the collection may hold words that no document has.
        return sum(math.log(max(1, self._documents[word]) / self._size) for word in passage) / len(passage)


def _passages(text: str) -> list[set[str]]:
    """Return the different longer words of each passage that has any."""
    words = shingles.words(text)
    parts = (words[start : start + PASSAGE] for start in range(0, len(words), PASSAGE))
    found = ({word for word in part if len(word) > 3 and word.isalpha()} for part in parts)
    return [passage for passage in found if passage]
