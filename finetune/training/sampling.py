"""Which rows make which micro-batch in which process: decided by seed and epoch alone.

transformers' and accelerate's samplers draw from random states that a run which goes on does not have in each of its
epochs, and fill up an uneven last batch with rows that then count twice. Here a step over several processes has the
rows of the same step in one process with a larger batch, the last and smaller one too; a process that is left without
rows gets a copy of one that counts nothing, so that it takes part in the exchange.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

FILLER = -1  # stands for a row that is there to be computed and not to be learned


class Batches(torch.utils.data.Sampler[list[int]]):
    """The micro-batches of one process: lists of at most `size` indices of rows, or of FILLER alone.

    With `lengths`, rows of like length share a batch: shuffled within groups of `group` batches.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        group: int = 1,
        lengths: Sequence[int] | None = None,
        shuffle: bool = True,
    ) -> None:
        self.rows, self.size, self.seed, self.rank, self.world = rows, size, seed, rank, world
        self.group, self.lengths = group, None if lengths is None else list(lengths)
        self.shuffle, self.epoch = shuffle, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is read; the loop does."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.rows / (self.size * self.world))

    def order(self) -> list[int]:
        """Return the epoch's order of all rows, the same in every process."""
        if not self.shuffle:
            return list(range(self.rows))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if self.lengths is None:
            found: list[int] = torch.randperm(self.rows, generator=generator).tolist()
            return found
        return list(get_length_grouped_indices(self.lengths, self.size * self.world * self.group, generator=generator))

    def __iter__(self) -> Iterator[list[int]]:
        order, together = self.order(), self.size * self.world
        for start in range(0, self.rows, together):
            first = start + self.rank * self.size
            yield order[first : min(first + self.size, start + together)] or [FILLER]


class Rows(torch.utils.data.Dataset):
    """A list of rows as torch's Dataset, with its filler."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.rows[0], "filler": True} if index == FILLER else self.rows[index]
