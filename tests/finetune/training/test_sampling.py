"""Micro-batches of several processes: together those of one, each row once an epoch, whatever is left over."""

from __future__ import annotations

import itertools

import pytest

from finetune.training.sampling import FILLER, Batches

CASES = list(itertools.product([1, 5, 11, 12, 13, 24], [1, 2, 3], [1, 2, 3]))


@pytest.mark.parametrize("rows, size, world", CASES)
@pytest.mark.parametrize("by_length", [False, True])
def test_processes_share_the_batches_of_one(rows: int, size: int, world: int, by_length: bool) -> None:
    lengths = [3 + (row * 7) % 5 for row in range(rows)] if by_length else None
    for epoch in (0, 1):
        shares = [Batches(rows, size, 5, rank=rank, world=world, lengths=lengths) for rank in range(world)]
        one = Batches(rows, size * world, 5, lengths=lengths)
        for batches in (*shares, one):
            batches.set_epoch(epoch)
        steps = list(zip(*shares, strict=True))
        assert [len(share) for share in shares] == [len(steps)] * world
        real = [[index for own in step for index in own if index != FILLER] for step in steps]
        assert real == list(one)
        assert sorted(itertools.chain(*real)) == list(range(rows))
        assert all(len(own) <= size for step in steps for own in step)
        assert all(own == [FILLER] or FILLER not in own for step in steps for own in step)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    first, again, other = Batches(50, 4, 1), Batches(50, 4, 1), Batches(50, 4, 2)
    assert list(first) == list(again) != list(other)
    first.set_epoch(1)
    assert list(first) != list(again)
    again.set_epoch(1)
    assert list(first) == list(again)


def test_rows_of_like_length_share_a_batch() -> None:
    lengths = [1 + (row * 37) % 97 for row in range(200)]
    spread = [
        max(own) - min(own) for own in ([lengths[i] for i in b] for b in Batches(200, 4, 0, group=10, lengths=lengths))
    ]
    mixed = [max(own) - min(own) for own in ([lengths[i] for i in b] for b in Batches(200, 4, 0))]
    assert sum(spread) < 0.25 * sum(mixed)
