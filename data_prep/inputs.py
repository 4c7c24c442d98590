"""One entry under `inputs:` of a corpus recipe: where documents come from, and which column is what.

A path is a file, a folder with all files below it, or a URL that fsspec has a protocol for. A data set is a folder that
`datasets.save_to_disk` wrote, a folder of data files that `datasets` can load, or a name on the Hugging Face hub
(data_prep/files/hub.py).
"""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from recipes import remote
from recipes.errors import UserError
from recipes.sections import DatasetRef, Fault, Key, Section, SourcePath, shipped

if TYPE_CHECKING:
    from data_prep.readers import Skipped, Unit
    from data_prep.records import Document

Field_ = Literal["text", "title", "url", "source", "license"]


class Input(Section):
    """A file, a folder or URL with all files below it, or a data set."""

    path: SourcePath | None = Field(default=None, description="A file, a folder, or a URL that fsspec can open.")
    dataset: DatasetRef | None = Field(
        default=None, description="A folder of datasets.save_to_disk, or a data set's name on the Hugging Face hub."
    )
    config: str = Field(default="", description="Which configuration of the data set.")
    split: str = Field(default="train", min_length=1, description="Which split of the data set.")
    columns: dict[Field_, str] = Field(
        default_factory=dict, description="The column that holds each of text, title, url, source, license."
    )
    include: list[str] = Field(default_factory=list, description="Shell patterns of files to read; empty: all.")
    exclude: list[str] = Field(default_factory=list, description="Shell patterns of files not to read.")
    name: str = Field(
        default="", description="Stands for the path in ids and sources; by default the path's last part."
    )
    license: str = Field(default="", description="For documents that do not name their own.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.dataset is None):
            what = "an input has either a path or a dataset, not " + ("neither" if self.path is None else "both")
            raise PydanticCustomError("mistake", what, {"write": "one of path: and dataset:"})
        return self

    def place(self) -> str:
        """Return the path or the data set's name, as it was written."""
        return str(self.path if self.path is not None else self.dataset)

    def called(self) -> str:
        """Return what stands for the input in ids and sources."""
        if self.name:
            return self.name
        if self.path is not None and not remote.is_url(self.path):
            return Path(self.path).resolve().name
        return self.place().rstrip("/").rpartition("/")[2]


def units_of(item: Input, size: int) -> Iterator[Unit]:
    """Yield what there is to read of an input, in a fixed order; files above `size` bytes are divided where they can.

    Raises: UserError for a URL or a data set that cannot be reached.
    """
    from data_prep import readers
    from data_prep.files import hub

    if item.path is not None:
        root = str(item.path) if remote.is_url(item.path) else str(shipped(item.path))
    elif folder := hub.saved(str(item.dataset), item.split):
        root = str(folder)
    else:
        yield from hub.units(str(item.dataset), item.config, item.split)
        return
    yield from readers.units(root, size, lambda unit: _wanted(item, unit.relative or unit.where))


def _wanted(item: Input, relative: str) -> bool:
    """Return whether the patterns let a file through; one without a slash fits at any depth, as `*` crosses slashes."""
    name = relative.rpartition("/")[2]

    def fits(patterns: list[str]) -> bool:
        return any(fnmatch.fnmatchcase(relative, one) or fnmatch.fnmatchcase(name, one) for one in patterns)

    return (not item.include or fits(item.include)) and not fits(item.exclude)


def documents_of(item: Input, unit: Unit) -> Iterator[Document | Skipped]:
    """Yield the documents of one of an input's units, and what could not be read."""
    from data_prep import readers
    from data_prep.files import hub

    columns = {str(field): column for field, column in item.columns.items()}
    if item.dataset is not None and unit.path == str(item.dataset):
        found = hub.documents(unit, item.config, item.split, columns)
        yield from readers.placed(found, unit, item.called(), item.license)
    else:
        yield from readers.read_unit(unit, item.called(), item.license, columns)


def faults(item: Input, key: Key) -> list[Fault]:
    """Return the mistakes in an input that no value on its own shows; `key` is the input's place in the recipe."""
    found = [
        Fault((*key, name), f"{name} belongs to a data set, and this input is a path", "leave it out")
        for name in ("config", "split")
        if item.dataset is None and name in item.model_fields_set
    ]
    try:
        columns = _columns(item)
    except UserError as error:
        return [*found, Fault((*key, "split"), f"{error.where}: {error.what}", error.write)]
    if columns is None:
        return found
    there = ", ".join(columns) or "none"
    for field, column in item.columns.items():
        if column not in columns:
            found.append(Fault((*key, "columns", field), f"{item.place()} has no column {column}", f"one of {there}"))
    from data_prep.files import columns as naming

    if "text" not in item.columns and not naming.text_column(dict.fromkeys(columns), {}):
        what = f"{item.place()} has no column {', '.join(naming.TEXT)}"
        found.append(Fault(key, what, f"columns: {{text: NAME}} with one of {there}"))
    return found


def _columns(item: Input) -> list[str] | None:
    """Return the columns of the first row of what an input names; None for anything but a table on this disk."""
    from data_prep import readers
    from data_prep.files import hub, listing
    from data_prep.files.decoding import Unreadable

    if item.dataset is not None:
        folder = hub.saved(str(item.dataset), item.split)
        first_file = next(iter(listing.files(str(folder))), None) if folder else None
        path = Path(first_file.path) if first_file else None
    else:
        path = None if remote.is_url(item.place()) else shipped(item.place())
    if path is None or not path.is_file():
        return None
    try:
        reader = readers.reader_of(path)
        if not hasattr(reader, "rows"):
            return None
        first = next((row for row in itertools.islice(reader.rows(path), 20) if not isinstance(row, Unreadable)), None)
    except (Unreadable, OSError):  # counted with its reason when it is read
        return None
    return list(first[1]) if first else None
