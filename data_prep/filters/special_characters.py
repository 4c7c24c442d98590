"""Remove characters by class: private use, emoji, ornaments; on request punctuation, symbols, digits. Off unless asked.

What a language needs is kept: letters and combining marks of every script, the joiners of Persian and Indic scripts,
and, when punctuation goes, apostrophes and hyphens inside words ("l'eau", "mother-in-law") and the marks between digits
("3.5"). Emoji go with their variation selectors, skin tones and joiners; digits and letters that could only be part of
one ("1", "#") stay. A removed character leaves a blank where it stood between words, and no double blanks; so
the lines of a text from which something is removed lose their indentation, and those of other texts do not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Literal

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 90

Class = Literal["private_use", "emoji", "ornaments", "currency", "mathematics", "symbols", "punctuation", "digits"]
_EMOJI = (
    (0x1F000, 0x1FAFF), (0x2600, 0x26FF), (0x2700, 0x27BF), (0x231A, 0x231B), (0x23E9, 0x23FA), (0x2B05, 0x2B07),
    (0x2B1B, 0x2B1C), (0x2B50, 0x2B55), (0x3030, 0x3030), (0x303D, 0x303D), (0x3297, 0x3297), (0x3299, 0x3299),
)  # fmt: skip
_PART_OF_EMOJI = "\ufe0f\u20e3\U000e0020-\U000e007f"
_ORNAMENTS = ((0x2190, 0x21FF), (0x2300, 0x23FF), (0x2500, 0x25FF), (0x2B00, 0x2BFF), (0x2022, 0x2023))
_IN_WORDS = frozenset("'\u2019-\u2010")
_IN_NUMBERS = frozenset(".,:/")
_BLANKS = re.compile(r"[ \t]{2,}")
_AT_ENDS = re.compile(r"[ \t]+(?=\n)|(?<=\n)[ \t]+")


class Settings(Section):
    """Which classes go."""

    remove: list[Class] = Field(default=["private_use", "emoji", "ornaments"], min_length=1)
    keep: str = Field(default="", description="Characters that stay whatever their class.")


def build(settings: Settings) -> Check:
    """Return a repair that drops what is nothing but special characters."""
    strip = remover(frozenset(settings.remove), settings.keep)

    def check(document: Document) -> Drop | None:
        document.text = strip(document.text)
        return None if document.text else Drop("special_characters", "no character is left")

    return check


def remover(classes: frozenset[Class], keep: str = "") -> Callable[[str], str]:
    """Return a function that removes the classes from a text."""
    pattern = _pattern(classes, keep)
    only_beyond_ascii = not any(character.isascii() for character in _members(classes))

    def strip(text: str) -> str:
        if only_beyond_ascii and text.isascii():
            return text
        removed = pattern.sub(" ", text)
        if removed == text:
            return text
        return _AT_ENDS.sub("", _BLANKS.sub(" ", removed)).strip()

    return strip


@cache
def _pattern(classes: frozenset[Class], keep: str) -> re.Pattern[str]:
    """Return what finds the characters to remove, with what belongs to an emoji."""
    unwanted = frozenset(_members(classes) - set(keep))
    in_words, in_numbers = sorted(unwanted & _IN_WORDS), sorted(unwanted & _IN_NUMBERS)
    plain = sorted(unwanted - _IN_WORDS - _IN_NUMBERS)
    ways = []
    if plain:
        ways.append(f"[{_ranges(plain)}]" + (f"[{_PART_OF_EMOJI}\u200d]*" if "emoji" in classes else ""))
    # Inside a word or a number they are spelling, elsewhere punctuation.
    if in_words:
        ways.append(rf"[{_ranges(in_words)}](?:(?<!\w.)|(?!\w))")
    if in_numbers:
        ways.append(rf"[{_ranges(in_numbers)}](?:(?<!\d.)|(?!\d))")
    return re.compile("|".join(ways))


@cache
def _members(classes: frozenset[Class]) -> frozenset[str]:
    return frozenset(
        character
        # Ideographs and Hangul (0x3400 to 0x9fff, 0xac00 to 0xd7a3, planes 2 and 3) are letters, so not looked at.
        for code in (*range(0x3400), *range(0xA000, 0xAC00), *range(0xD7A4, 0x20000), *range(0xF0000, 0x110000))
        if (character := chr(code)) and _class(code, unicodedata.category(character)) in classes
    )


def _class(code: int, category: str) -> Class | None:
    if category == "Co":
        return "private_use"
    if code > 0x7F and any(first <= code <= last for first, last in _EMOJI):
        return "emoji"
    if any(first <= code <= last for first, last in _ORNAMENTS):
        return "ornaments"
    return {
        "Sc": "currency", "Sm": "mathematics", "So": "symbols", "Sk": "symbols", "Nd": "digits", "No": "digits",
    }.get(category) or ("punctuation" if category[0] == "P" else None)  # type: ignore[return-value] # fmt: skip


def _ranges(characters: list[str]) -> str:
    """Return sorted characters as the inside of a regular expression's class."""
    found: list[tuple[int, int]] = []
    for code in map(ord, characters):
        if found and found[-1][1] == code - 1:
            found[-1] = (found[-1][0], code)
        else:
            found.append((code, code))
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(last))}" for first, last in found)
