"""Is a new row new? Against all rows there are, those made so far, and those held back for evaluation.

- A *new task* must be less than `threshold` ROUGE-L alike with every question there is (Wang et al. 2023: 0.7).
- A *rewording* is alike with its own origin, and with whatever its origin is alike with; that is its purpose. It may
  not come nearer to another of the rows read (or to a new task) than its origin was, once both all words and the
  content words are `threshold` alike: then it asks what another row asks. (By all words alone "Tell me what acne is."
  and "Tell me what gout is." would be near copies.) Of other rows' rewordings it may be no exact copy.
- Nor may either come near a question that is held back, here by all words alone: such a row is *contaminated*, and so
  is every text in which `decontaminate` finds an evaluation question.

The words of all questions are held in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from data_prep.decontaminate import Questions
from data_prep.synthesis.question_answers.words import content
from data_prep.synthesis.rouge import Pool, f1, words


class Novelty:
    """The questions there are. An entry's owner is the number of the row that it comes from."""

    def __init__(self, rows: Iterable[str], held_back: Iterable[str], evaluation: Questions, threshold: float) -> None:
        there, apart = list(rows), list(held_back)
        frequencies: Counter[str] = Counter()
        for text in [*there, *apart]:
            frequencies.update(words(text))
        self._evaluation = evaluation
        self._pool = Pool(threshold, frequencies)
        self._apart = Pool(threshold, frequencies)
        self._owners: list[int] = []
        self._reworded = Pool(threshold, frequencies)
        self._exact: set[str] = set()
        self._folded: set[str] = set()
        for owner, text in enumerate(there):
            self.add(text, owner)
        for text in apart:
            self._apart.add(words(text))

    def add(self, text: str, owner: int, *, rewording: bool = False) -> None:
        """Take a row in."""
        listed = words(text)
        if rewording:
            self._reworded.add(listed)
        else:
            self._pool.add(listed)
            self._owners.append(owner)
        self._exact.add(_plain(text))
        self._folded.add(" ".join(listed))

    def rewording(self, text: str, owner: int, *, folded: bool = True) -> str | None:
        """Return why another wording of a row is refused; `folded` counts case and punctuation for nothing."""
        listed, origin = words(text), self._pool.texts[owner]
        if reason := self._same(text, listed, folded=folded):
            return reason
        for likeness, number in self._apart.near(listed):
            if likeness > f1(origin, self._apart.texts[number]) or likeness == 1:
                return "contaminated"
        for likeness, number in self._pool.near(listed):
            other = self._pool.texts[number]
            nearer = self._owners[number] != owner and likeness > f1(origin, other)
            if nearer and f1(_content(listed), _content(other)) >= self._pool.threshold:
                return "near copy of another row"
        return None

    def task(self, text: str) -> str | None:
        """Return why a new task is refused."""
        listed = words(text)
        if reason := self._same(text, listed, folded=True):
            return reason
        if any(True for _ in self._apart.near(listed)):
            return "contaminated"
        near = any(True for pool in (self._pool, self._reworded) for _ in pool.near(listed))
        return "near copy of another row" if near else None

    def _same(self, text: str, listed: list[str], *, folded: bool) -> str | None:
        if not listed:
            return "empty"
        if _plain(text) in self._exact or (folded and " ".join(listed) in self._folded):
            return "duplicate"
        return "contaminated" if self._evaluation.hits(text) else None


def _content(listed: list[str]) -> list[str]:
    return content(" ".join(listed))


def _plain(text: str) -> str:
    return " ".join(text.split())
