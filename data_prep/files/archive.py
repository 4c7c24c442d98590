"""Zip files that hold a document (DOCX, EPUB), read within limits, and their XML, without entities.

Nothing is unpacked to disk, so names such as `../../etc/passwd` lead nowhere: a name is a key and no path. Refused with
the reason: a directory of entries too big to be held, an entry that unpacks to more than `MAX_RATIO` times its packed
size or past the limit for one file (the sizes that the file states are not believed), an encrypted entry, and XML that
declares entities, which no writer of these formats does.
"""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.parsers import expat

from data_prep.files import decoding
from data_prep.files.decoding import Unreadable

MAX_RATIO = 200  # packed text reaches 5 to 30; deflate's own limit is 1,032
MAX_DIRECTORY = 16 * 2**20  # bytes; about 200,000 entries
SMALL = 2**20  # bytes: what a bomb cannot be
MAX_DEPTH = 1000  # of elements in elements
CHUNK = 2**16
_END = b"PK\x05\x06"


class Archive:
    """An open zip file and how many bytes may still be read out of it."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        self.left = decoding.MAX_BYTES

    @property
    def names(self) -> set[str]:
        """Return the names of all entries."""
        return set(self.file.NameToInfo)

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield an entry's bytes.

        Raises: Unreadable for one that is not there, damaged, encrypted or too big.
        """
        try:
            entry = self.file.getinfo(name)
            size = 0
            with self.file.open(entry) as stream:
                while chunk := stream.read(CHUNK):
                    size += len(chunk)
                    self.left -= len(chunk)
                    if size > SMALL and size > MAX_RATIO * max(entry.compress_size, 1):
                        raise Unreadable(f"a zip bomb (unpacks to more than {MAX_RATIO} times its size)")
                    if self.left < 0:
                        raise Unreadable(f"more than {decoding.MAX_BYTES // 2**20} MiB in one file")
                    yield chunk
        except KeyError as error:
            raise Unreadable(f"no {name} in it") from error
        except RuntimeError as error:  # zipfile's own, for a password
            raise Unreadable("encrypted") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
            raise Unreadable("damaged zip file") from error

    def read(self, name: str) -> bytes:
        """Return an entry's bytes."""
        return b"".join(self.chunks(name))

    def parse(self, name: str, start: Callable[[str, dict[str, str]], None], end: Callable[[str], None],
              text: Callable[[str], None]) -> None:  # fmt: skip
        """Call back for the elements and the text of an XML entry; names are local ones, without their name spaces.

        Raises: Unreadable for XML that is damaged or declares entities.
        """
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        depth = 0

        def opened(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth += 1
            if depth > MAX_DEPTH:
                raise Unreadable("XML nested too deeply")
            start(_local(tag), {_local(key): value for key, value in attributes.items()})

        def closed(tag: str) -> None:
            nonlocal depth
            depth -= 1
            end(_local(tag))

        parser.StartElementHandler = opened
        parser.EndElementHandler = closed
        parser.CharacterDataHandler = text
        parser.EntityDeclHandler = _refuse
        try:
            for chunk in self.chunks(name):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise Unreadable(f"damaged XML in {name}") from error


def _local(name: str) -> str:
    return name.rpartition(" ")[2]


def _refuse(*declaration: object) -> None:
    raise Unreadable("XML that declares entities")


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Yield a zip file's entries.

    Raises: Unreadable for a file that is no whole zip file.
    """
    if _directory_size(path) > MAX_DIRECTORY:
        raise Unreadable("a zip file with too many entries")
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(file)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise Unreadable("damaged zip file") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the file's start, where a damaged directory leads
            raise
        raise Unreadable("damaged zip file") from error


def _directory_size(path: Path) -> int:
    """Return the bytes that the file says its directory of entries takes; zipfile reads it into memory whole."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2**16 - 22))
        tail = file.read()
    place = tail.rfind(_END)
    return int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0


def holds(path: Path, name: str) -> bool:
    """Return whether a file is a zip file with an entry of this name."""
    try:
        with opened(path) as archive:
            return name in archive.names
    except Unreadable:
        return False
