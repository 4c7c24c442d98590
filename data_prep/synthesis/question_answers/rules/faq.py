"""Questions that a document asks and answers itself: a heading that is a question, or lines with "Q:" and "A:"."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers.passages import Pair, Passage, Sentence
from data_prep.synthesis.question_answers.patterns import _BULLETS, _RUN_IN
from data_prep.synthesis.question_answers.subjects import cased, plural

ANSWER_CHARACTERS = 500
_PAIR = re.compile(
    r"^[ \t]*\**(?:Q|Question)\s*\d*\s*[:.]\**\s*(?P<q>[^\n]+\?)\s*\n+"
    r"[ \t]*\**(?:A|Answer)\s*\d*\s*[:.]\**\s*(?P<a>[^\n]+(?:\n(?!\s*\n|\s*\**Q)[^\n]+)*)",
    re.MULTILINE,
)
_DONE = re.compile(
    r"^(?P<be>Is|Are|Was|Were) (?P<what>.+) (?P<done>inherited|treated|diagnosed|transmitted|prevented|made|used)\?$"
)
_HOW_TO = re.compile(r"^How to (?P<rest>.+)\?$")


def find(passage: Passage) -> Iterator[Pair]:
    """Yield a document's own questions with what stands below them."""
    for match in _PAIR.finditer(passage.text):
        start = passage.start + match.start("a")
        question, answer = tidied(match["q"], passage), " ".join(match["a"].split())
        yield Pair(question, answer, start, start + len(match["a"]))
    if passage.first and passage.heading.rstrip("*_ ").endswith("?") and (pair := _below(passage)):
        yield pair


def _below(passage: Passage) -> Pair | None:
    """Return a heading's question with the first sentences under it."""
    kept: list[Sentence] = []
    for sentence in passage.sentences:
        if sentence.text.endswith("?") and not kept:
            continue
        length = sentence.end - (kept[0].start if kept else sentence.start)
        # A list or a heading that lost its line ends: what comes before it can still be an answer.
        broken = _BULLETS.search(sentence.text) or _RUN_IN.search(sentence.text) or sentence.text[-1] not in '.!)"”'
        if broken or sentence.text.endswith("?") or (kept and length > ANSWER_CHARACTERS):
            break
        kept.append(sentence)
    if not kept:
        return None
    question = tidied(passage.heading, passage)
    if ":" in question or " - " in question:  # a title that is no name of a thing
        return None
    answer = " ".join(sentence.text for sentence in kept)
    if (match := _DONE.match(question)) and not re.match(r"(?:Yes|No)\b", answer):
        question = f"How {match['be'].lower()} {match['what']} {match['done']}?"
    return Pair(question, answer, kept[0].start, kept[-1].end)


def tidied(question: str, passage: Passage) -> str:
    """Return a heading as a question in one form: one question mark, no "(are)", "How do you" for "How to"."""
    be = "are" if plural(passage.title or "-", passage) else "is"
    question = re.sub(r"^What is \(are\)", f"What {be}", question.strip("*_# "))
    question = re.sub(r"\s*\((?:are|is|s|es|or [a-z ]+)\)", "", question)
    question = re.sub(r"[\s?]+$", "", " ".join(question.split())) + "?"
    question = re.sub(r"^\d+[.)]\s+", "", question)
    question = _HOW_TO.sub(r"How do you \g<rest>?", question)
    for title in filter(None, (passage.document.title, passage.title)):
        if title in question:
            question = question.replace(title, cased(passage.title, passage))
            break
    return question[0].upper() + question[1:]
