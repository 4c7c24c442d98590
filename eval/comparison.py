"""From what was counted to what it says: scores with intervals, and verdicts on pairs of checkpoints.

Pairs are compared on the items that both were asked, over the measures that the tables show. P-values are adjusted
for the number of all comparisons (Holm). A difference counts only below ALPHA: otherwise there is no evidence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from eval import metrics
from eval.task import Measure
from recipes.adjusting import holm

if TYPE_CHECKING:
    import numpy as np

ALPHA = 0.05
# What three decimals round away counts as nothing, however sure: two BLEU scores of 0.00001, say.
NEGLIGIBLE = 0.0005
Verdict = Literal["better", "worse", "no evidence"]


@dataclass(frozen=True)
class Score:
    """A checkpoint's score on one measure; `n` items were asked, `sources` of them are independent."""

    checkpoint: str
    task: str
    measure: str
    label: str
    value: float
    low: float
    high: float
    n: int
    sources: int
    method: str
    higher_is_better: bool

    @property
    def half_width(self) -> float:
        """Half the interval's width: what stands behind the plus-minus sign."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Comparison:
    """Is `after` better than `before`? `difference` is after minus before; p is adjusted for all comparisons."""

    task: str
    measure: str
    label: str
    before: str
    after: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    items: int
    method: str
    smallest_seen: float
    verdict: Verdict


def score(
    checkpoint: str, task: str, name: str, measure: Measure, clusters: Sequence[str] | None, seed: int
) -> Score | None:
    """Return a measure's score with its 95 % interval; None when no item was asked."""
    import numpy as np

    from eval import statistics

    metric = metrics.named(measure.metric)
    rows = np.asarray(measure.rows, dtype=float)
    counted = (rows != 0).any(axis=1)
    if not counted.any():
        return None
    rows = rows[counted]
    sources = None if clusters is None else [one for one, there in zip(clusters, counted, strict=True) if there]
    value = total(metric, rows)
    if not math.isfinite(value):
        interval = statistics.Interval(value, value, "not finite")
    elif metric.PROPORTION and sources is None:
        interval = statistics.wilson(float(rows[:, 0].sum()), len(rows))
    else:
        interval = statistics.bootstrap(rows, metric.score, clusters=sources, seed=seed)
    return Score(
        checkpoint,
        task,
        name,
        measure.label,
        value,
        interval.low,
        interval.high,
        len(rows),
        len(rows) if sources is None else len(set(sources)),
        interval.method,
        metric.HIGHER_IS_BETTER,
    )


def total(metric: metrics.Metric, rows: np.ndarray) -> float:
    """Return the score of all rows; a perplexity may be beyond all numbers."""
    import numpy as np

    with np.errstate(over="ignore"):
        return float(metric.score(rows.sum(axis=0)))


@dataclass(frozen=True)
class Pair:
    """One measure of two checkpoints, ready to be compared."""

    task: str
    name: str
    before: str
    after: str
    measures: tuple[Measure, Measure]
    clusters: Sequence[str] | None


def compare(pairs: Sequence[Pair], seed: int) -> list[Comparison]:
    """Return the verdict on every pair, with p-values adjusted for their number."""

    found = [(pair, difference) for pair in pairs if (difference := _difference(pair, seed)) is not None]
    adjusted = holm([difference.p for _, difference in found])
    return [
        Comparison(
            pair.task,
            pair.name,
            pair.measures[1].label,
            pair.before,
            pair.after,
            difference.value,
            difference.low,
            difference.high,
            difference.p,
            p,
            difference.items,
            difference.method,
            difference.smallest_seen,
            verdict(difference.value, p, metrics.named(pair.measures[1].metric).HIGHER_IS_BETTER),
        )
        for (pair, difference), p in zip(found, adjusted, strict=True)
    ]


def verdict(difference: float, p: float, higher_is_better: bool) -> Verdict:
    """Return what a difference with its adjusted p-value says of the second checkpoint."""
    if p >= ALPHA or abs(difference) < NEGLIGIBLE:
        return "no evidence"
    return "better" if (difference > 0) == higher_is_better else "worse"


def _difference(pair: Pair, seed: int) -> Any:
    import numpy as np

    from eval import statistics

    a, b = (np.asarray(measure.rows, dtype=float) for measure in pair.measures)
    both = (a != 0).any(axis=1) & (b != 0).any(axis=1)
    if not both.any():
        return None
    metric = metrics.named(pair.measures[0].metric)
    if not (math.isfinite(total(metric, a[both])) and math.isfinite(total(metric, b[both]))):
        return None
    return statistics.paired(
        a[both],
        b[both],
        metric.score,
        proportion=metric.PROPORTION,
        clusters=_kept(pair.clusters, both),
        seed=seed,
    )


def _kept(clusters: Sequence[str] | None, both: np.ndarray) -> list[str] | None:
    return None if clusters is None else [one for one, there in zip(clusters, both, strict=True) if there]


def pairs_of(names: Sequence[str], baseline: str | None, parents: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Return which checkpoints to compare: each with the one it was trained from, and each with the baseline.

    In every pair the one that stands first in the recipe comes first; a pair occurs once.
    """
    place = {name: index for index, name in enumerate(names)}
    edges = [(parents.get(name), name) for name in names] + [(baseline, name) for name in names]
    found = {tuple(sorted((a, b), key=place.__getitem__)) for a, b in edges if a is not None and a in place and a != b}
    return sorted(((a, b) for a, b in found), key=lambda pair: (place[pair[1]], place[pair[0]]))
