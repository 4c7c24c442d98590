"""One kind of line end, one blank between words, at most one empty line in a row."""

from __future__ import annotations

import re

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 30

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_BLANKS = re.compile("[ \t\u00a0\u2000-\u200a\u202f\u205f\u3000]+")
_TRAILING = re.compile(r" +(?=\n)")
_TRAILING_BLANKS = re.compile(r"(?<![ \t])[ \t]++(?=\n)")  # tried once for each run of blanks, however long
_LEADING = re.compile(r"(?<=\n) +")
_EMPTY_LINES = re.compile(r"\n{3,}")
# What may need repair, beside what only texts beyond ASCII have.
_IRREGULAR = ("  ", "\t", "\r", " \n", "\n ", "\n\n\n", "\x0b", "\x0c")
_BEYOND_ASCII = re.compile("[\x85\u00a0\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_INSIDE = re.compile(r"(?<=\S)[ \t\u00a0]{2,}(?=\S)")


class Settings(Section):
    """What white space means something."""

    keep_indentation: bool = Field(default=False, description="True for text with program code in it.")


def build(settings: Settings) -> Check:
    """Return a repair that drops only what is empty."""

    def check(document: Document) -> Drop | None:
        document.text = tidy(document.text, keep_indentation=settings.keep_indentation)
        return None if document.text else Drop("empty", "no text is left")

    return check


def tidy(text: str, *, keep_indentation: bool = False) -> str:
    """Return the text with its white space made regular."""
    if not any(sign in text for sign in _IRREGULAR) and (text.isascii() or not _BEYOND_ASCII.search(text)):
        return text.strip("\n").rstrip() if keep_indentation else text.strip()
    text = _LINE_ENDS.sub("\n", text)
    if keep_indentation:
        text = _TRAILING_BLANKS.sub("", _INSIDE.sub(" ", text))
        return _EMPTY_LINES.sub("\n\n", text).strip("\n").rstrip()
    text = _LEADING.sub("", _TRAILING.sub("", _BLANKS.sub(" ", text)))
    return _EMPTY_LINES.sub("\n\n", text).strip()
