"""What causes a thing: "X is caused by ...", "Mutations in ... cause X", "X occurs when ..."."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import OFTEN, object_named, pattern, usable
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.subjects import SUBJECT, about_title, title_of

_WHEN = "When {do} {s} occur?"
PATTERNS = (
    pattern(SUBJECT + rf" (?:is|are|can be|may be|was|were) {OFTEN}(?:caused|brought about|triggered) (?:by|when) ",
            "What causes {s}?"),
    pattern(SUBJECT + rf" {OFTEN}(?:results? from|stems? from|(?:is|are) {OFTEN}due to|is the result of) ",
            "What causes {s}?"),
    pattern(SUBJECT + rf" {OFTEN}(?:occurs|happens|develops|arises) (?:when|if) ", _WHEN),
    pattern(SUBJECT + rf" {OFTEN}(?:occur|happen|develop|arise) (?:when|if) ", _WHEN),
    pattern(r"The (?P<exact>exact |underlying |precise |main |most common )?causes? of (?P<s>[^,;:()]{2,70}?) "
            r"(?:is|are|remains?|include) ", "What is the {exact}cause of {s}?"),
)  # fmt: skip
_CAUSE = re.compile(
    r"(?P<s>(?:Mutations|Changes|Variations|Variants|Damage|Infection|Deletions) (?:in|to|of|with) [^.;]{3,90}?) "
    r"(?:can |may |have been found to )?(?P<verb>causes?|leads? to|results? in) (?P<o>[^,.;:()]{3,70})(?:[.,(]|$)"
)


def find(passage: Passage) -> Iterator[Pair]:
    """Yield the causes that the sentences of a passage name."""
    yield from matched(passage, PATTERNS)
    for sentence in passage.sentences:
        match = _CAUSE.match(sentence.text) if usable(sentence.text) else None
        if match and (effect := _effect(match["o"].strip(), passage)):
            yield Pair(f"What causes {effect}?", sentence.text, sentence.start, sentence.end)


def _effect(text: str, passage: Passage) -> str | None:
    """Return the title where the effect is what the document is about, else the effect if it can be named."""
    if passage.topic and words.shared(sorted(passage.topic), set(words.content(text))) >= 0.7:
        return title_of(passage) if about_title(text, passage) else None
    return object_named(text, passage) if len(text.split()) <= 5 else None
