"""Rows of one big JSON value, read piece by piece.

| value | rows |
|---|---|
| an array | its elements |
| an object whose values are objects | the values; each name becomes the row's `id` where it has none |
| an object with arrays of objects, such as {"data": [...]} | their elements |
| any other object | itself |

Memory: one row; of the third kind one array.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from recipes.errors import UserError

CHUNK = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
_INCOMPLETE = object()


class _Text:
    """A text that is read on as it is used up, with the number of the line at its start."""

    def __init__(self, stream: TextIO, limit: int) -> None:
        self.stream, self.limit = stream, limit
        self.text, self.line, self.ended = "", 1, False

    def more(self) -> bool:
        """Read on; twice as much each time, so that a long value is not parsed again too often."""
        part = self.stream.read(max(CHUNK, len(self.text)))
        self.ended = not part
        self.text += part
        return not self.ended

    def drop(self, count: int) -> None:
        """Forget what is used up."""
        self.line += self.text.count("\n", 0, count)
        self.text = self.text[count:]

    def next(self) -> str:
        """Return the next character that is no white space, or "" at the end."""
        while True:
            match = _SPACE.match(self.text)
            self.drop(match.end() if match else 0)
            if self.text or not self.more():
                return self.text[:1]

    def value(self, decoder: json.JSONDecoder) -> Any:
        """Return the next value.

        Raises: ValueError for what is not JSON or longer than the limit.
        """
        while True:
            try:
                value, end = decoder.raw_decode(self.text)
                # A number at the very end of what was read may go on.
                if end < len(self.text) or self.ended:
                    if end > self.limit:
                        raise ValueError(f"a value of more than {self.limit // 2**20} MiB from line {self.line}")
                    self.drop(end)
                    return value
            except json.JSONDecodeError as error:
                if self.ended:
                    said = error.msg.removesuffix(" at")  # "Unterminated string starting at"
                    raise ValueError(f"not JSON ({said}, line {self.line + error.lineno - 1})") from error
            except RecursionError as error:
                raise ValueError("JSON nested too deeply") from error
            if len(self.text) > self.limit:
                raise ValueError(f"a value of more than {self.limit // 2**20} MiB, or not JSON, from line {self.line}")
            self.more()


def rows(name: str, stream: TextIO, limit: int) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Yield line and row.

    Raises: UserError with the line for a value that ends too early or is not JSON: where the next row starts is then
    not known.
    """
    text = _Text(stream, limit)
    try:
        if text.next() == "[":
            yield from _elements(text)
        else:
            yield from _members(text)
    except ValueError as error:
        raise UserError(f"{name}:{text.line}", str(error), "repair the file, or write one row a line") from error


def _decoder() -> json.JSONDecoder:
    """Return a decoder that takes NaN and Infinity, which pandas and Python write and JSON lacks, for null."""
    return json.JSONDecoder(parse_constant=lambda name: None)


def _elements(text: _Text) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    decoder = _decoder()
    for line in _members_of(text, "]"):
        yield line, _row(text.value(decoder))


def _members(text: _Text) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    decoder = _decoder()
    single: dict[str, Any] = {}
    start, rows = text.line, False
    for line in _members_of(text, "}"):
        key = text.value(decoder)
        if text.next() != ":":
            raise ValueError(f"no colon after {str(key)[:40]!r}")
        text.drop(1)
        text.next()
        value = text.value(decoder)
        if isinstance(value, dict) and not single:
            rows = True
            yield line, {"id": str(key), **value}
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value) and not _turns(value):
            rows = True
            yield from ((line, item) for item in value)
        else:
            single[str(key)] = value
    if single and not rows:  # beside rows, such as {"version": 1, "data": [...]}, it says something of the file
        yield start, single


def _members_of(text: _Text, close: str) -> Iterator[int]:
    """Yield the line of each member of an array or object; the caller takes the member before it asks for the next.

    Raises: ValueError for a comma too many or too few, and for a text that ends before the closing bracket.
    """
    text.drop(1)
    mark = text.next()
    while mark != close:
        if not mark:
            raise ValueError(f"the file ends before the closing {close}")
        yield text.line
        mark = text.next()
        if mark == ",":
            text.drop(1)
            mark = text.next()
            if mark == close:
                raise ValueError(f"a comma before the closing {close}")
        elif mark and mark != close:
            raise ValueError(f"no comma before {mark!r}")


def _turns(value: list[Any]) -> bool:
    """Tell the messages of one conversation from rows."""
    return bool({"role", "from"} & value[0].keys())


def _row(value: Any) -> dict[str, Any] | ValueError:
    if isinstance(value, dict):
        return value
    return ValueError(f"a JSON {type(value).__name__} where an object was expected")
