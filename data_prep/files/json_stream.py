"""Rows of JSON that is not one object a line, read piece by piece.

| value | rows |
|---|---|
| an array | its elements |
| several objects one after the other | each |
| an object with arrays of objects, such as {"data": [...]}, and no text column | their elements |
| an object of objects without a text column | these; each name becomes the row's `id` where it has none |
| any other object | itself |

The messages of a conversation are an array of objects, and no rows. NaN and Infinity, which pandas and Python write and
JSON lacks, are read as null.

An array may have any size, one of its elements or an object `streams.MAX_LINE`: only that much is ever in memory,
whether or not a line ever ends. A row with bytes that are not UTF-8 is refused by itself; where a value is not JSON,
the rest cannot be read, since where the next one starts is not known. Commas too many or too few are no harm.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import IO, Any

from data_prep.files import columns, streams
from data_prep.files.decoding import Unreadable
from data_prep.records import DAMAGED

Row = dict[str, Any]
Numbered = Iterator[tuple[int, int, Row | Unreadable]]
ENDS = "JSON that ends too early"
_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_BETWEEN = re.compile(r"[ \t\r\n\ufeff,]*")
_ESCAPED = re.compile(r"[\udc80-\udcff]")  # how bytes that are not UTF-8 are decoded


class Text:
    """The text from here on, as much of it as is needed."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors="strict")
        self.json = json.JSONDecoder(parse_constant=lambda name: None)
        self.text, self.position, self.ended = "", 0, False
        self._dropped = self._counted = 0
        self._line = 1

    @property
    def passed(self) -> int:
        """Return how many characters have been used up."""
        return self._dropped + self.position

    @property
    def line(self) -> int:
        """Return the number of the line that goes on here."""
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def more(self) -> None:
        """Read on: twice as much each time, so that a long value is not parsed again too often."""
        self._line = self.line
        self._dropped += self.position
        rest = self.text[self.position :]
        data = self.stream.read(max(streams.CHUNK, min(len(rest), streams.MAX_LINE - len(rest))))
        self.ended = not data
        self.text, self.position, self._counted = rest + self._decoded(data), 0, 0

    def _decoded(self, data: bytes) -> str:
        try:
            return self.decoder.decode(data, final=self.ended)
        except UnicodeDecodeError:
            self.decoder.errors = "surrogateescape"
            return self.decoder.decode(data, final=self.ended)

    def next(self, skipped: re.Pattern[str] = _SPACE) -> str:
        """Return the next character that is not to be skipped, or nothing at the end."""
        while True:
            match = skipped.match(self.text, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self.text) or self.ended:
                return self.text[self.position : self.position + 1]
            self.more()

    def value(self) -> Any:
        """Return the next value; of one with bytes that are not UTF-8 the reason.

        Raises: Unreadable for what is not JSON, nested too deeply, or too long.
        """
        while True:
            try:
                value, end = self.json.raw_decode(self.text, self.position)
                if end < len(self.text) or self.ended:  # a number at the very end of what was read may go on
                    sound = self.decoder.errors == "strict" or not _ESCAPED.search(self.text, self.position, end)
                    self.position = end
                    return value if sound else Unreadable("not UTF-8")
            except json.JSONDecodeError as error:
                # An error well before the end of what was read is one; an open string is told by where it starts.
                if self.ended or (error.pos < len(self.text) - 16 and not error.msg.startswith("Unterminated")):
                    if self.ended:
                        raise Unreadable(ENDS) from error
                    line = self.line + self.text.count("\n", self.position, error.pos)
                    raise Unreadable("not JSON", 0, f"{error.msg.removesuffix(' at')}, line {line}") from error
            except RecursionError as error:
                raise Unreadable("JSON nested too deeply") from error
            if len(self.text) - self.position > streams.MAX_LINE:
                raise Unreadable(f"a row {streams.TOO_LONG}")
            self.more()


def rows(text: Text) -> Numbered:
    """Yield number (from 1; 0 for a file's only row), line, and row or the reason why it is none.

    Raises: Unreadable where the rest cannot be read, with the number of the row.
    """
    try:
        mark = text.next()
        if not mark:
            raise Unreadable(ENDS)
        if mark == "{":
            yield from _object(text)
            return
        text.position += mark == "["
        yield from _elements(text, "]" if mark == "[" else "", 1)
    except DAMAGED as error:
        raise Unreadable("damaged compressed file") from error


def _elements(text: Text, close: str, number: int) -> Numbered:
    while (mark := text.next(_BETWEEN)) and mark != close:
        line = text.line
        try:
            value = text.value()
        except Unreadable as error:
            raise Unreadable(error.reason, number, error.detail) from None
        yield number, line, _row(value, number)
        number += 1
    if close and not mark:
        raise Unreadable(ENDS, number)


def _row(value: Any, number: int) -> Row | Unreadable:
    if isinstance(value, dict):
        return value
    if isinstance(value, Unreadable):
        return Unreadable(value.reason, number)
    return Unreadable(f"a JSON {type(value).__name__} where an object was expected", number)


def _object(text: Text) -> Numbered:
    """Yield the rows of a file that begins with an object: it is one, holds them, or is the first of them."""
    start, end = text.line, text.passed + streams.MAX_LINE
    held: dict[str, tuple[int, Any]] = {}
    for line, name, value in _members(text):
        held[name] = line, value
        if text.passed > end:
            raise Unreadable(f"an object {streams.TOO_LONG}")
    whole = {name: value for name, (_, value) in held.items()}
    if text.next():
        yield 1, start, whole
        yield from _elements(text, "", 2)
        return
    within = [] if columns.text_column(whole, {}) else list(_within(held))
    for number, (line, row) in enumerate(within, 1):
        yield number, line, row
    if not within:
        yield 0, start, whole


def _members(text: Text) -> Iterator[tuple[int, str, Any]]:
    """Yield line, name and value of each member of an object."""
    text.position += 1
    while (mark := text.next(_BETWEEN)) != "}":
        if not mark:
            raise Unreadable(ENDS)
        line, name = text.line, text.value()
        if not isinstance(name, str) or (mark := text.next()) != ":":
            raise Unreadable("not JSON" if mark else ENDS)
        text.position += 1
        text.next()
        value = text.value()
        if isinstance(value, Unreadable):
            raise value
        yield line, name, value
    text.position += 1


def _within(held: dict[str, tuple[int, Any]]) -> Iterator[tuple[int, Row]]:
    """Yield the rows that members of an object are or hold, with the line on which the member starts."""
    if lists := [(line, value) for line, value in held.values() if _is_table(value)]:
        yield from ((line, row) for line, rows in lists for row in rows)
    elif all(isinstance(value, dict) for _, value in held.values()):
        yield from ((line, {"id": name, **value}) for name, (line, value) in held.items())


def _is_table(value: Any) -> bool:
    """Tell rows from anything else, also from the messages of one conversation."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) for item in value)
        and not {"role", "from"} & value[0].keys()
    )
