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
fewer are ignored. Words are counted in 4 million hashed places, so that memory does not grow with the vocabulary; in
a collection of a million different words about one in eight shares its place, nearly always two rare ones.

The first survey counts in how many documents each word is, the second how the documents' scores are spread (in bins of
a thousandth); the median of the second is what a document is held against.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from data_prep import shingles
from data_prep.engine.phases import replacing
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ORDER = 70
ROUNDS = 2

PASSAGE = 300  # words: long documents hold more rare words only because they are long
MINIMUM = 20  # documents: fewer say nothing about what the collection is about
PLACES = 2**22
_BIN = 1e-3
_LOWEST = -40.0  # below the log of one in 10^17
_BINS = round(-_LOWEST / _BIN) + 1


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


class _Words:
    """In how many of a shard's documents each word is."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._documents = 0

    def see(self, document: Document) -> None:
        self._documents += 1
        passages = _passages(document.text)
        self._counts.update({place for passage in passages for place in passage.tolist()})

    def save(self, path: Path) -> None:
        import numpy as np

        rows = np.array([(PLACES, self._documents), *sorted(self._counts.items())], dtype=np.int64)
        with replacing(path) as stream:
            np.save(stream, rows)


class _Scores:
    """How the scores of a shard's documents are spread."""

    def __init__(self, model: Path) -> None:
        import numpy as np

        self._rarity = _Rarity(model)
        self._bins = np.zeros(_BINS, dtype=np.int64)

    def see(self, document: Document) -> None:
        self._bins[_bin(self._rarity.score(document.text))] += 1

    def save(self, path: Path) -> None:
        import numpy as np

        with replacing(path) as stream:
            np.save(stream, self._bins)


def survey(settings: Settings, *models: Path) -> Any:
    """Return what looks at the documents of a shard, the first or the second time."""
    return _Scores(models[0]) if models else _Words()


def reduce(settings: Settings, parts: Sequence[Path], target: Path) -> None:
    """Write the sum of all shards' counts."""
    import numpy as np

    total: NDArray[np.int64] | None = None
    for part in parts:
        rows = np.load(part)
        if rows.ndim == 2:  # words: place and count; the documents' number stands behind the last place
            rows, sparse = np.zeros(PLACES + 1, dtype=np.int64), rows
            rows[sparse[:, 0]] = sparse[:, 1]
        total = rows if total is None else total + rows
    with replacing(target) as stream:
        np.save(stream, total if total is not None else np.zeros(PLACES + 1, dtype=np.int64))


def build(settings: Settings, words: Path, scores: Path) -> Check:
    """Return a check of the topic."""
    terms = {word for term in settings.domain_terms for word in shingles.words(term)}
    rarity = _Rarity(words) if settings.max_rarity else None
    median = _median(scores)

    def check(document: Document) -> Drop | None:
        if terms:
            found = len(terms.intersection(shingles.words(document.text)))
            if found < settings.min_terms:
                return Drop("off_topic", f"{found} of the domain terms, at least {settings.min_terms}")
        if rarity and settings.max_rarity and rarity.documents >= MINIMUM:
            times = math.exp(median - rarity.score(document.text))
            if times > settings.max_rarity:
                return Drop("off_topic", f"words {times:.1f} times as rare as usual, at most {settings.max_rarity:g}")
        return None

    return check


class _Rarity:
    """How rare a text's words are in a collection: the mean weight of the words of its best passage."""

    def __init__(self, model: Path) -> None:
        import numpy as np

        counts = np.load(model, mmap_mode="r")
        self.documents = int(counts[PLACES])
        # max(1): a text that is not of the collection may hold words that no document has.
        self._weights = np.log(np.maximum(counts[:PLACES], 1).astype(np.float32) / max(1, self.documents))

    def score(self, text: str) -> float:
        """Return the score of a text, 0 for one without longer words."""
        return max((float(self._weights[passage].mean(dtype="f8")) for passage in _passages(text)), default=0.0)


def _bin(score: float) -> int:
    return min(_BINS - 1, max(0, round((score - _LOWEST) / _BIN)))


def _median(scores: Path) -> float:
    import numpy as np

    total = np.cumsum(np.load(scores))
    return _LOWEST + _BIN * int(np.searchsorted(total, total[-1] // 2, side="right"))


def _passages(text: str) -> list[NDArray[np.int64]]:
    """Return the places of the different longer words of each passage that has any, sorted."""
    import numpy as np

    words = shingles.words(text)
    if not words:
        return []
    places = (shingles.text_hashes(text) % np.uint64(PLACES)).astype(np.int64)
    wanted = np.fromiter((len(word) > 3 and word.isalpha() for word in words), dtype=bool, count=len(words))
    parts = (slice(start, start + PASSAGE) for start in range(0, len(words), PASSAGE))
    found = (np.unique(places[part][wanted[part]]) for part in parts)
    return [passage for passage in found if len(passage)]
