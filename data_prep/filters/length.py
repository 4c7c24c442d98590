"""Drop documents that are too short to teach anything or too long to be one text."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from data_prep import splits
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 45


class Settings(Section):
    """Bounds in words, Gopher's own being 50 and 100,000 (Rae et al. 2021, appendix A), and in characters."""

    min_words: int = Field(default=50, ge=0)
    max_words: int = Field(default=100_000, ge=1)
    min_characters: int = Field(default=0, ge=0, description="For languages that are written without blanks.")
    max_characters: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if self.max_characters is not None and self.min_characters > self.max_characters:
            raise ValueError(f"min_characters {self.min_characters} is above max_characters {self.max_characters}")
        return self


def build(settings: Settings) -> Check:
    """Return a check of the number of words and of characters."""

    def check(document: Document) -> Drop | None:
        characters = len(document.text)
        if characters < settings.min_characters:
            return Drop("too_short", f"{characters} characters, at least {settings.min_characters}")
        if settings.max_characters is not None and characters > settings.max_characters:
            return Drop("too_long", f"{characters} characters, at most {settings.max_characters}")
        count = len(splits.words(document.text))
        if count < settings.min_words:
            return Drop("too_short", f"{count} words, at least {settings.min_words}")
        if count > settings.max_words:
            return Drop("too_long", f"{count} words, at most {settings.max_words}")
        return None

    return check
