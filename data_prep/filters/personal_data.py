"""Replace personal data with placeholders, or drop the documents that hold it (see `data_prep.personal_data`)."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from data_prep import personal_data
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 80

Kind = Literal["IBAN", "CREDIT_CARD", "EMAIL", "IP", "PHONE"]


class Settings(Section):
    """What to look for and what to do with it."""

    kinds: list[Kind] = Field(default=list(get_args(Kind)), min_length=1)
    action: Literal["redact", "drop"] = "redact"


def build(settings: Settings) -> Check:
    """Return a check that redacts, or drops."""
    kinds = frozenset(settings.kinds)

    def check(document: Document) -> Drop | None:
        text, counts = personal_data.redact(document.text, kinds)
        if not counts:
            return None
        if settings.action == "drop":
            return Drop("personal_data", ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())))
        document.text = text
        document.meta["redacted"] = dict(sorted(counts.items()))
        return None

    return check
