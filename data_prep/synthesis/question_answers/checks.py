"""What makes a question with its answer worth training on. Whoever made the pair, the same checks hold.

| reason | meaning |
|---|---|
| not a question | no question mark at the end, or no question word or verb at the beginning |
| question too short, too long | fewer than 3 words, more than `max_question_words` |
| answer too short, too long | words or characters outside the recipe's limits |
| refers to the text | "the passage", "the table below", "this article", "mentioned above": means nothing without it |
| names nothing | the question has no content word, or only a pronoun stands for what it asks about |
| yes or no question | answered by a yes: what it teaches is a coin's toss |
| answered by the title | the answer says no more than the title does |
| answer repeats the question | the answer has no content word that the question does not have |
| ungrounded | fewer than `grounding` of the answer's content words are in the passage, or a number that is not |
| pieced together | its words are in the passage, but a sentence of it has them from more than `together` sentences |
| question not about the passage | fewer than half of the question's content words are in the passage or its headings |

Left out: whether the answer is right. A model's answer that has all its words from the passage can still be wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Pair, Passage, spans

ABOUT = 0.5
_STARTS = re.compile(
    r"^(?:(?:and|but|so|in|on|at|by|for|from|to|with|of|under|during|about)\s+)?(?:who|whom|whose|what|which|when|where|why|how|is|are"
    r"|was|were|do|does|did|can|could|may|might|must|shall|should|will|would|has|have|had|if|name|tell|list|explain"
    r"|describe|according)\b",
    re.IGNORECASE,
)
_POLAR = re.compile(
    r"^(?:is|are|was|were|do|does|did|can|could|may|might|must|shall|should|will|would|has|have|had)\b", re.IGNORECASE
)
_REFERS = re.compile(
    r"\b(?:the|this|that|these|each) (?:passage|text|paragraph|excerpt|article|document|author|writer|section|page"
    r"|web ?site|chapter|figure|diagram|snippet|context|following (?:list|table|figure|signs|steps|example|section)"
    r"|(?:list|table|figure|section|image|chart|links?) (?:above|below))\b"
    r"|\b(?:mentioned|listed|described|shown|discussed|given|see|noted) (?:above|below|here|earlier|previously)\b"
    r"|\b(?:click|see) (?:here|the|on|also|figure)\b"
    r"|\bfor (?:(?:more|further|additional) )?information (?:on|about)\b|\btable below\b"
    r"|\bbelow (?:is|are)\b|\bas follows\b|\blist of signs and symptoms\b",
    re.IGNORECASE,
)
_EMPTY = re.compile(
    r"^(?:what|who|which|where|when|why|how|is|are|was|were|do|does|did|can|it|they|he|she|this|that|these|those|them"
    r"|cause|mean|happen|work|be|the|a|an|condition|disease|disorder|treated|diagnosed|made|used|for|of|to|done|found"
    r"|called|located|common|about|you|your|symptoms|causes|treatment|signs|s|[\W\d])+$",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|they|them|he|she|him|this|these|those)\b(?! (?:is|are|possible|important|take))", re.IGNORECASE
)
_OPENING = re.compile(
    r"^(?:This|That|These|Those|Such|He|She|Its|Their|However|But|And|Also|Therefore|Thus|Additionally|In addition"
    r"|Other)\b"
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Limits:
    """The recipe's numbers."""

    grounding: float
    together: int
    min_answer_words: int
    max_answer_characters: int
    max_question_words: int


def reason(pair: Pair, passage: Passage, limits: Limits) -> str | None:
    """Return why a pair is refused, or None."""
    asked = words.content(pair.question)
    told = words.content(pair.answer)
    return form(pair, limits) or meaning(pair, asked, told, passage) or grounding(pair, asked, told, passage, limits)


def form(pair: Pair, limits: Limits) -> str | None:
    """Return what is wrong with how a pair is written."""
    question, answer = pair.question.strip(), pair.answer.strip()
    if not question.endswith("?") or not _STARTS.match(question):
        return "not a question"
    if len(question.split()) < 3:
        return "question too short"
    if len(question.split()) > limits.max_question_words:
        return "question too long"
    if len(answer.split()) < limits.min_answer_words:
        return "answer too short"
    return "answer too long" if len(answer) > limits.max_answer_characters else None


def meaning(pair: Pair, asked: list[str], told: list[str], passage: Passage) -> str | None:
    """Return what keeps a pair from being understood, or from teaching anything."""
    if _REFERS.search(pair.question) or _REFERS.search(pair.answer) or _OPENING.match(pair.answer):
        return "refers to the text"
    if _EMPTY.match(pair.question) or not asked or _unnamed(pair.question, asked):
        return "names nothing"
    if _POLAR.match(pair.question):
        return "yes or no question"
    title = set(words.content(f"{passage.document.title} {passage.heading}"))
    if title and set(told) <= set(words.content(passage.document.title)):
        return "answered by the title"
    return None if set(told) - set(asked) else "answer repeats the question"


def _unnamed(question: str, asked: list[str]) -> bool:
    """Tell whether a pronoun stands where the name of the thing should be."""
    return bool(_PRONOUN.search(question)) and len(asked) < 3


def grounding(pair: Pair, asked: list[str], told: list[str], passage: Passage, limits: Limits) -> str | None:
    """Return which of question and answer does not come from the passage."""
    here = passage.text
    there = set(words.content(here))
    numbers = set(_NUMBER.findall(here))
    if words.shared(told, there) < limits.grounding or not set(_NUMBER.findall(pair.answer)) <= numbers:
        return "ungrounded"
    if not said_together(pair.answer, passage, limits):
        return "pieced together"
    around = there | set(words.content(f"{passage.document.title} {passage.heading}"))
    return "question not about the passage" if words.shared(asked, around) < ABOUT else None


def said_together(answer: str, passage: Passage, limits: Limits) -> bool:
    """Tell whether each sentence of an answer is said in a few neighbouring sentences of the passage.

    Title and heading hold for the whole passage. A small model's favourite mistake is the other kind: "The free day of
    the dragon bush is yellow" has every word from the page about the dragon bush.
    """
    if not limits.together or " ".join(answer.split()) in " ".join(passage.text.split()):
        return True
    stems = passage.stems
    around = set(words.content(f"{passage.document.title} {passage.heading}"))
    windows = [
        around.union(*stems[place : place + limits.together])
        for place in range(max(1, len(stems) - limits.together + 1))
    ]
    return all(
        any(words.shared(words.content(answer[start:end]), window) >= limits.grounding for window in windows)
        for start, end in spans(answer)
    )
