"""ROUGE-L (Lin 2004, https://aclanthology.org/W04-1013): F1 of the longest common subsequence of words.

Words are folded to lower case and nothing is stemmed (data_prep/synthesis/rouge.py), precision and recall weigh the
same; with several references the best one counts. The average over items is the score. A text without words scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from data_prep.synthesis import rouge

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "ROUGE-L"
HIGHER_IS_BETTER = True
PROPORTION = False


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (best F1, 1) for each item."""
    rows: list[tuple[float, ...]] = []
    for said, several in zip(predictions, references, strict=True):
        words = rouge.words(said)
        rows.append((max(rouge.f1(words, rouge.words(one)) for one in several), 1.0))
    return rows


def score(sums: np.ndarray) -> np.ndarray:
    """Return the mean, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
