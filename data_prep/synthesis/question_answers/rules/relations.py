"""What a thing does, needs, contains, and where and when: "X contains ...", "X lives in ...", "X blooms in June"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import OFTEN, base_form, pattern
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.subjects import SUBJECT

_WHAT = (
    r"(?P<verb>needs|requires|contains|produces|causes|provides|includes|affects|supports|stores|returns|accepts"
    r"|controls|regulates|measures|stimulates|destroys|removes|protects against|consists of|depends on|eats"
    r"|offers|describes|prevents|increases|reduces|implements|replaces|generates|holds|covers|connects)"
)
_WHERE = r"(?P<verb>lives|grows|stands|lies|occurs|starts|begins|develops|forms|comes|originates)"
_PLACE = r"(?P<place>in|on|at|near|under|beside|from)"
_DETERMINED = r"(?:the|an?|your|our|their|its|[A-Z]\w+)\b"
_TIME = (
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|spring|summer|autumn"
    r"|fall|winter|\d{1,2}(?::\d\d)?\s?(?:am|pm|o'clock)|noon|midnight|Mondays?|Tuesdays?|Wednesdays?|Thursdays?"
    r"|Fridays?|Saturdays?|Sundays?|infancy|(?:early |late )?(?:childhood|adulthood|adolescence))\b"
)


def _when(match: re.Match[str], subject: str) -> str:
    return f"When does {subject} {base_form(match['verb'])}?"


def _where(match: re.Match[str], subject: str) -> str:
    tail = " from" if match["place"] == "from" else ""
    return f"Where does {subject} {base_form(match['verb'])}{tail}?"


def _does(match: re.Match[str], subject: str) -> str:
    verb, _, rest = match["verb"].partition(" ")
    return f"What does {subject} {base_form(verb)}{' ' + rest if rest else ''}?"


PATTERNS = (
    pattern(SUBJECT + r" provides instructions for (?P<m>making|producing) ",
            "What does {s} provide instructions for {m}?"),
    pattern(SUBJECT + rf" {OFTEN}(?P<verb>blooms|opens|closes|starts|begins|ends|occurs|flowers|appears) "
            rf"(?:in|on|at|during|every|each) (?:the )?{_TIME}", _when),
    pattern(SUBJECT + rf" (?:is|are) (?:in bloom|at (?:its|their) best) in {_TIME}", "When is {s} in bloom?"),
    pattern(SUBJECT + rf" {OFTEN}{_WHERE} {_PLACE} {_DETERMINED}", _where),
    pattern(SUBJECT + rf" (?P<be>is|are) (?P<done>located|situated|kept|found|grown) {_PLACE} {_DETERMINED}",
            "Where {be} {s} {done}?"),
    pattern(SUBJECT + r" (?P<be>is|are) (?:looked after|kept|cared for) by (?P<who>[A-Z])", "Who looks after {s}?"),
    pattern(SUBJECT + r" is inherited in ", "How is {s} inherited?"),
    pattern(SUBJECT + r" (?P<be>is|are) associated with ", "What {be} {s} associated with?"),
    pattern(SUBJECT + r" (?P<be>is|are) (?:made up|made|composed) of ", "What {be} {s} made of?"),
    pattern(SUBJECT + rf" {OFTEN}{_WHAT} (?!that\b|\d|about|approximately|an estimated|people)", _does),
)  # fmt: skip


def find(passage: Passage) -> Iterator[Pair]:
    """Yield what the sentences of a passage say that things do."""
    yield from matched(passage, PATTERNS)
