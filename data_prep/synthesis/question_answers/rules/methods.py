"""How something is done with a thing: diagnosed, treated, inherited, made, installed; what it is used for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import OFTEN, pattern
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.subjects import SUBJECT

_DONE = (
    r"(?P<done>diagnosed|treated|managed|prevented|detected|inherited|transmitted|confirmed|measured|produced|installed"
    r"|configured|performed|controlled|passed on|administered|manufactured|assembled|cleaned|harvested|propagated"
    r"|computed|calculated|trained|stored|cooked|prepared|repaired|removed|identified|corrected|enabled|disabled)"
)
_MEANS = r"(?:by|with|using|through|in an?|based on|from|via|on the basis of|when)\b"


def _how(match: re.Match[str], subject: str) -> str:
    be = match["be"]
    if be.startswith(("can", "may", "should", "must")):
        return f"How {be.split()[0]} {subject} be {match['done']}?"
    return f"How {be} {subject} {match['done']}?"


PATTERNS = (
    pattern(SUBJECT + rf" (?P<be>is|are|was|were|can be|may be|should be|must be) {OFTEN}{_DONE} {_MEANS}", _how),
    pattern(SUBJECT + rf" (?P<be>is|are) {OFTEN}used (?:to|for|as|in) ", "What {be} {s} used for?"),
    pattern(r"(?:The )?[Tt]reatments? (?:for|of) (?P<s>[^,;:()]{2,70}?)(?: \([^()]+\))? "
            r"(?:(?:may|can|usually|typically|often|generally) )?(?:includes?|involves?|consists? of|is|are) ",
            "What is the treatment for {s}?"),
    pattern(r"(?:The )?[Tt]reatments? (?:for|of) (?P<s>[^,;:()]{2,70}?)(?: \([^()]+\))? depends? (?:up)?on ",
            "What does the treatment of {s} depend on?"),
    pattern(r"(?:The |A )?[Dd]iagnosis of (?P<s>[^,;:()]{2,70}?)(?: \([^()]+\))? (?:is|may be|can be|requires|relies) ",
            "How is {s} diagnosed?"),
    pattern(r"(?:There is|There's) (?:currently |presently )?no (?P<what>cure|treatment|test|known cure) "
            r"for (?P<s>[^,;:.]{2,70}?)(?:[.,]| but)", "What is known about a {what} for {s}?"),
)  # fmt: skip


def find(passage: Passage) -> Iterator[Pair]:
    """Yield what the sentences of a passage say about how things are done."""
    yield from matched(passage, PATTERNS)
