"""JSON: an array of rows, objects one after the other, or one object; read piece by piece.

| value | documents |
|---|---|
| an array | its elements; `meta.row` counts them from 1 |
| several objects, not one a line (or the first is too long to tell) | each, as those of an array |
| one object with a text column | itself |
| one object with arrays of objects, such as {"data": [...]} | their elements |

No element may be longer than `streams.MAX_LINE`; only that much is ever in memory, whether or not a line ever ends:
250 MB a CPU second for rows of 1 kB, an array of 1 GB in 24 MiB. Where an element is not JSON, the rest cannot be read:
where the next one starts is not known.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from data_prep.files import columns, streams
from data_prep.files.decoding import Unreadable
from data_prep.readers import jsonl
from data_prep.records import DAMAGED

SUFFIXES = (".json",)
_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[\s*[\[{\"\]]|\{\s*[\"}])")
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_BETWEEN = re.compile(r"[ \t\r\n\ufeff,]*")


def recognises(head: bytes) -> bool:
    """Tell JSON by how an array of rows or an object begins."""
    return bool(_START.match(head))


def belongs(path: Path) -> bool:
    """Leave JSON lines to their own reader; a Markdown link also begins with a bracket, so a value must follow it."""
    with streams.open_text(path) as stream:
        head = stream.read(4096)
    return not (jsonl.recognises(head) and jsonl.belongs(path)) and not re.match(rb'\s*\[\s*[\["](?!.*[",\]])', head)


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    """Yield each element with its number, or the single object with the number 0."""
    with streams.open_text(path) as stream:
        text = _Text(stream)
        try:
            in_array = text.next() == "["
            if in_array:
                text.position += 1
            single = None if in_array else text.value()
            if single is not None and not text.next():
                yield from _single(single)
                return
            if single is not None:
                yield _row(single, 1)
            yield from _elements(text, in_array, 1 if single is None else 2)
        except DAMAGED as error:
            raise Unreadable("damaged compressed file") from error


def _elements(text: _Text, in_array: bool, number: int) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    while (mark := text.next(_BETWEEN)) and not (in_array and mark == "]"):
        try:
            value = text.value()
        except Unreadable as error:
            raise Unreadable(error.args[0], number) from None
        yield _row(value, number)
        number += 1
    if in_array and not mark:
        raise Unreadable("JSON that ends too early", number)


def _single(value: Any) -> Iterator[tuple[int, dict[str, Any]] | Unreadable]:
    lists = [item for item in value.values() if _is_table(item)] if isinstance(value, dict) else []
    if not lists or columns.text_column(value, {}):
        yield _row(value, 0)
        return
    yield from ((number, item) for number, item in enumerate((item for rows in lists for item in rows), start=1))


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _row(value: Any, number: int) -> tuple[int, dict[str, Any]] | Unreadable:
    if isinstance(value, dict):
        return number, value
    return Unreadable(f"a JSON {type(value).__name__} where an object was expected", number)


class _Text:
    """The text from here on, as much of it as is needed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.decode = codecs.getincrementaldecoder("utf-8")(errors="strict").decode
        self.text, self.position, self.ended = "", 0, False
        self.decoder = json.JSONDecoder(parse_constant=_refuse)

    def more(self) -> None:
        """Read on: twice as much each time, so that a long value is not parsed again too often."""
        rest = self.text[self.position :]
        part = self.stream.read(max(streams.CHUNK, min(len(rest), streams.MAX_LINE - len(rest))))
        self.ended = not part
        try:
            self.text, self.position = rest + self.decode(part, final=self.ended), 0
        except UnicodeDecodeError as error:
            raise Unreadable("not UTF-8") from error

    def next(self, skipped: re.Pattern[str] = _SPACE) -> str:
        """Return the next character that is not to be skipped, or nothing at the end."""
        while True:
            match = skipped.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text) or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()

    def value(self) -> Any:
        """Return the next value.

        Raises: Unreadable for what is not JSON, nested too deeply, or too long.
        """
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.position)
                if end < len(self.text) or self.ended:  # a number at the very end of what was read may go on
                    self.position = end
                    return value
            except json.JSONDecodeError as error:
                # An error well before the end of what was read is one; an open string is told by where it starts.
                if self.ended or (error.pos < len(self.text) - 16 and not error.msg.startswith("Unterminated")):
                    raise Unreadable("JSON that ends too early" if self.ended else "not JSON") from error
            except RecursionError as error:
                raise Unreadable("JSON nested too deeply") from error
            if len(self.text) - self.position > streams.MAX_LINE:
                raise Unreadable(f"a row {streams.TOO_LONG}")
            self.more()


def _refuse(name: str) -> None:
    raise Unreadable(f"not JSON ({name} is no JSON number)")
