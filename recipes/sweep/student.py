"""Student's t (1908): the interval of a mean over few seeds, and whether paired differences are more than chance.

The distribution function is the regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun
26.5.8 and 26.7.1, evaluated by Lentz's method). Seeds are the unit: what differs is the training, on the same data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.95


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Return the interval of the mean; None with fewer than two values."""
    if len(values) < 2:
        return None
    mean, error = _mean_and_error(values)
    half = quantile(0.5 + level / 2, len(values) - 1) * error
    return mean - half, mean + half


def p_value(differences: Sequence[float]) -> float | None:
    """Return the two-sided p of the paired t-test, given each pair's difference; None with fewer than two."""
    if len(differences) < 2:
        return None
    mean, error = _mean_and_error(differences)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return tails(mean / error, len(differences) - 1)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return mean, math.sqrt(variance / len(values))


def tails(t: float, freedom: int) -> float:
    """Return the probability of a value at least as far from 0 as t."""
    return _beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def quantile(probability: float, freedom: int) -> float:
    """Return the value below which Student's t lies with a probability of at least one half."""
    low, high = 0.0, 1.0
    while tails(high, freedom) / 2 > 1 - probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if tails(middle, freedom) / 2 > 1 - probability else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly
        return 1 - _beta(1 - x, b, a)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(logarithm) / a * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 500):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + term * d, tiny)
            c = _away(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away(value: float, tiny: float) -> float:
    """Keep a denominator away from zero."""
    return tiny if abs(value) < tiny else value
