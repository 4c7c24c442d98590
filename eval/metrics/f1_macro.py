"""Macro F1 of a classification: F1 of each label, averaged so that rare labels count as much as frequent ones.

A label that occurs neither among the references nor among the predictions is left out of the mean, as scikit-learn
does when it is not told the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "int64", "references": "int64"}
LABEL = "macro F1"
HIGHER_IS_BETTER = True
PROPORTION = False


def statistics(
    predictions: Sequence[Any], references: Sequence[Any], labels: Sequence[Any] | None = None
) -> list[tuple[float, ...]]:
    """Return, for each item, (true positive, predicted, real) of every label, one label behind the other.

    Rows of two checkpoints can only be compared when both were made with the same `labels`.
    """
    every = sorted({*predictions, *references}) if labels is None else list(labels)
    place = {label: 3 * index for index, label in enumerate(every)}
    rows = []
    for said, wanted in zip(predictions, references, strict=True):
        row = [0.0] * (3 * len(every))
        row[place[said]] += said == wanted
        row[place[said] + 1] += 1
        row[place[wanted] + 2] += 1
        rows.append(tuple(row))
    return rows


def score(sums: np.ndarray) -> np.ndarray:
    """Return the mean F1 over labels, from sums (..., 3 L)."""
    import numpy as np

    hits, predicted, real = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    present = predicted + real > 0
    f1 = np.where(present, 2 * hits / np.where(present, predicted + real, 1), 0.0)
    value: np.ndarray = f1.sum(axis=-1) / present.sum(axis=-1)
    return value
