"""Which piece of which document stands in which training row. Pure arithmetic on lengths; no token is touched here.

- `Wrapped`: documents one after the other, cut into rows of one length, as GPT-3 was trained (Brown et al. 2020,
  https://arxiv.org/abs/2005.14165, appendix B). Nothing is padded but the last row. A row is computed when it is asked
  for, from 16 bytes a document.
- `best_fit`: best-fit decreasing bin packing (Johnson 1974), for conversations, which must not be cut, and for
  documents (Ding et al. 2024, "Fewer truncations improve language modeling", https://arxiv.org/abs/2404.10830), which
  are cut only where they are longer than a row. Lengths are whole numbers up to the row's length, so all items of one
  length are placed together: a million items take a fraction of a second.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Segment:
    """The ids `start` to `stop` of a document."""

    document: int
    start: int
    stop: int


class Plan(Protocol):
    """Rows as lists of segments."""

    max_length: int

    def __len__(self) -> int: ...

    def segments(self, row: int) -> list[Segment]:
        """Return what stands in a row, from left to right."""
        ...

    def rows_of(self, document: int) -> list[int]:
        """Return the rows in which a document stands."""
        ...

    def counts(self) -> dict[str, int]:
        """Return rows, tokens in them, padding that fills them up, tokens dropped, documents cut."""
        ...


class Wrapped:
    """Documents in a given order as one stream, cut into rows; a last row of one token teaches nothing and goes."""

    def __init__(self, lengths: Integers, order: Sequence[int], max_length: int) -> None:
        import numpy as np

        self.max_length = max_length
        self.order = np.asarray(order, dtype=np.int64)
        self.ends = np.cumsum(np.asarray(lengths, dtype=np.int64)[self.order])
        self.total = int(self.ends[-1]) if len(self.ends) else 0

    def __len__(self) -> int:
        return self.total // self.max_length + (self.total % self.max_length > 1)

    def segments(self, row: int) -> list[Segment]:
        """Return what stands in a row."""
        place, last = row * self.max_length, min((row + 1) * self.max_length, self.total)
        index = int(self.ends.searchsorted(place, side="right"))
        found = []
        while place < last:
            begin = int(self.ends[index - 1]) if index else 0
            stop = min(int(self.ends[index]), last)
            if stop > place:
                found.append(Segment(int(self.order[index]), place - begin, stop - begin))
            place, index = stop, index + 1
        return found

    def rows_of(self, document: int) -> list[int]:
        """Return the rows in which a document stands."""
        import numpy as np

        found: list[int] = []
        for index in np.flatnonzero(self.order == document):
            begin, end = (int(self.ends[index - 1]) if index else 0), int(self.ends[index])
            if end > begin:
                found += range(begin // self.max_length, min((end - 1) // self.max_length + 1, len(self)))
        return found

    def counts(self) -> dict[str, int]:
        """Return rows, tokens, padding, tokens dropped, and documents cut."""
        import numpy as np

        rest = self.total % self.max_length
        begins = np.concatenate(([0], self.ends[:-1])) if len(self.ends) else self.ends
        cut = (self.ends - 1) // self.max_length > begins // self.max_length
        return {
            "rows": len(self),
            "tokens": self.total - (rest if rest == 1 else 0),
            "padding": self.max_length - rest if rest > 1 else 0,
            "dropped": rest if rest == 1 else 0,
            "cut": int(cut.sum()),
        }


class BestFit:
    """Rows by best-fit decreasing; documents longer than a row give whole rows first, and their rest is fitted in."""

    def __init__(self, lengths: Integers, max_length: int) -> None:
        import numpy as np

        self.max_length = max_length
        self._lengths = np.asarray(lengths, dtype=np.int64)
        pieces = -(-self._lengths // max_length)
        self._document = np.repeat(np.arange(len(self._lengths)), pieces)
        first = np.repeat(np.cumsum(pieces) - pieces, pieces)
        self._start = (np.arange(len(self._document)) - first) * max_length
        self._stop = np.minimum(self._start + max_length, self._lengths[self._document])
        self._cut = int((pieces > 1).sum())
        self._order, self._first = best_fit(self._stop - self._start, max_length)

    def __len__(self) -> int:
        return len(self._first) - 1

    def segments(self, row: int) -> list[Segment]:
        """Return what stands in a row."""
        inside = self._order[self._first[row] : self._first[row + 1]]
        return [Segment(int(self._document[i]), int(self._start[i]), int(self._stop[i])) for i in inside]

    def rows_of(self, document: int) -> list[int]:
        """Return the rows in which a document stands."""
        import numpy as np

        places = np.flatnonzero(self._document[self._order] == document)
        return sorted({int(row) for row in np.searchsorted(self._first, places, side="right") - 1})

    def counts(self) -> dict[str, int]:
        """Return rows, tokens, padding, tokens dropped, and documents cut."""
        tokens = int(self._lengths.sum())
        padding = len(self) * self.max_length - tokens
        return {"rows": len(self), "tokens": tokens, "padding": padding, "dropped": 0, "cut": self._cut}


def best_fit(lengths: Integers, capacity: int) -> tuple[Integers, Integers]:
    """Pack items into as few rows of `capacity` as best-fit decreasing finds.

    Returns the items row by row, and where each row begins in that list (one entry more than there are rows). Items of
    equal length keep their order; items of length 0 are in no row.

    Raises:
        ValueError: an item is longer than a row.
    """
    import numpy as np

    lengths = np.asarray(lengths, dtype=np.int64)
    if len(lengths) and int(lengths.max()) > capacity:
        raise ValueError(f"an item of length {int(lengths.max())} fits no row of {capacity}")
    decreasing = np.argsort(-lengths, kind="stable")
    decreasing = decreasing[lengths[decreasing] > 0]
    row_of = np.zeros(len(decreasing), dtype=np.int64)
    rows = _Room(capacity)
    place = 0
    for length, count in _runs(lengths[decreasing]):
        for number, repeats in rows.fit(length, count):
            filled = np.repeat(number, repeats)
            row_of[place : place + len(filled)] = filled
            place += len(filled)
    by_row = np.argsort(row_of, kind="stable")
    first = np.concatenate(([0], np.cumsum(np.bincount(row_of, minlength=rows.opened)))).astype(np.int64)
    return decreasing[by_row], first


def _runs(sorted_lengths: Integers) -> Iterator[tuple[int, int]]:
    """Yield each length and how many items have it."""
    import numpy as np

    edges = np.flatnonzero(np.diff(sorted_lengths)) + 1
    starts = [0, *edges.tolist(), len(sorted_lengths)]
    for start, stop in zip(starts[:-1], starts[1:], strict=True):
        if stop > start:
            yield int(sorted_lengths[start]), stop - start


class _Room:
    """The open rows, by the room left in them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.opened = 0
        self._levels: list[int] = []  # which amounts of room there are, sorted
        self._rows: dict[int, list[Integers]] = {}

    def fit(self, length: int, count: int) -> Iterator[tuple[Integers, Integers]]:
        """Place `count` items of one length; yield rows and how many of the items each of them gets.

        The first item goes where the least room is left over. That row then has the least room of all that still take
        one more, so it goes on being filled: rows of one level are filled up one by one.
        """
        while count:
            index = bisect_left(self._levels, length)
            fresh = index == len(self._levels)
            room = self.capacity if fresh else self._levels[index]
            each = room // length
            rows = self._open(-(-count // each)) if fresh else self._take(room, -(-count // each))
            yield rows, self._fill(rows, room, length, min(count, each * len(rows)))
            count -= min(count, each * len(rows))

    def _fill(self, rows: Integers, room: int, length: int, count: int) -> Integers:
        """Return how many of `count` items each row gets, the last one the rest; file the rows by what is left."""
        import numpy as np

        each = room // length
        repeats = np.full(len(rows), each, dtype=np.int64)
        repeats[-1] = count - each * (len(rows) - 1)
        self._put(rows[:-1], room - each * length)
        self._put(rows[-1:], room - int(repeats[-1]) * length)
        return repeats

    def _open(self, count: int) -> Integers:
        import numpy as np

        self.opened += count
        return np.arange(self.opened - count, self.opened, dtype=np.int64)

    def _take(self, room: int, most: int) -> Integers:
        """Take rows of one level, the oldest first."""
        import numpy as np

        waiting = self._rows.pop(room)
        self._levels.remove(room)
        rows = np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
        self._put(rows[most:], room)
        return rows[:most]

    def _put(self, rows: Integers, room: int) -> None:
        if not room or not len(rows):
            return
        if room not in self._rows:
            self._rows[room] = []
            insort(self._levels, room)
        self._rows[room].append(rows)
