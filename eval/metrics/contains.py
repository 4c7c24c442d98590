"""The share of answers that contain a reference, word for word after SQuAD's normalisation (see token_f1).

The measure for short references and answers in whole sentences ("June" in "The blue poppy blooms in June."). It can
be won by saying everything at once, so read it beside token F1, which cannot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eval.metrics.token_f1 import words

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "contains"
HIGHER_IS_BETTER = True
PROPORTION = True


def contains(prediction: str, reference: str) -> bool:
    """Say whether the reference's words stand in the answer, side by side; an empty reference only in an empty one."""
    said, wanted = words(prediction), words(reference)
    if not wanted:
        return not said
    return f" {' '.join(wanted)} " in f" {' '.join(said)} "


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (found, 1) for each item."""
    pairs = zip(predictions, references, strict=True)
    return [(float(any(contains(said, one) for one in several)), 1.0) for said, several in pairs]


def score(sums: np.ndarray) -> np.ndarray:
    """Return the share in which a reference was found, from sums (..., 2)."""
    value: np.ndarray = sums[..., 0] / sums[..., 1]
    return value
