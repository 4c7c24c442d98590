"""Repair text that was decoded with the wrong encoding, or drop it where too much is lost.

"cafÃ©" was UTF-8 read as Windows-1252; ftfy (https://ftfy.readthedocs.io) turns it back, through several layers if need
be. It costs a second per megabyte, so a cheap test asks first, line by line: does the line hold a pair of characters
that such an accident leaves behind? Where ftfy leaves a line as it is, a stricter test follows: a line whose
characters, written in one of the other usual encodings, are UTF-8 without a fault was UTF-8. A line of ordinary text in
that encoding never is, as its letters follow each other in ways that UTF-8 does not have.

Characters that are lost for good show as U+FFFD; a document with more than `max_lost` of them per character is dropped.

Left out: what was lost without a trace (letters turned to question marks).
"""

from __future__ import annotations

import re

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 10

# First bytes of UTF-8 sequences (0xC2 to 0xF4) and the bytes after them (0x80 to 0xBF), each read as one of the usual
# single-byte encodings: Latin-1 and Windows-1252 first, then Windows-1251, 1250, 437 and Mac Roman.
_FIRST = (
    "\u00c2-\u00c6\u00c8-\u00cb\u00d0-\u00d1\u00d7-\u00db\u00e0-\u00f0\u0412\u0413\u0420\u0421\u0432"
    "\u0102\u0139\u251c\u2500\u252c\u0393\u221a\u00ac\u201a"
)
_AFTER = (
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014\u2018-\u201e\u2020-\u2022\u2026\u2030\u2039"
    "\u203a\u20ac\u2122\u0402-\u040f\u0452-\u045f\u0102-\u017c\u00c7\u00fc\u00e9\u00a9\u2260\u00b1-\u00bf\u221e\u2264\u2265\u03c0\u222b"
)
_SUSPECT = re.compile(f"[{_FIRST}][{_AFTER}]|[\u0080-\u0084\u0086-\u009f]|\u00ef\u00bb\u00bf")
# The same for UTF-8 read as Windows-1251 and as DOS's 437: ordinary Russian has such pairs, too ("и…"), but then fails
# the stricter test.
_STRICTLY = re.compile(
    "[\u0412-\u0444][\u0401-\u040f\u0451-\u045f\u0490\u0491\u0080-\u00bf\u2013-\u2122]"
    "|[\u2500-\u256c][\u00a1-\u00ff\u0192\u20a7\u2310\u2500-\u2593]"
)
_READ_AS = (
    "sloppy-windows-1251", "sloppy-windows-1250", "sloppy-windows-1253", "sloppy-windows-1254", "sloppy-windows-1257",
    "macroman", "cp437", "koi8-r",
)  # fmt: skip
LOST = "\ufffd"


class Settings(Section):
    """How much loss is borne."""

    max_lost: float = Field(
        default=0.002, ge=0, le=1, description="Share of characters that may be lost for good (U+FFFD)."
    )


def build(settings: Settings) -> Check:
    """Return a check that repairs lines and drops documents that are beyond repair."""

    def check(document: Document) -> Drop | None:
        text = repair(document.text)
        if text != document.text:
            document.meta["encoding_repaired"] = True
            document.text = text
        lost = text.count(LOST)
        if lost > settings.max_lost * len(text):
            return Drop("encoding_damage", f"{lost} of {len(text)} characters are lost")
        return None

    return check


def repair(text: str) -> str:
    """Return the text with wrongly decoded lines put right."""
    if text.isascii() or not (_SUSPECT.search(text) or _STRICTLY.search(text)):
        return text
    return "\n".join(_fixed(line) for line in text.split("\n"))


def _fixed(line: str) -> str:
    if line.isascii():
        return line
    suspect = _SUSPECT.search(line)
    if not suspect and not _STRICTLY.search(line):
        return line
    from ftfy import fix_encoding

    fixed: str = fix_encoding(line) if suspect else line
    return fixed if fixed != line else _was_utf8(line)


def _was_utf8(line: str) -> str:
    """Return the text whose UTF-8 was read in another encoding, or the line itself."""
    for codec in _READ_AS:
        try:
            return line.encode(codec).decode("utf-8")
        except UnicodeError:
            continue
    return line
