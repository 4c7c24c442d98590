"""Intervals cover what they promise, tests raise no more false alarms than they may, and hand-worked numbers agree."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval import metrics, statistics
from recipes.adjusting import holm

mean = metrics.named("mean").score


def rows(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones_like(values)], axis=1)


def test_wilson_equals_the_published_example() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 0 of 20.
    found = statistics.wilson(81, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)
    none = statistics.wilson(0, 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)


def test_mcnemar_and_holm_by_hand() -> None:
    assert statistics.mcnemar(0, 5) == pytest.approx(2 / 32)
    assert statistics.mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert statistics.mcnemar(0, 0) == 1.0
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])


def test_mcnemar_equals_scipy() -> None:
    from scipy.stats import binomtest

    for won, lost in ((3, 9), (0, 1), (20, 14)):
        assert statistics.mcnemar(won, lost) == pytest.approx(binomtest(won, won + lost).pvalue)


def test_bootstrap_and_wilson_cover_95_percent() -> None:
    draw = np.random.default_rng(5)
    hits = {"mean": 0, "ratio": 0, "wilson": 0}
    for round_ in range(400):
        values = draw.exponential(size=80)
        found = statistics.bootstrap(rows(values), mean, resamples=500, seed=round_)
        hits["mean"] += found.low <= 1 <= found.high
        # Perplexity of documents of very different length: exp(sum of nats / sum of tokens), true value e ** 2.
        tokens = draw.integers(5, 200, size=80).astype(float)
        nats = tokens * (2 + draw.normal(size=80) * 0.3)
        found = statistics.bootstrap(
            np.stack([nats, tokens], axis=1), metrics.named("perplexity").score, resamples=500, seed=round_
        )
        hits["ratio"] += found.low <= math.exp(2) <= found.high
        found = statistics.wilson(draw.binomial(80, 0.3), 80)
        hits["wilson"] += found.low <= 0.3 <= found.high
    # 400 rounds: the standard error of the coverage is 1.1 points; exponentials of 80 items cover about 93 %.
    assert all(0.915 <= count / 400 <= 0.975 for count in hits.values()), hits


def test_bootstrap_width_equals_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(size=400)
    found = statistics.bootstrap(rows(values), mean, resamples=4000)
    assert found.half_width == pytest.approx(1.96 * values.std() / math.sqrt(400), rel=0.05)


def test_equal_checkpoints_raise_few_false_alarms_and_different_ones_are_found() -> None:
    draw = np.random.default_rng(7)
    false = {"mcnemar": 0, "randomisation": 0}
    found = 0
    for round_ in range(300):
        hard = draw.random(100)
        a, b, better = (
            rows((draw.random(100) < level).astype(float)) for level in (hard, hard, np.minimum(1, hard + 0.3))
        )
        false["mcnemar"] += statistics.paired(a, b, mean, proportion=True, resamples=50).p < 0.05
        false["randomisation"] += statistics.randomisation(a, b, mean, flips=300, seed=round_) < 0.05
        found += statistics.paired(a, better, mean, proportion=True, resamples=50).p < 0.05
    assert false["mcnemar"] / 300 <= 0.06 and false["randomisation"] / 300 <= 0.08, false
    assert found / 300 > 0.9


def test_pairing_sees_what_two_separate_intervals_hide() -> None:
    hard = np.random.default_rng(2).normal(size=60)
    a, b = rows(hard), rows(hard + 0.1 + np.random.default_rng(3).normal(size=60) * 0.1)
    difference = statistics.paired(a, b, mean)
    assert 0.05 < difference.low < difference.high < 0.15
    assert difference.p == pytest.approx(1 / (statistics.FLIPS + 1))
    assert difference.smallest_seen < 0.1
    alone = statistics.bootstrap(a, mean)
    assert alone.low < difference.value + hard.mean() < alone.high


def test_randomisation_equals_every_swap_for_few_items() -> None:
    draw = np.random.default_rng(4)
    a, b = draw.normal(size=8), draw.normal(size=8) + 0.6
    swaps = [np.array([1 if number >> bit & 1 else -1 for bit in range(8)]) for number in range(256)]
    exact = np.mean([abs((swap * (b - a)).mean()) >= abs((b - a).mean()) - 1e-12 for swap in swaps])
    assert statistics.randomisation(rows(a), rows(b), mean, flips=20_000) == pytest.approx(exact, abs=0.015)


def test_clusters_widen_the_interval() -> None:
    per_source = np.repeat(np.random.default_rng(1).normal(size=20), 10)
    sources = np.repeat(np.arange(20), 10).tolist()
    alone = statistics.bootstrap(rows(per_source), mean)
    clustered = statistics.bootstrap(rows(per_source), mean, clusters=sources)
    assert clustered.half_width > 2.5 * alone.half_width


def test_seeded_and_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = rows(np.random.default_rng(1).normal(size=50))
    one = statistics.bootstrap(values, mean, seed=3)
    assert one == statistics.bootstrap(values, mean, seed=3) != statistics.bootstrap(values, mean, seed=4)
    monkeypatch.setattr(statistics, "CHUNK", 50 * 64)
    parts = statistics.bootstrap(values, mean, seed=3)
    assert parts.low == pytest.approx(one.low, abs=0.02)
