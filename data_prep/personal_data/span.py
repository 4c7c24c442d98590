"""Places in a text: what is found, and where it is worth looking."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]
Search = Callable[[str, list[Span]], Iterator[Span]]  # text and its runs of digits -> places

# Six digits or more, with little between them: the shortest that a phone, card, IBAN or id number holds.
_DIGIT_RUN = re.compile(r"[0-9](?:[ ./()+-]{0,3}[0-9]){5,}")


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: what it is and where it stands in the text."""

    kind: str
    start: int
    end: int


def digit_runs(text: str) -> list[Span]:
    """Return where a text has runs of six digits or more."""
    return [match.span() for match in _DIGIT_RUN.finditer(text)]


def matches(pattern: re.Pattern[str], text: str, near: Iterable[Span], margin: int = 48) -> Iterator[re.Match[str]]:
    """Yield a pattern's matches around the places given; margins that meet are searched as one."""
    for start, end in windows(near, margin):
        yield from pattern.finditer(text, start, end)


def windows(near: Iterable[Span], margin: int) -> Iterator[Span]:
    """Yield the places with a margin on both sides, joined where they touch."""
    start = end = -1
    for first, last in near:
        if first - margin > end:
            if end >= 0:
                yield max(start, 0), end
            start = first - margin
        end = last + margin
    if end >= 0:
        yield max(start, 0), end


def occurrences(part: str, text: str) -> Iterator[Span]:
    """Yield where a string stands in a text."""
    length, position = len(part), text.find(part)
    while position >= 0:
        yield position, position + length
        position = text.find(part, position + length)
