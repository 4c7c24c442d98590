"""How far people agree on labels: percent agreement, Cohen's kappa, Krippendorff's alpha; and position bias.

A unit is one judged thing: the labels that its raters gave, in any order. All figures are for nominal labels.

- Percent agreement: the share of pairs of raters, over all units, who gave the same label.
- Cohen (1960): two raters; agreement beyond what their own label frequencies would give by chance.
- Krippendorff (2011, "Computing Krippendorff's Alpha-Reliability"): any number of raters, missing labels allowed.

Intervals are bootstrap percentiles over units. Left out: ordinal and interval distances, Fleiss' kappa, Dawid-Skene.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations

Unit = Sequence[str]
RESAMPLES = 1000


def percent_agreement(units: Sequence[Unit]) -> float | None:
    """Return the share of pairs of raters with the same label; None without two raters on any unit."""
    same = pairs = 0
    for unit in units:
        counts = Counter(unit).values()
        pairs += len(unit) * (len(unit) - 1)
        same += sum(count * (count - 1) for count in counts)
    return same / pairs if pairs else None


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Return Cohen's kappa of two raters' labels; None when it is not defined (nothing but one label)."""
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(first == second for first, second in pairs) / n
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    expected = sum(firsts[label] * seconds[label] for label in firsts) / n**2
    return (observed - expected) / (1 - expected) if expected < 1 else None


def krippendorff_alpha(units: Sequence[Unit]) -> float | None:
    """Return Krippendorff's alpha; None when it is not defined (no unit with two raters, or only one label)."""
    return _alpha([_coincidences(unit) for unit in units])


def _coincidences(unit: Unit) -> Counter[tuple[str, str]]:
    """Return a unit's share of the coincidence matrix: each ordered pair of its labels counts 1 / (raters - 1)."""
    found: Counter[tuple[str, str]] = Counter()
    for first, second in permutations(unit, 2):
        found[first, second] += 1 / (len(unit) - 1)  # type: ignore[assignment]
    return found


def _alpha(coincidences: Sequence[Counter[tuple[str, str]]]) -> float | None:
    total: Counter[tuple[str, str]] = Counter()
    for one in coincidences:
        total.update(one)
    margins: Counter[str] = Counter()
    for (first, _), count in total.items():
        margins[first] += count
    n = sum(margins.values())
    expected = n * n - sum(count * count for count in margins.values())
    if not expected:
        return None
    observed = sum(count for (first, second), count in total.items() if first != second)
    return 1 - (n - 1) * observed / expected


def alpha_interval(
    units: Sequence[Unit], *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the bootstrap interval of alpha over units; None when alpha is not defined in most resamples."""
    coincidences = [_coincidences(unit) for unit in units if len(unit) > 1]
    return _percentiles(_alpha, coincidences, level, resamples, seed)


def _percentiles(
    statistic: Callable[[list[Counter[tuple[str, str]]]], float | None],
    items: Sequence[Counter[tuple[str, str]]],
    level: float,
    resamples: int,
    seed: int,
) -> tuple[float, float] | None:
    if not items:
        return None
    rng = random.Random(seed)
    drawn = [statistic(rng.choices(items, k=len(items))) for _ in range(resamples)]
    values = sorted(value for value in drawn if value is not None)
    if 2 * len(values) < resamples:
        return None
    tail = (1 - level) / 2
    return values[int(tail * len(values))], values[min(len(values) - 1, int((1 - tail) * len(values)))]


def share_left(choices: Sequence[str]) -> float | None:
    """Return which share of the decided votes fell on the left side: 0.5 when the side plays no part."""
    decided = [choice for choice in choices if choice in ("left", "right")]
    return decided.count("left") / len(decided) if decided else None
