"""A big file, line by line in constant memory: unpacked, as UTF-8 bytes, and no line longer than what can be held."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data_prep.files.decoding import Unreadable
from data_prep.records import DAMAGED, open_binary

MAX_LINE = 64 * 2**20  # bytes: a longer row is a whole data set on one line
CHUNK = 2**20
TOO_LONG = f"longer than {MAX_LINE // 2**20} MiB"
_WIDE = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def open_text(path: Path) -> io.BufferedReader:
    """Open a file for reading, unpacked, and as UTF-8 if it begins with the mark of UTF-16 or UTF-32."""
    stream = open_binary(path)
    try:
        head = stream.peek(4)
    except BaseException:
        stream.close()
        raise
    for mark, encoding in _WIDE:
        if head.startswith(mark):
            return io.BufferedReader(_Recoded(stream, encoding), CHUNK)
    return stream


class _Recoded(io.RawIOBase):
    """Gives text of another encoding as UTF-8; what cannot be read becomes U+FFFD."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self.ready = b""
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready and not self.ended:
            chunk = self.stream.read(2**16)
            self.ended = not chunk
            self.ready = self.decoder.decode(chunk, final=self.ended).encode("utf-8", errors="replace")
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count

    def close(self) -> None:
        if not self.closed:
            self.stream.close()
        super().close()


def numbered_lines(stream: IO[bytes], left: int | None = None, first: int = 1) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and bytes of each line, with its end; None for one that is longer than can be held.

    `left` is how many bytes to read, all by default; `first` is the first line's number.
    Raises: Unreadable where the packed bytes are damaged.
    """
    number = first - 1
    try:
        while (left is None or left > 0) and (line := stream.readline(MAX_LINE + 1)):
            number += 1
            size = len(line)
            if size > MAX_LINE:
                while not line.endswith(b"\n") and (line := stream.readline(CHUNK)):
                    size += len(line)
            left = None if left is None else left - size
            yield number, line if size <= MAX_LINE else None
    except DAMAGED as error:
        raise Unreadable("damaged compressed file", number + 1) from error
