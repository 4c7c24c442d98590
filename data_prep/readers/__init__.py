"""Files and folders -> documents. A format is one file in this folder; adding one edits nothing else.

A reader module has `SUFFIXES` (lower case), `recognises(head)` for the first bytes of a file, and `read(path)`, which
yields documents and, for parts that cannot be read, `data_prep.decoding.Unreadable`; it raises `Unreadable` when the
whole file cannot be read. It sets `text` and what else the file says (title, url, ...); where the document lies
(`id`, `source`, `meta.path`) is set here. A document that is a row of a file carries its line number in `meta.row`.

Content decides before the name: a PDF called .txt is read as a PDF. What cannot be read is counted with its reason.
"""

from __future__ import annotations

import gzip
import importlib
import os
import pkgutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from data_prep.decoding import Unreadable
from data_prep.records import Document, open_binary

HEAD = 2048


@dataclass(frozen=True)
class Skipped:
    """A file, or a row of it, that gave no document."""

    path: str
    reason: str
    row: int = 0


@cache
def modules() -> tuple[ModuleType, ...]:
    """Return every reader; those that know their format by content come first."""
    found = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    return tuple(sorted(found, key=lambda module: module.__name__))


def read(root: Path, name: str = "", license: str = "") -> Iterator[Document | Skipped]:
    """Yield the documents of a file or of all files below a folder, in the order of their paths.

    `name` stands for the root in ids and sources; it defaults to the root's own name.
    """
    name = name or root.name
    for path, relative, refusal in _files(root):
        where = relative or root.name
        if refusal:
            yield Skipped(where, refusal)
            continue
        for item in _parts(path, where):
            if isinstance(item, Document):
                _place(item, name, relative, where, license)
            yield item


def _place(document: Document, name: str, relative: str, where: str, license: str) -> None:
    """Fill in what tells where a document comes from."""
    folder = relative.rpartition("/")[0].partition("/")[0]
    row = document.meta.get("row")
    document.meta["path"] = where
    document.id = "/".join(filter(None, (name, relative))) + (f"#{row}" if row else "")
    document.source = document.source or "/".join(filter(None, (name, folder)))
    document.license = document.license or license


def _parts(path: Path, where: str) -> Iterator[Document | Skipped]:
    try:
        for item in reader_of(path).read(path):
            if isinstance(item, Unreadable):
                yield Skipped(where, item.args[0], *item.args[1:])
            else:
                yield item
    except Unreadable as error:
        yield Skipped(where, str(error))
    except OSError as error:
        yield Skipped(where, _unopened(error))


def reader_of(path: Path) -> ModuleType:
    """Return the reader of a file, by its first bytes, else by its suffix.

    Raises: Unreadable for an empty file, or a format that no reader knows.
    """
    head = _head(path)
    for module in modules():
        if module.recognises(head):
            return module
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    for module in modules():
        if suffixes and suffixes[-1] in module.SUFFIXES:
            return module
    raise Unreadable(f"no reader for {suffixes[-1] if suffixes else 'a file without a suffix'}")


def _unopened(error: OSError) -> str:
    return f"cannot be opened: {error.strerror or error}"


def _head(path: Path) -> bytes:
    try:
        with open_binary(path) as stream:
            head = stream.read(HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Unreadable("damaged gzip file") from error
    if not head:
        raise Unreadable("empty file")
    return head


def _files(root: Path) -> Iterator[tuple[Path, str, str]]:
    """Yield path, path below the root, and why the file is refused, if it is; in a fixed order."""
    if not root.is_dir():
        yield root, "", ""
        return
    inside = root.resolve()
    for folder, folders, files in os.walk(root):
        folders.sort()
        here = Path(folder)
        for name in list(folders):
            if name.startswith("."):
                folders.remove(name)
            elif (here / name).is_symlink():
                # os.walk does not follow these: a link upwards would never end.
                yield here / name, _relative(here / name, root), "symbolic link to a folder"
        for name in sorted(files):
            path = here / name
            if not name.startswith("."):
                yield path, _relative(path, root), _refusal(path, inside)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _refusal(path: Path, inside: Path) -> str:
    if path.is_symlink():
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return "symbolic link that leads nowhere"
        if not target.is_relative_to(inside):
            return "symbolic link out of the folder"
    return "" if path.is_file() else "not a regular file"
