"""Sorted arrays on disk and ranges of keys over all of them: an external sort without the merge.

A run is a NumPy array of records whose first field is a 64-bit `key`, sorted by it. Keys are hashes, so equal slices of
the 64-bit range hold about equally many records: `slices` gives one slice at a time from all runs, each read through a
memory map, so that memory stays bounded whatever the number of runs. Records with equal keys come out in the order of
the runs, and within a run in the order in which they were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.engine.phases import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Records = NDArray[np.void]

ROWS_AT_ONCE = 1_000_000  # some 100 MB while they are sorted and compared


def write(path: Path, records: Records) -> None:
    """Write records sorted by key; of equal keys the order stays."""
    import numpy as np

    with replacing(path) as stream:
        np.save(stream, records[np.argsort(records["key"], kind="stable")])


def open_run(path: Path) -> Any:
    """Return a run as a memory map."""
    import numpy as np

    # An empty array cannot be mapped.
    return np.load(path, mmap_mode="r") if path.stat().st_size > 512 else np.load(path)


def bounds(paths: Sequence[Path], rows: int = ROWS_AT_ONCE) -> list[tuple[int, int]]:
    """Return the slices of the key range, first and last key, of which each holds about `rows` records."""
    total = sum(len(open_run(path)) for path in paths)
    count = max(1, -(-total // rows))
    edges = [(2**64 * index) // count for index in range(count + 1)]
    return [(low, high - 1) for low, high in zip(edges[:-1], edges[1:], strict=True)]


def between(paths: Sequence[Path], low: int, high: int) -> Records:
    """Return all records with `low <= key <= high`, sorted by key."""
    import numpy as np

    found = []
    for path in paths:
        run = open_run(path)
        start = np.searchsorted(run["key"], np.uint64(low), side="left")
        end = np.searchsorted(run["key"], np.uint64(high), side="right")
        found.append(np.array(run[start:end]))
    records = np.concatenate(found)
    found.clear()  # so that they are not held three times while they are sorted
    return records[np.argsort(records["key"], kind="stable")]


def slices(paths: Sequence[Path], rows: int = ROWS_AT_ONCE) -> Iterator[Records]:
    """Yield all records of all runs, sorted by key, a bounded number at a time; equal keys are never torn apart."""
    for low, high in bounds(paths, rows):
        yield between(paths, low, high)


def groups(records: Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each group of equal keys starts and how many records it has."""
    import numpy as np

    if not len(records):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys = records["key"]
    starts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1)).astype(np.int64)
    counts = np.diff(np.concatenate((starts, [len(keys)]))).astype(np.int64)
    return starts, counts
