"""What the benchmarks of training reckon with: padding, differences of losses, F1, rows of documents."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "training"))

import classifier_on_test
import conversations
import gpu_models
import sft_vs_peers


def test_padding_share_by_hand() -> None:
    """Two batches of two: 1 + 3 tokens in 2 x 3 places, 2 + 2 in 2 x 2."""
    assert sft_vs_peers.padding_share([1, 3, 2, 2], 2) == pytest.approx(1 - 8 / 10)


def test_difference_is_the_largest_relative_one() -> None:
    assert sft_vs_peers.difference([2.0, 1.1], [2.0, 1.0]) == pytest.approx(0.1)


def test_macro_f1_equals_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(0)
    wanted = [f"l{number}" for number in generator.integers(0, 7, 300)]
    said = [one if keep else "l3" for one, keep in zip(wanted, generator.random(300) < 0.6, strict=True)]
    counts = classifier_on_test.counted(said, wanted)
    assert classifier_on_test.macro_f1(counts.sum(0, keepdims=True))[0] == pytest.approx(
        f1_score(wanted, said, average="macro")
    )


def test_conversations_are_the_same_every_time_and_as_long_as_asked() -> None:
    rows = conversations.made(2000, mean_words=32, spread=0.9, longest=500)
    assert rows == conversations.made(2000, mean_words=32, spread=0.9, longest=500)
    lengths = [len(row["messages"][1]["content"].split()) for row in rows]
    assert np.mean(lengths) == pytest.approx(32, rel=0.08) and max(lengths) <= 500


def test_documents_fill_their_rows() -> None:
    rows = gpu_models.documents(20, 256, 512)
    assert all(sum(map(len, row)) == 256 and min(map(len, row)) >= 16 for row in rows)
