"""The plain mean of a number that each item has, such as a judge's score or a reward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"values": "float64"}
LABEL = "mean"
HIGHER_IS_BETTER = True
PROPORTION = False


def statistics(values: Sequence[float]) -> list[tuple[float, ...]]:
    """Return (value, 1) for each item."""
    return [(float(value), 1.0) for value in values]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the mean, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
