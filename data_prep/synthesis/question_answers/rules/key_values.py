"""Lines of the form "Key: value" under a title: "What is the key of the title?"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.subjects import title_of

_LINE = re.compile(
    r"^[ \t]*(?:[-*•][ \t]+)?\*{0,2}(?P<key>[A-Z][a-z]+(?: [a-z]+){0,2})\*{0,2}[ \t]*:\*{0,2}[ \t]+"
    r"(?P<value>\S.*?)[ \t]*$",
    re.MULTILINE,
)
_NO_KEY = re.compile(
    r"^(?:note|notes|warning|summary|example|examples|see|tip|source|important|for|date|from|to|subject|dear|answer"
    r"|question|contact|phone|email|address|tel|fax|website|web)\b",
    re.IGNORECASE,
)
VALUE_WORDS = 20
FEWEST = 2  # a single such line is as likely a sentence with a colon


def _adjacent(lines: list[re.Match[str]], text: str) -> Iterator[re.Match[str]]:
    """Yield the lines that have another one directly above or below them."""
    for place, match in enumerate(lines):
        above = place > 0 and text[lines[place - 1].end() : match.start()].strip() == ""
        below = place + 1 < len(lines) and text[match.end() : lines[place + 1].start()].strip() == ""
        if above or below:
            yield match


def find(passage: Passage) -> Iterator[Pair]:
    """Yield a pair for each line of a block of keys and values."""
    subject = title_of(passage)
    lines = [match for match in _LINE.finditer(passage.text) if not _NO_KEY.match(match["key"])]
    if subject is None or len(lines) < FEWEST or "```" in passage.text:  # a log or a listing is no card
        return
    for match in _adjacent(lines, passage.text):
        if len(match["value"].split()) <= VALUE_WORDS:
            key = match["key"].lower()
            be = "are" if key.endswith("s") and not key.endswith(("ss", "us", "is")) else "is"
            start = passage.start + match.start("value")
            question = f"What {be} the {key} of {subject}?"
            yield Pair(question, match["value"], start, start + len(match["value"]))
