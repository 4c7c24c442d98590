"""Perplexity of a word (white space apart): exp of the summed negative log-likelihood over the number of words.

Sums come in, so long documents weigh what they are worth: never a mean of means of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"nll": "float64", "words": "int64"}
LABEL = "word perplexity"
HIGHER_IS_BETTER = False
PROPORTION = False


def statistics(nll: Sequence[float], words: Sequence[int]) -> list[tuple[float, ...]]:
    """Return (nats, words) for each document."""
    return [(float(a), float(b)) for a, b in zip(nll, words, strict=True)]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the perplexity, from sums (..., 2)."""
    import numpy as np

    value: np.ndarray = np.exp(sums[..., 0] / sums[..., 1])
    return value
