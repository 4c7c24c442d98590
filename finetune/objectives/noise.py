"""Noise that is new at each visit to a row, and the same again in a run that goes on.

What is drawn for a row depends on the seed, the row and how often it has been seen, and on nothing that was drawn
before. Each visit is a row of its own here: rows times visits stand one behind the other, and training goes through
them once. So no state of a generator has to be kept, and no two visits are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]
HELD_OUT = 1  # what is drawn for validation rows is no draw of training


class Visits(Sequence[Row]):
    """Each row `visits` times, with its own noise each time."""

    def __init__(
        self, rows: Sequence[Row], noise: Callable[[Row, Any], Row], seed: int, *, visits: int = 1, stream: int = 0
    ) -> None:
        self.rows, self.noise, self.key, self.visits = rows, noise, (seed, stream), visits

    def __len__(self) -> int:
        return len(self.rows) * self.visits

    def __getitem__(self, index: Any) -> Any:
        """Return a row with its noise, or a list of several."""
        import numpy as np

        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        index = range(len(self))[index]
        return self.noise(self.rows[index % len(self.rows)], np.random.default_rng((*self.key, index)))
