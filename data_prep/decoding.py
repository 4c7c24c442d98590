"""Bytes of a file -> text.

UTF-8 (with or without a byte order mark) and UTF-16 (with one) are read as they are. A file that is not UTF-8 is read
line by line, since files that several people appended to mix encodings: lines that are UTF-8 stay so, the others are
read as Windows-1252, the usual alternative in the West.

Left out: other single-byte and East Asian encodings without a mark; they come out as wrong letters.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from data_prep.records import DAMAGED, open_binary

MAX_BYTES = 256 * 2**20  # of one file, unpacked: a bigger "document" is an archive or a bomb
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class Unreadable(Exception):
    """A file that cannot be read as a document, with the reason; it is counted, and the rest goes on."""


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises: Unreadable.
    """
    return decode(read_bytes(path))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file, unpacked if it is compressed.

    Raises: Unreadable for an empty, damaged or far too big file; OSError for one that cannot be opened.
    """
    try:
        with open_binary(path) as stream:
            data = stream.read(MAX_BYTES + 1)
    except DAMAGED as error:
        raise Unreadable("damaged compressed file") from error
    if len(data) > MAX_BYTES:
        raise Unreadable(f"more than {MAX_BYTES // 2**20} MiB in one file")
    if not data.strip():
        raise Unreadable("empty file")
    return data


def decode(data: bytes) -> str:
    """Return the text that the bytes stand for.

    Raises: Unreadable for binary data.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if b"\0" in data:
        raise Unreadable("binary data (NUL bytes)")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return b"".join(map(_as_utf8, data.splitlines(keepends=True))).decode("utf-8")


def _as_utf8(line: bytes) -> bytes:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        # Five byte values are undefined in Windows-1252; browsers read them as Latin-1 does.
        try:
            return line.decode("cp1252").encode("utf-8")
        except UnicodeDecodeError:
            return line.decode("latin-1").encode("utf-8")
    return line
