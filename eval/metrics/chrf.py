"""chrF (Popović 2015, https://aclanthology.org/W15-3049) on sacrebleu's counts of character n-grams.

Less sensitive to where words end than BLEU, and defined for short texts. sacrebleu counts, and picks for each item the
reference with the best score; the formula over summed counts stands here, vectorised. Characters up to 6, beta 2, no
words (chrF, not chrF++). Scale 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "chrF"
HIGHER_IS_BETTER = True
PROPORTION = False
BETA = 2


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (n-grams said, in the reference, in both) of each order for each item."""
    from sacrebleu.metrics.chrf import CHRF

    counter = CHRF(beta=BETA)
    rows = []
    for said, several in zip(predictions, references, strict=True):
        (counts,) = counter._extract_corpus_statistics([said], [[one] for one in several])
        rows.append(tuple(map(float, counts)))
    return rows


def score(sums: np.ndarray) -> np.ndarray:
    """Return chrF from sums (..., 18): F of precision and recall, each its mean over the orders that occur."""
    import numpy as np

    said, wanted, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    occurs = (said > 0) & (wanted > 0)
    orders = np.maximum(occurs.sum(axis=-1), 1)
    precision = np.where(occurs, both / np.where(occurs, said, 1), 0).sum(axis=-1) / orders
    recall = np.where(occurs, both / np.where(occurs, wanted, 1), 0).sum(axis=-1) / orders
    weighted = BETA**2 * precision + recall
    value: np.ndarray = 100 * (1 + BETA**2) * precision * recall / np.where(weighted > 0, weighted, 1)
    return value


def signature() -> str:
    """Return sacrebleu's signature; the number of references varies from item to item."""
    from sacrebleu.metrics.chrf import CHRF

    scorer = CHRF(beta=BETA)
    scorer.num_refs = -1
    return str(scorer.get_signature())
