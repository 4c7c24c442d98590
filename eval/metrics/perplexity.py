"""Perplexity of a token: exp of the mean negative log-likelihood. Comparable only between models of one tokenizer.

Sums come in, so long documents weigh what they are worth: never a mean of means of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"nll": "float64", "tokens": "int64"}
LABEL = "perplexity"
HIGHER_IS_BETTER = False
PROPORTION = False


def statistics(nll: Sequence[float], tokens: Sequence[int]) -> list[tuple[float, ...]]:
    """Return (nats, tokens) for each document."""
    return [(float(a), float(b)) for a, b in zip(nll, tokens, strict=True)]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the perplexity, from sums (..., 2)."""
    import numpy as np

    value: np.ndarray = np.exp(sums[..., 0] / sums[..., 1])
    return value
