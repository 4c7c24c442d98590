"""Back-translation (Sennrich et al. 2016, https://aclanthology.org/P16-1009): into another language and back.

The recipe's generator translates, both ways. The answer is not touched. A translation back that is empty, is the same
again, or has lost a number of the original is refused with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from data_prep.records import Message
from data_prep.synthesis.augmentation import Candidate, Context, Method, MethodSettings, Origin

NEEDS_GENERATOR = True


class Settings(MethodSettings):
    """Through which languages; the copies of a row take them in turn."""

    languages: list[str] = Field(default_factory=lambda: ["German", "French", "Spanish"], min_length=1)
    back: str = Field("English", min_length=1, description="The language of the rows.")


def build(settings: Settings, context: Context) -> Method:
    """Return the method."""

    def method(origins: Sequence[Origin]) -> Iterator[list[Candidate]]:
        jobs = [
            (place, settings.languages[copy % len(settings.languages)])
            for place, origin in enumerate(origins)
            for copy in range(settings.copies if context.chosen(origin, settings.share) else 0)
        ]
        there = list(context.say(iter([request(origins[place].text, into) for place, into in jobs])))
        moved = [number for number, (text, _) in enumerate(there) if text.strip()]
        back = dict(zip(moved, context.say(request(there[at][0], settings.back) for at in moved), strict=True))
        found: list[list[Candidate]] = [[] for _ in origins]
        for number, (place, _) in enumerate(jobs):
            text, reason = back.get(number, ("", there[number][1]))
            found[place].append(candidate(origins[place], text, reason))
        yield from found

    return method


def request(text: str, language: str) -> list[Message]:
    """Return what the generator is asked."""
    asked = f"Translate the text into {language}. Write the translation only.\n\nText: {text}"
    return [{"role": "user", "content": asked}]


def candidate(origin: Origin, text: str, reason: str) -> Candidate:
    """Return what came back, or why it is of no use."""
    text = re.sub(r"^(?:Text|Translation|English)\s*:\s*", "", text.strip()).strip().strip('"“”')
    if reason or not text:
        return Candidate("", reason=reason or "empty translation")
    if set(re.findall(r"\d+", origin.text)) - set(re.findall(r"\d+", text)):
        return Candidate("", reason="a number was lost")
    if not 0.4 <= (len(text) + 10) / (len(origin.text) + 10) <= 2.5:
        return Candidate("", reason="much longer or shorter")
    return Candidate(text)
