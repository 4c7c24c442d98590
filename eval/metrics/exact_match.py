"""Exact match: the share of answers that equal a reference after SQuAD's normalisation (see token_f1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eval.metrics.token_f1 import words

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "exact match"
HIGHER_IS_BETTER = True
PROPORTION = True


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (equal, 1) for each item."""
    pairs = zip(predictions, references, strict=True)
    return [(float(any(words(said) == words(one) for one in several)), 1.0) for said, several in pairs]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the share that matches, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
