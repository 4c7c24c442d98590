"""Drop documents that look like lists or padded pages: FineWeb's quality rules.

Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", section 3.5; keys and
reasons are those of datatrove's code. Of the lines that are not blank, at least 12 % must end in a terminal punctuation
mark, at most 67 % may be short (30 characters or fewer), and at most 10 % of the characters may lie in lines that were
there before. The code has a fourth rule that the paper does not name: at most 0.3 line breaks to a word, where words
are runs of letters and digits and each punctuation mark.

datatrove's default for `char_duplicates_ratio` is 0.01, the paper's threshold 0.1; the default here is the paper's.
"""

from __future__ import annotations

from pydantic import Field

from data_prep import splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 67

# Full stops, question and exclamation marks of the scripts that have their own; quotation marks are not among them.
STOP_CHARS = frozenset(".?!。．｡？！؟۔।॥።፧፨།༎။၊។៕᠃᠉‼‽⁇⁈⁉⸮՜՞։܀܁܂߹꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꩝꩞꩟꫰꫱꯫﹒﹖﹗")


class Settings(Section):
    """Thresholds as published."""

    line_punct_thr: float = Field(default=0.12, ge=0, le=1, description="Least share of lines that end in a mark.")
    line_punct_exclude_zero: bool = Field(default=False, description="Keep documents in which no line ends in a mark.")
    short_line_thr: float = Field(default=0.67, ge=0, le=1, description="Largest share of short lines.")
    short_line_length: int = Field(default=30, ge=0, description="Characters of a short line, at most.")
    char_duplicates_ratio: float = Field(default=0.1, ge=0, le=1, description="In lines that were there before.")
    new_line_ratio: float = Field(default=0.3, ge=0, description="Line breaks to a word, at most.")


def build(settings: Settings) -> Check:
    """Return a check that names the first rule broken."""

    def check(document: Document) -> Drop | None:
        lines = splits.lines(document.text)
        if not lines:
            return Drop("empty", "no line")
        return (
            _ends(settings, lines)
            or _short(settings, lines)
            or _duplicates(settings, lines, document.text)
            or _breaks(settings, document.text)
        )

    return check


def _ends(settings: Settings, lines: list[str]) -> Drop | None:
    ended = sum(line[-1] in STOP_CHARS for line in lines)
    if ended >= settings.line_punct_thr * len(lines) or (not ended and settings.line_punct_exclude_zero):
        return None
    return Drop("line_punct_ratio", f"{ended} of {len(lines)} lines end in a punctuation mark")


def _short(settings: Settings, lines: list[str]) -> Drop | None:
    length = settings.short_line_length
    short = sum(len(line) <= length for line in lines)
    if short <= settings.short_line_thr * len(lines):
        return None
    return Drop("short_line_ratio", f"{short} of {len(lines)} lines have at most {length} characters")


def _duplicates(settings: Settings, lines: list[str], text: str) -> Drop | None:
    different = set(lines)
    if len(different) == len(lines):
        return None
    repeated = sum(map(len, lines)) - sum(map(len, different))
    total = len(text) - text.count("\n")
    if repeated <= settings.char_duplicates_ratio * total:
        return None
    return Drop("char_dup_ratio", f"{repeated} of {total} characters lie in repeated lines")


def _breaks(settings: Settings, text: str) -> Drop | None:
    breaks = text.count("\n")
    # There are at least as many tokens as words; so most texts need no tokens.
    if breaks <= settings.new_line_ratio * len(splits.words(text)):
        return None
    tokens = len(splits.tokens(text))
    if breaks <= settings.new_line_ratio * tokens:
        return None
    return Drop("list_ratio", f"{breaks} line breaks to {tokens} words")
