"""Agreement figures against examples worked by hand in the literature."""

from __future__ import annotations

import pytest

from data_prep.feedback.agreement import alpha_interval, cohen_kappa, krippendorff_alpha, percent_agreement, share_left


def units(*raters: str) -> list[list[str]]:
    """Return the labels of each unit, given a line of labels for each rater; a dot is a missing label."""
    columns = zip(*(line.split() for line in raters), strict=True)
    return [[label for label in labels if label != "."] for labels in columns]


# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections A (two observers, binary) and C (four
# observers, nominal, missing data).
BINARY = units("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0")
NOMINAL = units(
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def test_alpha_equals_the_published_examples() -> None:
    assert krippendorff_alpha(BINARY) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff_alpha(NOMINAL) == pytest.approx(0.743, abs=5e-4)


def test_kappa_equals_the_textbook_example() -> None:
    """Fifty proposals: both yes 20, both no 15, only the first yes 5, only the second yes 10; kappa is 0.4."""
    pairs = [("y", "y")] * 20 + [("n", "n")] * 15 + [("y", "n")] * 5 + [("n", "y")] * 10
    assert cohen_kappa(pairs) == pytest.approx(0.4)


def test_percent_agreement_counts_pairs_of_raters() -> None:
    assert percent_agreement([["a", "a", "b"], ["a", "a"], ["b"]]) == pytest.approx((2 + 2) / (6 + 2))


def test_perfect_and_chance_agreement() -> None:
    assert krippendorff_alpha([["a", "a"], ["b", "b"]]) == 1
    assert cohen_kappa([("a", "a"), ("b", "b")]) == 1
    assert cohen_kappa([("a", "a"), ("a", "b"), ("b", "a"), ("b", "b")]) == 0


def test_what_is_not_defined_is_none() -> None:
    assert krippendorff_alpha([["a"], ["b"]]) is None
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]) is None
    assert cohen_kappa([]) is None and cohen_kappa([("a", "a")]) is None
    assert percent_agreement([["a"]]) is None
    assert alpha_interval([["a"]]) is None
    assert share_left(["tie", "both_bad"]) is None


def test_the_interval_holds_alpha_and_narrows_with_more_units() -> None:
    few, many = alpha_interval(NOMINAL), alpha_interval(NOMINAL * 8)
    assert few and many
    assert few[0] < 0.743 < few[1] and many[0] < 0.743 < many[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert alpha_interval(NOMINAL) == few


def test_share_left_leaves_ties_out() -> None:
    assert share_left(["left", "left", "right", "tie", "both_bad"]) == pytest.approx(2 / 3)
