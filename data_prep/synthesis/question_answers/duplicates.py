"""Questions that were asked before: the same words, the same content words, or the same pair in other words.

- *duplicate question*: equal but for case, punctuation and white space.
- *near-duplicate question*: the same content words in any order ("what is the treatment for acne?" and "acne: what
  is the treatment?"); or, within one document, the question (all its words, and its content words) and the answer at
  least `threshold` alike by ROUGE-L.

ROUGE-L on the question alone, self-instruct's rule, would be wrong here: "what causes measles?" and "what causes
mumps?" are 0.67 alike and have nothing to do with each other. What is remembered of a question is two hashes; only the
document at hand is compared word by word.
"""

from __future__ import annotations

from hashlib import blake2b

from data_prep.synthesis import rouge
from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Pair


class Asked:
    """The questions of a run so far."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold
        self._exact: set[bytes] = set()
        self._content: set[bytes] = set()
        self._document = ""
        self._pairs: list[tuple[list[str], ...]] = []

    def again(self, pair: Pair, document: str) -> str | None:
        """Return why a question is a repetition; remember it if it is none."""
        content = words.content(pair.question)
        parts = (rouge.words(pair.question), content, rouge.words(pair.answer))
        exact, kernel = _hash(parts[0]), _hash(sorted(set(content)))
        if document != self._document:
            self._document, self._pairs = document, []
        if exact in self._exact:
            return "duplicate question"
        if kernel in self._content or any(self._alike(parts, other) for other in self._pairs):
            return "near-duplicate question"
        self._exact.add(exact)
        self._content.add(kernel)
        self._pairs.append(parts)
        return None

    def _alike(self, one: tuple[list[str], ...], other: tuple[list[str], ...]) -> bool:
        return all(rouge.f1(left, right) >= self.threshold for left, right in zip(one, other, strict=True))


def _hash(parts: list[str]) -> bytes:
    return blake2b(" ".join(parts).encode("utf-8", "replace"), digest_size=8).digest()
