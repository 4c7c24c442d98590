"""Write everything in lower case: for models that are to know no capitals. Off unless asked for.

It loses names, acronyms and sentence starts, so it comes last, after all that looks at them. Placeholders of removed
personal data (`<EMAIL>`) stay as they are. Lower case is Unicode's, without a language's own rules (Turkish dotless i).
"""

from __future__ import annotations

import re

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 95

_PLACEHOLDER = re.compile(r"(<[A-Z][A-Z_]*>)")


class Settings(Section):
    """Nothing to set."""


def build(settings: Settings) -> Check:
    """Return a repair that never drops."""

    def check(document: Document) -> Drop | None:
        document.text = lowered(document.text)
        return None

    return check


def lowered(text: str) -> str:
    """Return the text in lower case, placeholders aside."""
    if "<" not in text:
        return text.lower()
    parts = _PLACEHOLDER.split(text)  # every second one is a placeholder
    return "".join(part if index % 2 else part.lower() for index, part in enumerate(parts))
