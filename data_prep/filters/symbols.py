"""Drop outliers by what their characters are: too few letters, too many symbols, digits or capitals.

Shares are of the characters that are not white space (capitals: of the letters). The bounds are wide: over the English
and technical documents that we looked at, prose has 93 to 98 % letters and 2 to 6 % capitals, tables of figures and
listings of code 60 to 80 % letters. Underscores, operators and emoji are
symbols; combining marks are letters; of ASCII's marks .,;:!?'"()- are punctuation.
"""

from __future__ import annotations

import string

from pydantic import Field

from data_prep import splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 55

_CAPITALS = string.ascii_uppercase.encode()
_LETTERS = string.ascii_letters.encode()
_DIGITS = string.digits.encode()
_BLANKS = string.whitespace.encode()
_PUNCTUATION = b".,;:!?'\"()-" + splits.MARK.encode()


class Settings(Section):
    """The largest share of each kind; null switches a rule off."""

    max_symbols: float | None = Field(default=0.25, gt=0, le=1, description="Neither letters, digits nor punctuation.")
    max_digits: float | None = Field(default=0.3, gt=0, le=1)
    max_capitals: float | None = Field(default=0.5, gt=0, le=1, description="Share of the letters.")
    min_letters: float | None = Field(default=0.5, ge=0, le=1)


def build(settings: Settings) -> Check:
    """Return a check that names the first share out of bounds."""

    def check(document: Document) -> Drop | None:
        kinds = splits.kinds(document.text)
        total = len(kinds) - _count(kinds, _BLANKS)
        if not total:
            return Drop("empty", "no characters")
        letters, digits = _count(kinds, _LETTERS), _count(kinds, _DIGITS)
        symbols = total - letters - digits - _count(kinds, _PUNCTUATION)
        if settings.max_symbols is not None and symbols > settings.max_symbols * total:
            return Drop("symbol_share", f"{symbols} of {total} characters are symbols")
        if settings.max_digits is not None and digits > settings.max_digits * total:
            return Drop("digit_share", f"{digits} of {total} characters are digits")
        if settings.min_letters is not None and letters < settings.min_letters * total:
            return Drop("letter_share", f"{letters} of {total} characters are letters")
        capitals = _count(kinds, _CAPITALS)
        if settings.max_capitals is not None and capitals > settings.max_capitals * letters:
            return Drop("capital_share", f"{capitals} of {letters} letters are capitals")
        return None

    return check


def _count(kinds: bytes, members: bytes) -> int:
    return len(kinds) - len(kinds.translate(None, members))
