"""Packing against plain references: a stream cut by hand, and best-fit decreasing item by item."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from data_prep.tokens import packed_rows
from data_prep.tokens.packing import BestFit, Wrapped, best_fit


def _item_by_item(lengths: list[int], capacity: int) -> list[int]:
    """Best-fit decreasing as it is told: each item into the row with the least room that still takes it."""
    room: list[int] = []
    for length in sorted((length for length in lengths if length), reverse=True):
        fitting = [index for index, left in enumerate(room) if left >= length]
        if fitting:
            room[min(fitting, key=lambda index: room[index])] -= length
        else:
            room.append(capacity - length)
    return sorted(room)


def _rooms(lengths: list[int], capacity: int) -> list[int]:
    order, first = best_fit(np.array(lengths), capacity)
    assert sorted(order.tolist()) == [index for index, length in enumerate(lengths) if length]
    return sorted(
        capacity - sum(lengths[item] for item in order[start:stop])
        for start, stop in zip(first[:-1], first[1:], strict=True)
    )


@pytest.mark.parametrize("seed", range(30))
def test_best_fit_leaves_the_same_room_as_item_by_item(seed: int) -> None:
    generator = np.random.default_rng(seed)
    capacity = int(generator.integers(5, 200))
    lengths = generator.integers(0, capacity + 1, size=int(generator.integers(0, 300))).tolist()
    assert _rooms(lengths, capacity) == _item_by_item(lengths, capacity)


def test_best_fit_by_hand() -> None:
    # 7 opens a row, 6 another, the first 3 fills up the 7, the other 3 leaves 1 beside the 6, which the 1 takes.
    order, first = best_fit(np.array([3, 7, 1, 6, 3]), 10)
    rows = [order[start:stop].tolist() for start, stop in zip(first[:-1], first[1:], strict=True)]
    assert rows == [[1, 0], [3, 4, 2]]


def test_an_item_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="an item of length 11 fits no row of 10"):
        best_fit(np.array([3, 11]), 10)


def test_long_data_fill_their_rows_in_a_second() -> None:
    generator = np.random.default_rng(1)
    lengths = np.clip(generator.lognormal(6, 1, size=1_000_000), 8, 2048).astype(np.int64)
    started = time.process_time()
    _, first = best_fit(lengths, 2048)
    assert time.process_time() - started < 5  # about one on the machine it was written on
    assert lengths.sum() / ((len(first) - 1) * 2048) >= 0.995


def _streamed(lengths: list[int], order: list[int], width: int) -> list[list[tuple[int, int]]]:
    """The stream written out token by token, as (document, place in it), and cut."""
    stream = [(document, place) for document in order for place in range(lengths[document])]
    rows = [stream[start : start + width] for start in range(0, len(stream), width)]
    return [row for row in rows if len(row) > 1]


def _written_out(plan: Any) -> list[list[tuple[int, int]]]:
    return [
        [(one.document, place) for one in plan.segments(row) for place in range(one.start, one.stop)]
        for row in range(len(plan))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_wrapped_rows_are_the_stream_cut(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 40, size=int(generator.integers(1, 30))).tolist()
    order = generator.permutation(len(lengths)).tolist()
    plan = Wrapped(np.array(lengths), order, 16)
    expected = _streamed(lengths, order, 16)
    assert _written_out(plan) == expected
    counts = plan.counts()
    assert counts["tokens"] == sum(map(len, expected)) == sum(lengths) - counts["dropped"]
    assert counts["rows"] * 16 == counts["tokens"] + counts["padding"]
    in_rows = [{row for row, tokens in enumerate(expected) for document, _ in tokens if document == one}
               for one in range(len(lengths))]  # fmt: skip
    assert [set(plan.rows_of(one)) for one in range(len(lengths))] == in_rows
    if not counts["dropped"]:
        assert counts["cut"] == sum(len(rows) > 1 for rows in in_rows)


@pytest.mark.parametrize("seed", range(20))
def test_best_fit_cuts_only_what_is_longer_than_a_row(seed: int) -> None:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(0, 60, size=50).tolist()
    plan = BestFit(np.array(lengths), 32)
    rows = _written_out(plan)
    every = Counter(token for row in rows for token in row)
    assert every == Counter((document, place) for document, length in enumerate(lengths) for place in range(length))
    assert max(map(len, rows)) <= 32
    for document, length in enumerate(lengths):
        in_rows = [row for row, tokens in enumerate(rows) if any(one == document for one, _ in tokens)]
        assert plan.rows_of(document) == in_rows
        assert len(in_rows) == -(-length // 32)
    counts = plan.counts()
    assert counts["cut"] == sum(length > 32 for length in lengths)
    assert counts["padding"] == 32 * len(rows) - sum(lengths)


def test_rows_and_their_views() -> None:
    documents = [
        np.arange(5, dtype=np.uint16),
        np.arange(100, 103, dtype=np.uint16),
        np.arange(200, 209, dtype=np.uint16),
    ]
    rows = packed_rows.PackedRows(documents, Wrapped(np.array([5, 3, 9]), [2, 0, 1], 6))
    assert [row["input_ids"].tolist() for row in rows] == [
        [200, 201, 202, 203, 204, 205], [206, 207, 208, 0, 1, 2], [3, 4, 100, 101, 102],
    ]  # fmt: skip
    assert [row["starts"].tolist() for row in rows] == [[0], [0, 3], [0, 2]]
    assert rows[0]["input_ids"].dtype == np.int64
    assert [row["input_ids"][0] for row in rows[::2]] == [200, 3]
    assert rows[-1]["input_ids"].tolist() == rows[2]["input_ids"].tolist()
    both = packed_rows.Joined(rows, packed_rows.Chosen(rows, [2, 2]))
    assert [row["input_ids"][0] for row in both[2:]] == [3, 3, 3]
    with pytest.raises(IndexError):
        rows[3]
