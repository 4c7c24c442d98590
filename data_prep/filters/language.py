"""Drop documents, or paragraphs, that are in none of the wanted languages (see `data_prep.language`).

A document's language goes to its `meta["language"]`, `unknown` where the text gives no evidence or not enough of it: a
table, a list of names, less than `min_words` words. Unknown is kept, as nothing speaks against it.

With `paragraphs: true` each paragraph is judged by itself, and those in another language are left out; the document is
dropped when nothing else was in it. A paragraph is what stands between blank lines.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from data_prep.filters import Check, Drop
from data_prep.language import LANGUAGES, Guess, identify
from data_prep.records import Document
from recipes.sections import Section

ORDER = 50
_PARAGRAPHS = re.compile(r"(\n[^\S\n]*\n\s*)")
_WORD_AND_BLANK = re.compile(r"\S+\s")
_SPACELESS = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo"})  # written without blanks: words cannot be counted


class Settings(Section):
    """Which languages to keep."""

    keep: list[str] = Field(default=["en"], min_length=1, description="Two-letter codes (ISO 639-1).")
    min_confidence: float = Field(
        default=0.8, ge=0, le=1, description="A language named with less is taken for unknown."
    )
    min_words: int = Field(default=10, ge=1, description="Shorter texts are kept as unknown.")
    paragraphs: bool = Field(default=False, description="Judge paragraph by paragraph and leave foreign ones out.")

    @field_validator("keep")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = [item for item in value if item not in LANGUAGES]
        if unknown:
            known = ", ".join(LANGUAGES)
            raise ValueError(f"{', '.join(unknown)} is not told apart by this filter; it knows {known}")
        return value


def build(settings: Settings) -> Check:
    """Return a check that drops documents in another language, or their paragraphs in another language."""
    wanted = {*settings.keep, ""}

    def check(document: Document) -> Drop | None:
        if settings.paragraphs and not _leave_out(document, settings, wanted):
            return Drop("language", f"no paragraph in {', '.join(settings.keep)}")
        language = _language(document.text, settings)
        document.meta["language"] = language or "unknown"
        return None if language in wanted else Drop("language", f"{language}, not {', '.join(settings.keep)}")

    return check


def detect(text: str) -> str:
    """Return a text's language as the filter's default settings see it, or "" for unknown."""
    return _language(text, Settings())


def _language(text: str, settings: Settings) -> str:
    guess = identify(text)
    sure = guess.confidence >= settings.min_confidence and _long_enough(text, guess, settings.min_words)
    return guess.language if sure else ""


def _long_enough(text: str, guess: Guess, min_words: int) -> bool:
    if len(text) >= 40 * min_words or guess.language in _SPACELESS:
        return True
    return sum(1 for _ in _WORD_AND_BLANK.finditer(f"{text} ")) >= min_words


def _leave_out(document: Document, settings: Settings, wanted: set[str]) -> bool:
    """Take foreign paragraphs out of a document; tell whether anything is left."""
    parts = _PARAGRAPHS.split(document.text)
    kept = [index for index in range(0, len(parts), 2) if _language(parts[index], settings) in wanted]
    foreign = (len(parts) + 1) // 2 - len(kept)
    if foreign and kept:
        # Each paragraph keeps the blank lines before it; the first one that is left needs none.
        document.text = "".join("".join(parts[max(index - 1, 0) : index + 1]) for index in kept)
        document.text = document.text if kept[0] == 0 else document.text.lstrip("\n")
        document.meta["foreign_paragraphs"] = foreign
    return bool(kept)
