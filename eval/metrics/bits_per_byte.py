"""Bits per byte of UTF-8: comparable between models with different tokenizers, unlike perplexity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"nll": "float64", "bytes": "int64"}
LABEL = "bits/byte"
HIGHER_IS_BETTER = False
PROPORTION = False


def statistics(nll: Sequence[float], bytes: Sequence[int]) -> list[tuple[float, ...]]:
    """Return (nats, bytes) for each document."""
    return [(float(a), float(b)) for a, b in zip(nll, bytes, strict=True)]


def score(sums: np.ndarray) -> np.ndarray:
    """Return bits per byte, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / math.log(2) / sums[..., 1]
    return value
