"""What people do to a question at a keyboard: slips of the finger, no capitals, no question mark.

A slip hits a word of four letters or more without digits: two letters swapped, one left out, one doubled, or its
neighbour on the keyboard hit instead. The first letter stays, as it does in most slips, and so does the word's place.
"""

from __future__ import annotations

import random
import re

from pydantic import Field

from data_prep.synthesis.augmentation import Candidate, Context, Method, MethodSettings, Origin, one_by_one, word_spans

NEEDS_GENERATOR = False
FOLDED = False  # case and punctuation are what it changes, so rows that differ in them only are no duplicates
ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
SHORTEST = 4


class Settings(MethodSettings):
    """How careless the typist is."""

    typos: float = Field(0.1, ge=0, le=0.5, description="Share of words with a slip; at least one word if above 0.")
    lower_case: float = Field(0.3, ge=0, le=1, description="Share of rows that lose all capitals.")
    drop_punctuation: float = Field(0.3, ge=0, le=1, description="Share of rows that lose the mark at their end.")


def build(settings: Settings, context: Context) -> Method:
    """Return the method."""

    def reword(origin: Origin, copy: int) -> Candidate:
        chance = context.chance(origin.id, copy)
        text = with_typos(origin.text, settings.typos, chance)
        if chance.random() < settings.lower_case:
            text = text.lower()
        if chance.random() < settings.drop_punctuation:
            text = re.sub(r"\s*[.!?]+\s*$", "", text)
        return Candidate(text)

    return one_by_one(context, settings, reword)


def with_typos(text: str, share: float, chance: random.Random) -> str:
    """Return the text with slips in a share of its words."""
    spans = [(start, end) for start, end in word_spans(text) if end - start >= SHORTEST and text[start:end].isalpha()]
    count = min(len(spans), max(1, round(share * len(word_spans(text))))) if share else 0
    for start, end in sorted(chance.sample(spans, count), reverse=True):
        text = text[:start] + slip(text[start:end], chance) + text[end:]
    return text


def slip(word: str, chance: random.Random) -> str:
    """Return a word with one slip, never the word itself."""
    place = chance.randrange(1, len(word) - 1)
    letter, following = word[place], word[place + 1]
    kind = chance.choice(("swap", "drop", "double", "neighbour"))
    if kind == "swap" and letter != following:
        return word[:place] + following + letter + word[place + 2 :]
    if kind == "drop":
        return word[:place] + word[place + 1 :]
    if kind == "neighbour" and (keys := neighbours(letter)):
        return word[:place] + chance.choice(keys) + word[place + 1 :]
    return word[:place] + letter + word[place:]


def neighbours(letter: str) -> list[str]:
    """Return the letters beside one on a QWERTY keyboard, in its case."""
    for row in ROWS:
        place = row.find(letter.lower())
        if place >= 0:
            keys = [row[at] for at in (place - 1, place + 1) if 0 <= at < len(row)]
            return [key.upper() for key in keys] if letter.isupper() else keys
    return []
