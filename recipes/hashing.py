"""Content hashes of files and folders: SHA-256 over names and bytes, never over times or places."""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from recipes import database

_ITS_OWN = {errno.ENOENT, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EIO}  # a file's own trouble, not the process's


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()  # file names need not be UTF-8


def file_hash(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes; a file that has not changed since is read once per process.

    A live SQLite database counts by its rows (database.py).
    """
    if database.has_log(path):
        return database.rows_hash(path)
    status = os.stat(path)
    return _file_hash(os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _file_hash(path: str, inode: int, size: int, changed: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path, skip: Iterable[str] = ()) -> list[str]:
    """Return the relative names (with `/`) of all files under `folder`, sorted; `skip` names files at its top."""
    left_out = set(skip)
    found = []
    for here, folders, names in os.walk(folder):
        top = Path(here) == folder
        folders[:] = [name for name in folders if not (top and name in left_out)]
        relative = Path(here).relative_to(folder)
        found += [(relative / name).as_posix() for name in names if not (top and name in left_out)]
    return sorted(found)


def combined(files: Mapping[str, str]) -> str:
    """Return one hash for many files, given each file's name and hash."""
    return text_hash("".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items())))


def folder_hash(folder: Path) -> str:
    """Return the hash of everything in a folder."""
    return combined({name: _hash_within(folder / name) for name in files_in(folder)})


def _hash_within(path: Path) -> str:
    """Return the hash of one file among many; of what cannot be read (a pipe, a link to nowhere), of the reason."""
    try:
        # Opening a pipe would wait for a writer.
        return file_hash(path) if stat.S_ISREG(os.stat(path).st_mode) else text_hash("not a regular file")
    except OSError as error:
        if error.errno not in _ITS_OWN:
            raise
        return text_hash(f"unreadable: {error.errno}")
