"""What a thing is, what else it is called: "X is a ...", "X are ... that ...", "X refers to ..."."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import filled, pattern
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.subjects import SUBJECT

# "X is an important part of ..." judges or places X, it does not say what X is.
_NO_DEFINITION = re.compile(
    r"\b(?:is|are) (?:an? |one of the |the )?(?:\w+ly )?"
    r"(?:(?:most |more |less |very )?(?:common|important|good|great|serious|major|possible|potential"
    r"|useful|likely|helpful|effective|frequent|big|high|low|higher|lower|greater|better|new|different|safe|key)\b"
    r"|likelihood|risk|result|sign|symptom|chance|need|lot|part|member|must|factor|concern|problem|way|matter|few"
    r"|bit|number|variety|reason|cause|feature|consequence|complication|friend|favou?rite)"
)


def _what(match: re.Match[str], subject: str) -> str | None:
    if _NO_DEFINITION.search(match[0] + match.string[match.end() : match.end() + 40]):
        return None
    return filled("What {be} {s}?", match, subject)


_LESS = r"(?:,? (?:also|sometimes|often|commonly|formerly) (?:known|called|referred to)[^,]{1,60},)?"
_NOUN = (
    r"(?!(?:\w+ed|at|in|on|of|not|due|able|likely|more|most|less|usually|often|very|known|made|found|given|thought|also"
    r"|responsible|common|rare|present|sometimes|born|never|always|first|then|now)\b)"
)
PATTERNS = (
    pattern(r"The term [\"'“]?(?P<s>[^,;:()?!\"”]{2,70}?)[\"'”]?(?: \([^()]+\))? (?:means|refers to|describes) ",
            "What does the term {s} mean?", strict=False),
    pattern(SUBJECT + r" (?:refers to|is the (?:medical |general |technical )?(?:term|name) for) ", "What is {s}?"),
    pattern(SUBJECT + r",? (?:is|are|was|were) (?:also|sometimes|often|commonly|formerly) (?:known as|called) ",
            "What is another name for {s}?"),
    pattern(SUBJECT + _LESS + r" (?P<be>is|was) (?:an?|one of|any|the (?:\w+ ){0,3}(?:that|which|of|in)) ", _what,
            strict=False),
    pattern(SUBJECT + _LESS + rf" (?P<be>are|were) (?:an? |the )?{_NOUN}(?:[\w-]+ ){{1,5}}?(?:that|which|in which|of"
            r"|made|caused|called|with|who|used)\b", _what, strict=False),
)  # fmt: skip


def find(passage: Passage) -> Iterator[Pair]:
    """Yield what the sentences of a passage define."""
    yield from matched(passage, PATTERNS)
