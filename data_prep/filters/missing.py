"""Fill in or refuse missing values: a document without the title, address, licence or date that its use asks for.

A value is missing when the field is absent, empty, or says so in words ("N/A", "null", "unknown"). Fields are those of
a Document or keys of its `meta`. A text that is nothing but such a word is always missing.
"""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 5

FIELDS = ("title", "url", "license")
PLACEHOLDERS = (
    "-", "--", "?", "...", "n/a", "na", "n.a.", "nan", "nil", "none", "null", "(null)", "undefined", "unknown",
    "not available", "not applicable", "untitled", "no title", "tbd", "todo",
)  # fmt: skip


class Settings(Section):
    """Which fields a document must have."""

    required: list[str] = Field(default_factory=list, description="Such as title, url, license, or keys of meta.")
    defaults: dict[str, str] = Field(default_factory=dict, description="What to write where a field is missing.")
    placeholders: list[str] = Field(default=list(PLACEHOLDERS), description="Values that stand for none; any case.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        both = sorted(set(self.required) & self.defaults.keys())
        if both:
            raise ValueError(f"{', '.join(both)} cannot be required and have a default")
        fixed = sorted({"id", "text", "source", "meta"} & {*self.required, *self.defaults})
        if fixed:
            raise ValueError(f"{', '.join(fixed)}: every document has it; name title, url, license or keys of meta")
        return self


def build(settings: Settings) -> Check:
    """Return a check that fills in defaults and drops what lacks a required field."""
    placeholders = frozenset(item.casefold().strip() for item in settings.placeholders) | {""}

    def check(document: Document) -> Drop | None:
        if _missing(document.text, placeholders):
            return Drop("missing_text", repr(document.text[:80]))
        for field, value in settings.defaults.items():
            if _missing(_value(document, field), placeholders):
                _fill(document, field, value)
        for field in settings.required:
            value = _value(document, field)
            if _missing(value, placeholders):
                return Drop(f"missing_{field}", "absent" if value in (None, "") else f"it says {value!r}")
        return None

    return check


def _value(document: Document, field: str) -> Any:
    return getattr(document, field) if field in FIELDS else document.meta.get(field)


def _missing(value: Any, placeholders: frozenset[str]) -> bool:
    if isinstance(value, str):
        # Placeholders are short; a long text need not be folded to know that it is none.
        return value.isspace() or (len(value) < 40 and value.casefold().strip() in placeholders)
    return value is None or value != value or value in ([], {})


def _fill(document: Document, field: str, value: str) -> None:
    if field in FIELDS:
        setattr(document, field, value)
    else:
        document.meta[field] = value
