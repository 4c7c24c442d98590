"""Accuracy: the share of items whose predicted label is the right one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "int64", "references": "int64"}
LABEL = "accuracy"
HIGHER_IS_BETTER = True
PROPORTION = True


def statistics(predictions: Sequence[Any], references: Sequence[Any]) -> list[tuple[float, ...]]:
    """Return (right, 1) for each item."""
    return [(float(a == b), 1.0) for a, b in zip(predictions, references, strict=True)]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the share that is right, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
