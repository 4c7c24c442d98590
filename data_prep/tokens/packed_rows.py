"""Training rows cut from tokenised documents when they are asked for.

A row is a dictionary: `input_ids` (int64, at most the row's length) and `starts`, where in the row a document (or the
rest of one) begins; position ids and masks that keep documents apart follow from it (finetune/packing.py). Rows come
from documents in memory and from memory-mapped shards alike; in both cases the same rows.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from typing import Any, Literal

from data_prep.tokens.packing import BestFit, Plan, Wrapped

Row = dict[str, Any]
Packing = Literal["wrap", "best_fit"]


def plan(lengths: Any, packing: Packing, max_length: int, seed: int) -> Plan:
    """Return which piece of which document stands in which row; wrapped documents are shuffled by the seed first."""
    if packing == "best_fit":
        return BestFit(lengths, max_length)
    order = array("q", range(len(lengths)))
    random.Random(seed).shuffle(order)
    return Wrapped(lengths, order, max_length)


class PackedRows(Sequence[Row]):
    """The rows of a plan over documents."""

    def __init__(self, documents: Sequence[Any], plan: Plan) -> None:
        self.documents = documents
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a view of several."""
        if isinstance(index, slice):
            return Chosen(self, range(len(self))[index])
        import numpy as np

        segments = self.plan.segments(range(len(self))[index])
        parts = [self.documents[one.document][one.start : one.stop] for one in segments]
        starts = np.cumsum([0, *map(len, parts)])[:-1]
        return {"input_ids": np.concatenate(parts).astype(np.int64), "starts": starts}


class Chosen(Sequence[Row]):
    """Some rows of others, in any order and any number of times."""

    def __init__(self, rows: Sequence[Row], indices: Sequence[int]) -> None:
        self.rows, self.indices = rows, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a view of several."""
        return Chosen(self.rows, self.indices[index]) if isinstance(index, slice) else self.rows[self.indices[index]]


class Joined(Sequence[Row]):
    """Rows of one sequence, then those of another."""

    def __init__(self, first: Sequence[Row], second: Sequence[Row]) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a view of several."""
        if isinstance(index, slice):
            return Chosen(self, range(len(self))[index])
        index = range(len(self))[index]
        return self.first[index] if index < len(self.first) else self.second[index - len(self.first)]
