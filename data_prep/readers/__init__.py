"""Files -> documents. A format is one file in this folder; adding one edits nothing else.

A reader module has `SUFFIXES` (lower case), `recognises(head)` for the first bytes of a file, unpacked, and one of

- `read(path, *part)`, which yields documents and, for parts that cannot be read, `data_prep.files.decoding.Unreadable`;
- `rows(path, *part)`, for tables: it yields row numbers (from 1) with the row's values by column, or `Unreadable`.

Both raise `Unreadable` when the whole file, or the rest of it, cannot be read. It may also have

- `belongs(path)`, asked when `recognises` says yes and the first bytes alone do not tell (all zip files begin alike);
- `parts(path, size)`, which divides a big file so that several processes can read it: tuples of whole numbers, each to
  be given to `read` or `rows`. Parts decide who reads what, never which documents there are, nor their order or ids;
- `BY_HINTS = True`, when its `recognises` goes by hints that source code and Markdown may have too, and `FREE = True`,
  when a file so named may begin like anything: there, only other marks than hints decide;
- `HEADER = True`, when a table's columns are the same in all rows, so that a wrong name is one mistake, not a million.

A reader sets `text` and what else the file says (title, url, ...); where the document lies (`id`, `source`,
`meta.path`) is set here. A document that is a row of a file carries its number in `meta.row`.

Content decides before the name: a PDF called .txt is read as a PDF. What cannot be read is counted with its reason.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType

from data_prep.files import columns as naming
from data_prep.files import listing
from data_prep.files.decoding import Unreadable
from data_prep.files.listing import Unit
from data_prep.files.streams import open_text
from data_prep.records import DAMAGED, Document
from recipes import remote
from recipes.errors import UserError

__all__ = ["Skipped", "Unit", "modules", "read", "read_unit", "reader_of", "units"]

HEAD = 4096


@dataclass(frozen=True)
class Skipped:
    """A file, or a row of it, that gave no document."""

    path: str
    reason: str
    row: int = 0


@cache
def modules() -> tuple[ModuleType, ...]:
    """Return every reader, in the order of their names."""
    found = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    return tuple(sorted(found, key=lambda module: module.__name__))


def read(root: Path, name: str = "", license: str = "") -> Iterator[Document | Skipped]:
    """Yield the documents of a file or of all files below a folder, in the order of their paths.

    `name` stands for the root in ids and sources; it defaults to the root's own name.
    """
    for unit in units(str(root)):
        yield from read_unit(unit, name or root.name, license)


def units(root: str, size: int = 0, wanted: Callable[[Unit], bool] | None = None) -> Iterator[Unit]:
    """Yield what there is to read at `root`, in a fixed order; files above `size` bytes (0: none) are divided."""
    for unit in listing.files(root):
        if wanted is None or wanted(unit):
            yield from _divided(unit, size)


def _divided(unit: Unit, size: int) -> Iterator[Unit]:
    parts: list[tuple[int, ...]] = []
    # A remote file is fetched for each unit of its own: once is enough.
    if 0 < size < unit.size and not unit.refusal and not remote.is_url(unit.path):
        try:
            reader = reader_of(Path(unit.path))
            parts = reader.parts(Path(unit.path), size) if hasattr(reader, "parts") else []
        except (Unreadable, OSError):  # said with its reason when it is read
            pass
    if len(parts) < 2:
        yield unit
        return
    for part in parts:
        yield replace(unit, part=part, size=unit.size // len(parts))


def read_unit(
    unit: Unit, name: str, license: str = "", columns: naming.Columns | None = None
) -> Iterator[Document | Skipped]:
    """Yield the documents of a unit, and what could not be read.

    Raises: UserError for a URL that cannot be reached at all.
    """
    if unit.refusal:
        yield Skipped(unit.where, unit.refusal)
        return
    try:
        with remote.fetched(unit.path) as path:
            yield from placed(_items(path, unit, columns or {}), unit, name, license)
    except OSError as error:
        yield Skipped(unit.where, f"cannot be opened: {error.strerror or error}")


def placed(found: Iterator[Document | Unreadable], unit: Unit, name: str, license: str) -> Iterator[Document | Skipped]:
    """Yield what a reader found, documents with the place where they lie, to the end or to where it cannot go on."""
    try:
        for item in found:
            if isinstance(item, Unreadable):
                yield Skipped(unit.where, item.reason, item.row)
            else:
                _place(item, unit, name, license)
                yield item
    except Unreadable as error:
        yield Skipped(unit.where, error.reason, error.row)


def _place(document: Document, unit: Unit, name: str, license: str) -> None:
    """Fill in what tells where a document comes from."""
    folder = unit.relative.rpartition("/")[0].partition("/")[0]
    row = document.meta.get("row")
    document.meta["path"] = unit.where
    document.id = "/".join(filter(None, (name, unit.relative))) + (f"#{row}" if row else "")
    document.source = document.source or "/".join(filter(None, (name, folder)))
    document.license = document.license or unit.license or license


def _items(path: Path, unit: Unit, columns: naming.Columns) -> Iterator[Document | Unreadable]:
    """Yield what a file holds; whatever goes wrong ends this file alone."""
    if refusal := listing.not_regular(str(path)):  # it may have changed since it was listed
        raise Unreadable(refusal)
    module = None
    try:
        module = reader_of(path)
        yield from _table(module, path, unit, columns) if hasattr(module, "rows") else module.read(path, *unit.part)
    except DAMAGED as error:
        raise Unreadable("damaged compressed file") from error
    except (OSError, UserError, Unreadable):
        raise
    except Exception as error:  # a library's own mistake over one odd file must not end a run over a million others
        kind = module.__name__.rpartition(".")[2] if module else "its"
        yield Unreadable(f"the {kind} reader failed with {type(error).__name__}")


def _table(module: ModuleType, path: Path, unit: Unit, columns: naming.Columns) -> Iterator[Document | Unreadable]:
    header = getattr(module, "HEADER", False)
    for item in module.rows(path, *unit.part):
        if isinstance(item, Unreadable):
            yield item
            continue
        number, row = item
        if header and naming.text_column(row, columns) is None:
            raise Unreadable(f"{naming.missing(columns)}; there are {', '.join(row)}")
        yield naming.document(row, number, columns)


def reader_of(path: Path) -> ModuleType:
    """Return the reader of a file, by its first bytes, else by its suffix.

    Raises: Unreadable for an empty file, or a format that no reader knows.
    """
    head = _head(path)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zst")]
    name = suffixes[-1] if suffixes else path.name.lower()
    named = next((module for module in modules() if name in module.SUFFIXES), None)
    free = hasattr(named, "FREE")
    for module in modules():
        if free and hasattr(module, "BY_HINTS"):
            continue
        if module.recognises(head) and (not hasattr(module, "belongs") or module.belongs(path)):
            return module
    if named is None:
        raise Unreadable(f"no reader for {suffixes[-1] if suffixes else 'a file without a suffix'}")
    return named


def _head(path: Path) -> bytes:
    """Return a file's first bytes; of a damaged compressed file as many as there are."""
    head = b""
    try:
        with open_text(path) as stream:
            while len(head) < HEAD and (chunk := stream.read1(HEAD - len(head))):
                head += chunk
    except DAMAGED as error:
        if not head:
            raise Unreadable("damaged compressed file") from error
    if not head:
        raise Unreadable("empty file")
    return head
