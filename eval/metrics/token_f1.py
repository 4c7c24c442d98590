"""Token F1 of a free answer, as SQuAD counts it (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).

Answer and reference are put in small letters, punctuation and English articles are dropped, and F1 is taken over the
two bags of words; with several references the best one counts. The average over items is the score.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "token F1"
HIGHER_IS_BETTER = True
PROPORTION = False

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """Return the words of a text as SQuAD normalises them."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def f1(prediction: str, reference: str) -> float:
    """Return token F1 of one answer against one reference; two empty texts agree."""
    said, wanted = words(prediction), words(reference)
    if not said or not wanted:
        return float(said == wanted)
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted))


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (best F1, 1) for each item."""
    pairs = zip(predictions, references, strict=True)
    return [(max(f1(prediction, one) for one in several), 1.0) for prediction, several in pairs]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the mean, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
