"""Replace personal data with placeholders, drop the documents that hold it, or only count it.

- `redact`: what is found becomes `<EMAIL>`, or with `numbered: true` `<EMAIL_1>`, the same number for the same value in
  a document; counts go to `meta["redacted"]`.
- `drop`: a document with more than `max_findings` goes; one with fewer is left as it is.
- `report`: the text stays; counts go to `meta["personal_data"]`.

What is found and how: `data_prep.personal_data`. PERSON and LOCATION are told by a model, which must be installed.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, Self, get_args

from pydantic import Field, model_validator

from data_prep import personal_data
from data_prep.filters import Check, Drop
from data_prep.personal_data.names import MODEL_KINDS, Names, missing
from data_prep.records import Document
from recipes.sections import Section

ORDER = 80

Kind = Literal[
    "SECRET", "IBAN", "CREDIT_CARD", "US_SSN", "NATIONAL_ID", "EMAIL", "MAC", "IP", "URL", "PHONE", "ADDRESS",
    "PERSON", "LOCATION",
]  # fmt: skip


class Settings(Section):
    """What to look for and what to do with it."""

    kinds: list[Kind] = Field(
        default=[kind for kind in get_args(Kind) if kind in personal_data.DEFAULT_KINDS],
        min_length=1,
        description="All kinds with a form but URL and ADDRESS by default; PERSON and LOCATION need a model.",
    )
    action: Literal["redact", "drop", "report"] = "redact"
    numbered: bool = Field(default=False, description="<EMAIL_1>: the same number for the same value of a document.")
    max_findings: int = Field(default=0, ge=0, description="With action drop: how many a document may have.")
    model: str = Field(default="en_core_web_sm", description="spaCy pipeline for PERSON and LOCATION.")
    min_score: float = Field(default=0.5, ge=0, le=1, description="How sure the model must be.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        asked = [kind for kind in self.kinds if kind in MODEL_KINDS]
        if asked and (reason := missing(self.model)):
            raise ValueError(f"kinds has {', '.join(asked)}, but {reason}")
        if self.max_findings and self.action != "drop":
            raise ValueError(f"max_findings {self.max_findings} has no effect with action {self.action}: write drop")
        if self.numbered and self.action != "redact":
            raise ValueError(f"numbered has no effect with action {self.action}: write redact")
        return self


def build(settings: Settings) -> Check:
    """Return a check that redacts, drops or reports."""
    kinds = frozenset(settings.kinds)
    names = Names(settings.model, settings.min_score) if kinds.intersection(MODEL_KINDS) else None

    def check(document: Document) -> Drop | None:
        if settings.action == "redact":
            text, counts = personal_data.redact(document.text, kinds, settings.numbered, names)
            if counts:
                document.text = text
                document.meta["redacted"] = dict(sorted(counts.items()))
            return None
        counts = personal_data.counted(personal_data.find(document.text, kinds, names))
        if settings.action == "drop" and counts.total() > settings.max_findings:
            return Drop("personal_data", _listed(counts))
        if counts and settings.action == "report":
            document.meta["personal_data"] = dict(sorted(counts.items()))
        return None

    return check


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items()))
