"""Bytes of a file -> text.

UTF-8, UTF-16 and UTF-32 with a byte order mark are read as they say, ISO-2022-JP by its escapes, UTF-16 and UTF-32
without a mark by where their NUL bytes are. A file that is not UTF-8 is read line by line, since files that several
people appended to mix encodings: lines that are UTF-8 stay so; the others are read in the one legacy encoding that
makes the likeliest words of all of them together (`legacy_encodings`), which is Windows-1252 where nothing speaks
against it.
"""

from __future__ import annotations

import codecs
from itertools import groupby
from pathlib import Path

from data_prep.records import DAMAGED, open_binary

MAX_BYTES = 256 * 2**20  # of one file, unpacked: a bigger "document" is an archive or a bomb
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOSTLY = 4  # characters beyond ASCII for each that is damaged
_JAPANESE_ESCAPE = (b"\x1b$B", b"\x1b$@")


class Unreadable(Exception):
    """A file, or a row of it, that cannot be read; it is counted by its reason, and the rest goes on.

    `row` is 0 where the file has none; `detail` is what the reason leaves out, since it differs from row to row.
    """

    def __init__(self, reason: str, row: int = 0, detail: str = "") -> None:
        super().__init__(reason, row, detail)
        self.reason, self.row, self.detail = reason, row, detail

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


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
        return _wide(data)
    if any(escape in data for escape in _JAPANESE_ESCAPE):
        try:
            return data.decode("iso2022_jp")
        except UnicodeDecodeError:
            pass  # a terminal's escapes, perhaps
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        whole = data[: error.start]
        if error.reason == "unexpected end of data" and not whole.isascii():  # cut off inside its last character
            return whole.decode("utf-8") + "\ufffd"
        return _mixed(data)


def _wide(data: bytes) -> str:
    from data_prep.files.legacy_encodings import wide_encoding_of

    codec = wide_encoding_of(data)
    if not codec:
        raise Unreadable("binary data (NUL bytes)")
    return data.decode(codec)


def _mixed(data: bytes) -> str:
    """Read lines that are UTF-8 as such, and all others in one legacy encoding."""
    from data_prep.files.legacy_encodings import decoded, encoding_of

    lines = data.splitlines(keepends=True)
    sound = [_is_utf8(line) for line in lines]
    codec = encoding_of(b"".join(line for line, good in zip(lines, sound, strict=True) if not good))
    # Neighbours of one encoding are decoded together: a character of several bytes may hold what looks like a line end.
    runs = groupby(zip(lines, sound, strict=True), key=lambda pair: pair[1])
    pieces = ((good, b"".join(line for line, _ in run)) for good, run in runs)
    return "".join(piece.decode("utf-8", errors="replace") if good else decoded(piece, codec) for good, piece in pieces)


def _is_utf8(line: bytes) -> bool:
    """Tell a line that is UTF-8, or was: most characters beyond ASCII are whole, and what is damaged is lost anyway."""
    text = line.decode("utf-8", errors="replace")
    lost = text.count("\ufffd")
    return not lost or sum(character > "\x7f" for character in text) > _MOSTLY * lost
