"""Corpus BLEU (Papineni et al. 2002, https://aclanthology.org/P02-1040) on sacrebleu's n-gram counts.

sacrebleu tokenises (13a) and counts; the formula over summed counts stands here too, vectorised, because a bootstrap
needs it a thousand times over. Smoothing is sacrebleu's default, `exp`. Scale 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = {"predictions": "string", "references": ["string"]}
LABEL = "BLEU"
HIGHER_IS_BETTER = True
PROPORTION = False
ORDERS = 4


def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
    """Return (words, reference words, 4 matching n-gram counts, 4 n-gram counts) for each item."""
    from sacrebleu.metrics.bleu import BLEU

    # effective_order has no part in the counts; without it sacrebleu warns about each sentence.
    counter = BLEU(effective_order=True)
    rows = []
    for prediction, several in zip(predictions, references, strict=True):
        one = counter.sentence_score(prediction, list(several))
        rows.append((float(one.sys_len), float(one.ref_len), *map(float, one.counts), *map(float, one.totals)))
    return rows


def score(sums: np.ndarray) -> np.ndarray:
    """Return BLEU from sums (..., 10)."""
    import numpy as np

    length, wanted = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    with np.errstate(divide="ignore", invalid="ignore"):
        # The n-th order without any match counts as half the match of the order without one before it.
        missing = np.cumsum(correct == 0, axis=-1)
        precision = np.where(correct > 0, correct, 0.5**missing) / total
        brevity = np.where(length < wanted, np.exp(1 - wanted / length), 1.0)
        value = 100 * brevity * np.exp(np.log(precision).mean(axis=-1))
    # Without a match of any order, or without a single 4-gram to match, sacrebleu gives 0.
    return np.where((correct.sum(axis=-1) == 0) | (total == 0).any(axis=-1), 0.0, value)


def signature() -> str:
    """Return sacrebleu's signature; the number of references varies from item to item."""
    from sacrebleu.metrics.bleu import BLEU

    scorer = BLEU()
    scorer.num_refs = -1
    return str(scorer.get_signature())
