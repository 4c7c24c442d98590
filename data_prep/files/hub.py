"""Data sets of Hugging Face: saved folders, folders that `datasets` can load, and names on the hub.

A folder of `save_to_disk` is read as the Arrow files that it consists of. Everything else is streamed through
`datasets`: by the shards in which the data set is stored, each one unit, so that a document's id does not depend on how
the work is divided. A name of the hub is looked for in the local cache first; without a network it is refused at once
(recipes/existence.py), since the libraries themselves retry for minutes.

Left out: pictures and audio (their columns are not decoded, and left out of `meta`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.files import columns as naming
from data_prep.files.decoding import Unreadable
from data_prep.files.listing import SAVED, SAVED_SPLITS, Unit
from recipes import existence, provenance
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    from data_prep.records import Document


def saved(name: str, split: str) -> Path | None:
    """Return the folder that holds the Arrow files of a saved data set's split, None for any other data set.

    Raises: UserError for a split that it does not have.
    """
    folder = shipped(name)
    if (folder / SAVED).is_file():
        return folder
    if not (folder / SAVED_SPLITS).is_file():
        return None
    if not (folder / split / SAVED).is_file():
        there = sorted(place.parent.name for place in folder.glob(f"*/{SAVED}"))
        raise UserError(name, f"there is no split {split}", f"one of {', '.join(there)}")
    return folder / split


def units(name: str, config: str, split: str) -> Iterator[Unit]:
    """Yield the shards in which a data set is stored.

    Raises: UserError for a data set, a configuration or a split that cannot be had.
    """
    count = int(_stream(name, config, split).num_shards)
    for index in range(count):
        shard = f"{split}-{index:05d}"
        yield Unit(name, shard, f"{name}/{shard}", 0, part=(index, count))


def documents(unit: Unit, config: str, split: str, columns: naming.Columns) -> Iterator[Document | Unreadable]:
    """Yield the documents of a shard.

    Raises: Unreadable where the shard cannot be read on.
    """
    index, count = unit.part
    number = 0
    rows = iter(_stream(unit.path, config, split).shard(num_shards=count, index=index))
    while True:
        try:
            row = next(rows, None)
        except Exception as error:  # whatever reads the shard's format or fetches it; the next shard may be whole
            raise Unreadable(f"cannot be streamed ({type(error).__name__})", number + 1) from error
        if row is None:
            return
        number += 1
        if number == 1 and naming.text_column(row, columns) is None:
            raise Unreadable(f"{naming.missing(columns)}; there are {', '.join(row)}")
        yield naming.document({key: naming.plain(value) for key, value in row.items()}, number, columns)


@functools.lru_cache(maxsize=4)
def _stream(name: str, config: str, split: str) -> Any:
    """Open a data set for streaming."""
    place = _local(name)
    if place is None and (fault := existence.dataset_fault((), name)):
        raise UserError(name, fault.what, fault.write)
    import datasets

    try:
        stream = datasets.load_dataset(str(place or name), config or None, split=split, streaming=True)
    except Exception as error:  # datasets' own, fsspec's, those of the format's library
        said = " ".join(str(error).split())[:200]
        raise UserError(name, f"cannot be loaded ({said})", "check dataset:, config: and split:") from error
    return stream.decode(False) if stream.features else stream


def _local(name: str) -> Path | None:
    """Return the folder of a data set on this disk: its own, or that of the hub's cache."""
    if shipped(name).is_dir():
        return shipped(name)
    commit = provenance.hub_revision(name, "dataset")
    return provenance.hub_folder(name, "dataset") / "snapshots" / commit if commit else None
