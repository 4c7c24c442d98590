"""Drop documents that are too short to teach anything or too long to be one text."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 45


class Settings(Section):
    """Bounds in words; Gopher's own are 50 and 100,000 (Rae et al. 2021, appendix A)."""

    min_words: int = Field(default=50, ge=1)
    max_words: int = Field(default=100_000, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self


def build(settings: Settings) -> Check:
    """Return a check of the number of words."""

    def check(document: Document) -> Drop | None:
        count = len(document.text.split())
        if count < settings.min_words:
            return Drop("too_short", f"{count} words, at least {settings.min_words}")
        if count > settings.max_words:
            return Drop("too_long", f"{count} words, at most {settings.max_words}")
        return None

    return check
