"""Rows of Parquet and Arrow files, and of data sets that Hugging Face's `datasets` saved to disk.

Read by pyarrow, a few MiB of rows at a time; `datasets` itself is not needed. Values come out as JSON has them
(`data_prep.files.columns.plain`), and class labels, which those files keep as numbers, as the names that the file's own
description gives them.

Left out: a limit for files made to hurt, whose one long value stands behind many rows through a dictionary; a batch of
them takes what it takes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.files import columns
from data_prep.files.decoding import Unreadable
from data_prep.files.listing import SAVED, SAVED_SPLITS
from recipes.errors import UserError

BATCH_BYTES = 8 * 2**20
BATCH_ROWS = 1024
ARROW_ROWS = 256
_FILE = b"ARROW1"
_STREAM = b"\xff\xff\xff\xff"
Numbered = Iterator[tuple[int, dict[str, Any]]]


def is_parquet(head: bytes) -> bool:
    """Tell Parquet by its mark."""
    return head.startswith(b"PAR1")


def is_arrow(head: bytes) -> bool:
    """Tell Arrow by the mark of its files, or of the first message of its streams."""
    return head.startswith(_FILE) or (head.startswith(_STREAM) and len(head) > 8 and head[6:8] == b"\0\0")


def is_saved(path: Path) -> bool:
    """Tell a folder that `save_to_disk` of a data set, or of a dictionary of them, has written."""
    return (path / SAVED).is_file() or (path / SAVED_SPLITS).is_file()


def parquet(path: Path, first: int = 0, end: int = 0, before: int = 0) -> Numbered:
    """Yield number and row of some row groups, all by default; `before` is how many rows come before them.

    Raises: Unreadable for a damaged file.
    """
    import pyarrow

    number = before
    with opened(path) as file:
        names = _class_names(file.schema_arrow.metadata)
        try:
            for index in range(first, end or file.num_row_groups):
                size = _batch_rows(file.metadata.row_group(index))
                for batch in file.iter_batches(size, [index], use_threads=False):
                    for row in batch.to_pylist():
                        number += 1
                        yield number, _plain(row, names)
        except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise Unreadable("damaged Parquet file", number + 1, _short(error)) from error


def opened(path: Path) -> Any:
    """Return a Parquet file, opened.

    Raises: Unreadable for a damaged file.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        # Without a buffer pyarrow reads a column of a whole row group at once.
        return parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as error:
        path.stat()  # a file that is gone is not damaged
        raise Unreadable("damaged Parquet file", 0, _short(error)) from error


def _batch_rows(group: Any) -> int:
    """Return how many rows of a row group to unpack at a time."""
    return int(max(1, min(BATCH_ROWS, BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1))))


def arrow(path: Path, before: int = 0) -> Numbered:
    """Yield number and row of an Arrow file of either kind, read by memory map, a record batch at a time.

    Raises: Unreadable for a damaged file.
    """
    import pyarrow

    number = before
    path.stat()  # a file that is gone is not damaged
    try:
        with pyarrow.memory_map(str(path)) as source:
            schema, batches = _batches(source)
            names = _class_names(schema.metadata)
            for batch in batches:
                batch.validate(full=True)  # Arrow believes offsets in a file: damaged ones would end the process
                for start in range(0, batch.num_rows, ARROW_ROWS):
                    for row in batch.slice(start, ARROW_ROWS).to_pylist():
                        number += 1
                        yield number, _plain(row, names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable("damaged Arrow file", number + 1, _short(error)) from error


def _batches(source: Any) -> tuple[Any, Iterator[Any]]:
    import pyarrow

    is_file = source.read(len(_FILE)) == _FILE
    source.seek(0)
    if is_file:
        file = pyarrow.ipc.open_file(source)
        return file.schema, (file.get_batch(index) for index in range(file.num_record_batches))
    stream = pyarrow.ipc.open_stream(source)
    return stream.schema, iter(stream)


def saved(path: Path, split: str) -> Numbered:
    """Yield number and row of a saved data set; of several splits `split`, by default train.

    Raises: UserError for a split that is not there; Unreadable for a damaged file.
    """
    if (path / SAVED_SPLITS).is_file():
        there = splits(path)
        wanted = split or ("train" if "train" in there else "")
        if wanted not in there:
            what = f"there is no split {wanted}" if wanted else "several splits, none of them train"
            raise UserError(str(path), what, f"write split: one of {', '.join(there)}")
        path = path / wanted
    before = 0
    for entry in _json(path / SAVED).get("_data_files", []):
        for number, row in arrow(path / Path(entry["filename"]).name, before):
            yield number, row
        before = number


def splits(path: Path) -> list[str]:
    """Return the names of a saved data set's splits, if it has any."""
    found = _json(path / SAVED_SPLITS).get("splits", []) if (path / SAVED_SPLITS).is_file() else []
    return [str(name) for name in found]


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"damaged ({error})", "save the data set again") from error
    return value if isinstance(value, dict) else {}


def _plain(row: Mapping[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a row in JSON's types, and class labels by name."""
    found = {column: columns.plain(value) for column, value in row.items()}
    for column in names.keys() & found.keys():
        found[column] = _named(found[column], names[column])
    return found


def _named(value: Any, names: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the classes of each column that has some, also of those that hold lists of classes."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    found = {column: _classes(feature) for column, feature in features.items()} if isinstance(features, dict) else {}
    return {column: names for column, names in found.items() if names}


def _classes(feature: Any) -> list[str]:
    """Return the names of a feature's classes, as Hugging Face's `datasets` writes them."""
    while isinstance(feature, list) and feature:
        feature = feature[0]
    while isinstance(feature, dict) and isinstance(feature.get("feature"), dict):
        feature = feature["feature"]
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
