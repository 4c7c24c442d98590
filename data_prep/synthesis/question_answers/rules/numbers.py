"""Numbers, dates and sizes: how common, how tall, how much, when, by whom, and "the A of X is B"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.patterns import pattern
from data_prep.synthesis.question_answers.subjects import SUBJECT

_MONTH = r"(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_ABOUT = (
    r"(?:(?:about|approximately|around|roughly|nearly|almost|an estimated|up to|over|more than|fewer than|less than"
    r"|only|as|at least|just) )*"
)
_MADE = (
    r"(?P<done>founded|established|built|opened|born|discovered|invented|published|released|introduced|created|written"
    r"|described|launched|completed|named|designed|developed|closed|formed|found)"
)
_NO_VALUE = re.compile(
    r"(?:with|in|at|on|full|from|by|for|about|based|different|similar|as|so|very|more|less|most|\w+ly|\w+ed|\w+er"
    r"|thought|unclear|made|done|being|always|never|often|up|there|what|when|known|found)\b"
)
_COUNTS = re.compile(r"the (?:number|risk|amount|use|presence|lack|rest|majority|absence|possibility|effect|end)\b")
_MEASURES = r"(?P<how>tall|long|wide|high|deep|old|heavy|thick)"


def _attribute(match: re.Match[str], subject: str) -> str | None:
    """Return the question to "The A of X is B"; None where B is no value, or A only counts."""
    value = match.string[match.end() :]
    if _NO_VALUE.match(value) or _COUNTS.match(subject):
        return None
    head = subject.split(" of ")[0].split(" for ")[0]
    person = re.search(r"(?:er|or|ist|ian|man)$", head) and re.match(r"[A-Z]\w+(?: [A-Z]\w+)?[.,]?(?: |$)", value)
    return f"{'Who' if person else 'What'} {match['be']} {subject}?"


def _common(match: re.Match[str], subject: str) -> str:
    return f"How common {'are' if match['verb'] in ('affect', 'occur in') else 'is'} {subject}?"


PATTERNS = (
    pattern(SUBJECT + rf" (?P<verb>affects?|occurs? in|is found in|is estimated to (?:affect|occur in)) {_ABOUT}"
            r"(?:\d|one in|1 in|half|a third)", _common),
    pattern(r"The (?P<what>prevalence|incidence|frequency|population|price|cost|height|length|size|weight|age|capacity"
            r"|temperature|speed|duration) of (?P<s>[^,;:()]{2,70}?)(?: \([^()]+\))? (?:is|was|remains|has been) ",
            "What is the {what} of {s}?"),
    pattern(SUBJECT + rf",? (?P<be>was|were) (?:first |originally )?{_MADE} (?:in|on) (?:{_MONTH}|[12]\d{{3}})",
            "When {be} {s} {done}?"),
    pattern(SUBJECT + rf",? (?P<be>was|were) (?:first |originally )?{_MADE} by (?P<who>[A-Z])",
            "By whom {be} {s} {done}?"),
    pattern(SUBJECT + rf" (?P<be>is|are) {_ABOUT}(?:\d[\d,.]*|one|two|three|six|ten) \w+ {_MEASURES}\b",
            "How {how} {be} {s}?"),
    pattern(SUBJECT + rf" (?:is|will be|will become|becomes|grows|can grow) as {_MEASURES} as ", "How {how} is {s}?"),
    pattern(SUBJECT + rf" costs? {_ABOUT}[€$£\d]", "How much does {s} cost?"),
    pattern(r"(?P<s>The [a-z][\w-]*(?: [\w-]+){0,2} (?:of|for) [^,;:()?!]{2,60}?) (?P<be>is|was) "
            r"(?!(?:not|also|that|to)\b)", _attribute),
    # "Each year the blue poppy blooms in June."
    pattern(rf"(?:Each|Every) year (?P<s>[^,;:()?!]{{2,60}}?) (?P<verb>blooms|opens|starts|begins) (?:in|on) {_MONTH}",
            lambda match, subject: f"When does {subject} {match['verb'].removesuffix('s')}?"),
)  # fmt: skip


def find(passage: Passage) -> Iterator[Pair]:
    """Yield what the sentences of a passage count, measure or date."""
    yield from matched(passage, PATTERNS)
