"""Parquet: one document a row, a few MiB of rows in memory at a time; a big file is divided by its row groups.

175 to 255 MB of text a CPU second, most of it in making Python's strings.

Columns that hold bytes (pictures, audio) are left out of `meta`. Left out: a limit for files made to hurt, whose one
long value stands behind many rows through a dictionary; a batch of them takes what it takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import columns
from data_prep.files.decoding import Unreadable

SUFFIXES = (".parquet", ".pq")
HEADER = True
BATCH_BYTES = 8 * 2**20
BATCH_ROWS = 1024


def recognises(head: bytes) -> bool:
    """Tell Parquet by its mark."""
    return head.startswith(b"PAR1")


def parts(path: Path, size: int) -> list[tuple[int, ...]]:
    """Return (first row group, end, rows before it) of pieces of about `size` bytes, packed."""
    with _opened(path) as file:
        found: list[tuple[int, ...]] = []
        first = before = rows = taken = 0
        for index in range(file.num_row_groups):
            group = file.metadata.row_group(index)
            rows += group.num_rows
            taken += sum(group.column(column).total_compressed_size for column in range(group.num_columns))
            if taken >= size or index == file.num_row_groups - 1:
                found.append((first, index + 1, before))
                first, before, taken = index + 1, rows, 0
        return found


def rows(path: Path, first: int = 0, end: int = 0, before: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of some row groups, all by default, with their numbers in the file."""
    import pyarrow

    number = before
    with _opened(path) as file:
        try:
            for index in range(first, end or file.num_row_groups):
                for batch in file.iter_batches(_batch(file.metadata.row_group(index)), [index], use_threads=False):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, {name: columns.plain(value) for name, value in row.items()}
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise Unreadable("damaged Parquet file", number + 1) from error


def _opened(path: Path) -> Any:
    import pyarrow
    from pyarrow import parquet

    try:
        # Without a buffer pyarrow reads a column of a whole row group at once.
        return parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        path.stat()  # a file that is gone is not damaged
        raise Unreadable("damaged Parquet file") from error


def _batch(group: Any) -> int:
    """Return how many rows of a row group to unpack at a time."""
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1))))
