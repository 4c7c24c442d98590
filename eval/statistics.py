"""How sure a score is, and whether two checkpoints differ: intervals and tests on rows of additive statistics.

Everything works on rows (N, K), one for each item, and a `score` of their sum, as eval/metrics defines them; so means,
ratios (perplexity) and corpus scores (BLEU, macro F1) are all treated alike. Items are the unit that is drawn; where
several items stem from one source, `clusters` names it and whole sources are drawn instead.

- intervals: bootstrap percentiles (Efron 1979), for proportions Wilson (1927);
- two checkpoints on the same items: the difference with a bootstrap interval over shared items, and a p-value from
  McNemar's exact test (right/wrong) or from approximate randomisation (Noreen 1989; swap the two on random items);
- many comparisons: Holm (1979), in recipes/adjusting.py.

Leaves out: BCa intervals. Percentile intervals are too narrow below about 20 items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
RESAMPLES = 2000
FLIPS = 10_000
LEVEL = 0.95
# At most this many numbers (float64) at once in a resampling matrix: 32 MB.
CHUNK = 4_000_000


@dataclass(frozen=True)
class Interval:
    """A confidence interval; `method` names how it was found."""

    low: float
    high: float
    method: str

    @property
    def half_width(self) -> float:
        """Half of its width: what a table writes behind the plus-minus sign."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Difference:
    """Score of b minus score of a on the items that both were asked."""

    value: float
    low: float
    high: float
    p: float
    method: str
    items: int
    smallest_seen: float
    """The smallest true difference that this test would have found four times out of five."""


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Return Wilson's interval for a proportion (equation 4 of Wilson 1927, as in Newcombe 1998, method 3)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(max(0.0, middle - half), min(1.0, middle + half), "wilson")


def bootstrap(
    rows: np.ndarray,
    score: Score,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> Interval:
    """Return the percentile interval of score(sum of rows) over items (or clusters) drawn with replacement."""
    values = _resampled(gather(rows, clusters), score, resamples, seed)
    return Interval(*_percentiles(values, level), "bootstrap")


def paired(
    a: np.ndarray,
    b: np.ndarray,
    score: Score,
    *,
    proportion: bool = False,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
    seed: int = 0,
    level: float = LEVEL,
) -> Difference:
    """Compare two checkpoints on the same items; rows of a and b (N, K) belong together one by one."""
    a, b = gather(a, clusters), gather(b, clusters)
    values = _resampled(b, score, resamples, seed) - _resampled(a, score, resamples, seed)
    low, high = _percentiles(values, level)
    difference = float(score(b.sum(axis=0)) - score(a.sum(axis=0)))
    if proportion and clusters is None:
        won, lost = int(((a[:, 0] == 0) & (b[:, 0] == 1)).sum()), int(((a[:, 0] == 1) & (b[:, 0] == 0)).sum())
        p, method = mcnemar(won, lost), "McNemar exact"
    else:
        p, method = randomisation(a, b, score, flips=flips, seed=seed), f"randomisation, {flips} draws"
    # 1.96 + 0.84 standard errors: found at the 5 % level with a power of 80 %.
    seen = (NormalDist().inv_cdf(0.5 + level / 2) + NormalDist().inv_cdf(0.8)) * float(np.nanstd(values))
    return Difference(difference, low, high, p, method, len(a), seen)


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p-value for `won` and `lost` discordant pairs (binomial with p = 1/2)."""
    n, fewer = won + lost, min(won, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**n))


def randomisation(a: np.ndarray, b: np.ndarray, score: Score, *, flips: int = FLIPS, seed: int = 0) -> float:
    """Return the two-sided p-value of approximate randomisation: the two swap places on a random half of the items."""
    gap = b - a
    total_a, total_b = a.sum(axis=0), b.sum(axis=0)
    # What was seen counts as one of the draws, so p is never 0; rounding must not make equal draws look smaller.
    seen = abs(float(score(total_b) - score(total_a))) * (1 - 1e-9) - 1e-12
    random = np.random.default_rng(seed)
    extreme = 0
    for size in _chunks(flips, len(gap)):
        moved = random.integers(0, 2, size=(size, len(gap)), dtype=np.int8).astype(float) @ gap
        extreme += int((np.abs(score(total_b - moved) - score(total_a + moved)) >= seen).sum())
    return (extreme + 1) / (flips + 1)


def gather(rows: np.ndarray, clusters: Sequence[Hashable] | None) -> np.ndarray:
    """Return rows (N, K) summed up by cluster (C, K), in order of first occurrence; unchanged without clusters."""
    if clusters is None:
        return rows
    place = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(place), rows.shape[1]))
    np.add.at(sums, [place[name] for name in clusters], rows)
    return sums


def _resampled(rows: np.ndarray, score: Score, resamples: int, seed: int) -> np.ndarray:
    """Return the score of each resample (B,); equal N and seed give equal draws, so that pairs stay pairs."""
    parts = [counts @ rows for counts in _draws(len(rows), resamples, seed)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(score(np.concatenate(parts)))


@lru_cache(maxsize=4)
def _some_draws(n: int, resamples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    drawn = random.integers(0, n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(float)


def _draws(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each of n items is drawn in each resample, in parts (b, n) that fit in memory."""
    for part, size in enumerate(_chunks(resamples, n)):
        yield _some_draws(n, size, seed + 7919 * part)


def _chunks(count: int, width: int) -> list[int]:
    size = max(1, min(count, CHUNK // max(1, width)))
    return [min(size, count - start) for start in range(0, count, size)]


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)
