"""How a thing shows itself and what it leads to: symptoms, features, complications, risk factors, characteristics.

Where a sentence says only "Symptoms include ...", the symptoms are the title's, if the section has begun with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import OFTEN, pattern, usable
from data_prep.synthesis.question_answers.patterns import find as matched
from data_prep.synthesis.question_answers.subjects import SUBJECT, named, title_of

_LISTS = (
    r" (?:(?:may|can|often|typically|usually|commonly) )?(?:includes?|are|is|consists? of|ranges? from|varies|vary) "
    r"(?!(?:present|similar|treatable|unknown|the same|often|not)\b)"
)
_WHAT = (
    r"(?:The |Common |Typical |The most common |The main |Major |Early |The first )*"
    r"(?P<what>(?:[Ss]igns and )?[Ss]ymptoms|[Ss]igns|[Ff]eatures|[Cc]omplications|[Rr]isk factors|[Tt]ypes"
    r"|[Aa]dvantages|[Bb]enefits|[Ss]ide effects|[Ll]imitations|[Cc]haracteristics)"
)
PATTERNS = (
    pattern(_WHAT + rf" (?:of|for) (?P<s>[^,;:()]{{2,70}}?)(?: \([^()]+\))?{_LISTS}", lambda match, subject: (
        f"What are the {match['what'].lower()} of {subject}?")),
    pattern(SUBJECT + rf" (?:is|are) {OFTEN}characterized by ", lambda match, subject: (
        f"What {'are' if ' are ' in match[0][len(match['s']):] else 'is'} {subject} characterized by?")),
    pattern(SUBJECT + r" (?:can|may|could) (?:also )?(?:cause|lead to|result in) ", "What can {s} cause?"),
)  # fmt: skip
_BARE = re.compile(_WHAT + _LISTS)


def find(passage: Passage) -> Iterator[Pair]:
    """Yield the symptoms, features and effects that the sentences of a passage list."""
    yield from matched(passage, PATTERNS)
    for place, sentence in enumerate(passage.sentences):
        match = _BARE.match(sentence.text) if usable(sentence.text) else None
        if match and (subject := _meant(passage, place)):
            question = f"What are the {match['what'].lower()} of {subject}?"
            yield Pair(question, sentence.text, sentence.start, sentence.end)


def _meant(passage: Passage, place: int) -> str | None:
    """Return the title if the section so far has been about it and about nothing else that is named."""
    before = " ".join([passage.heading, *(sentence.text for sentence in passage.sentences[:place])])
    title = title_of(passage)
    near = words.shared(sorted(passage.topic), set(words.content(before))) >= 0.7
    return named(title[0].upper() + title[1:], passage) if title and near and passage.first and place <= 3 else None
