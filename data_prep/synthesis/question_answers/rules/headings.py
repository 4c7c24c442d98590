"""Headings that name an aspect of the title ("Causes", "Opening hours") or an action ("Installing the package")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Pair, Passage
from data_prep.synthesis.question_answers.patterns import usable
from data_prep.synthesis.question_answers.subjects import NOT_FIRST, VAGUE, title_of

ANSWER_CHARACTERS = 500
ASPECTS = {
    "causes": "What causes {s}?",
    "cause": "What causes {s}?",
    "symptoms": "What are the symptoms of {s}?",
    "signs and symptoms": "What are the signs and symptoms of {s}?",
    "treatment": "How is {s} treated?",
    "diagnosis": "How is {s} diagnosed?",
    "prevention": "How can {s} be prevented?",
    "complications": "What are the complications of {s}?",
    "risk factors": "What are the risk factors for {s}?",
    "outlook": "What is the outlook for {s}?",
    "prognosis": "What is the prognosis for {s}?",
    "history": "What is the history of {s}?",
    "requirements": "What are the requirements of {s}?",
    "prerequisites": "What are the prerequisites of {s}?",
    "limitations": "What are the limitations of {s}?",
    "advantages": "What are the advantages of {s}?",
    "installation": "How is {s} installed?",
    "usage": "How is {s} used?",
    "purpose": "What is the purpose of {s}?",
    "opening hours": "What are the opening hours of {s}?",
    "other names": "What are other names for {s}?",
}
_ACTION = re.compile(r"^(?P<verb>[A-Z][a-z]+ing) (?P<rest>(?:an?|the|your|with|to|for|from|on|[a-z]\w+s)\b.*)$")
_HOW_TO = re.compile(r"^How to (?P<rest>[a-z].+)$")
_NO_ACTION = {
    "during",
    "following",
    "according",
    "regarding",
    "concerning",
    "warning",
    "meaning",
    "something",
    "nothing",
}
_IRREGULAR = {
    "lying": "lie", "dying": "die", "tying": "tie", "using": "use", "being": "be", "adding": "add", "seeing": "see",
    "creating": "create", "writing": "write", "choosing": "choose", "giving": "give", "coming": "come", "going": "go",
    "agreeing": "agree", "visiting": "visit", "editing": "edit", "limiting": "limit", "opening": "open",
    "entering": "enter", "offering": "offer", "covering": "cover", "handling": "handle", "having": "have",
}  # fmt: skip
_KEEPS_E = re.compile(r"(?:at|iz|is|iv|av|ov|ak|ik|ok|ur|ag|ac|ec|ic|uc|id|od|ul|ut|et|as|us|ar|or|in)$")


def find(passage: Passage) -> Iterator[Pair]:
    """Yield the question that a heading stands for, with the first sentences below it."""
    if not passage.first or not passage.heading or not (question := _question(passage)):
        return
    kept: list[tuple[str, int, int]] = []
    for sentence in passage.sentences:
        if not usable(sentence.text) or (kept and sentence.end - kept[0][1] > ANSWER_CHARACTERS):
            break
        kept.append((sentence.text, sentence.start, sentence.end))
    if kept:
        yield Pair(question, " ".join(text for text, *_ in kept), kept[0][1], kept[-1][2])


def _question(passage: Passage) -> str | None:
    heading = " ".join(passage.heading.strip("*_:. ").split())
    if template := ASPECTS.get(heading.lower()):
        subject = title_of(passage)
        return template.format(s=subject) if subject else None
    if match := _HOW_TO.match(heading):
        return f"How do you {match['rest'].rstrip('?. ')}?"
    match = _ACTION.match(heading)
    if not match or match["verb"].lower() in _NO_ACTION | NOT_FIRST:
        return None
    content = words.content(match["rest"])
    if not content or all(word in VAGUE for word in content):
        return None
    return f"How do you {infinitive(match['verb'].lower())} {match['rest'].rstrip('?. ')}?"


def infinitive(gerund: str) -> str:
    """Return the infinitive of an English gerund by rule: training -> train, running -> run, making -> make."""
    if gerund in _IRREGULAR:
        return _IRREGULAR[gerund]
    stem = gerund.removesuffix("ing")
    if re.search(r"([bdgmnprt])\1$", stem):
        return stem[:-1]
    # One short syllable before one consonant, or an ending that English writes with a silent e.
    silent = re.search(r"[^aeiou][aeiou][^aeiouwxy]$", stem) and _KEEPS_E.search(stem)
    return stem + "e" if silent or re.search(r"(?:[cv]|rs|ns|dg|ang|[bdfgkpt]l)$", stem) else stem
