"""In which order rows are read where those of like length share a batch: decided by seed and epoch alone.

transformers' own sampler draws from the global random state, which a run that goes on in a later epoch does not have:
it would read that epoch in another order than the run that was never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from transformers.trainer_pt_utils import get_length_grouped_indices


class ByLength(torch.utils.data.Sampler[int]):
    """The indices of rows, shuffled so that each batch has rows of like length; the longest row comes first."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is read; accelerate does."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
