"""Sentence patterns -> question templates: what the rules that read prose have in common.

A pattern is a regular expression with a group `s` (the subject, see `subjects.SUBJECT`) and a template that may name
its groups. The answer is the whole sentence. The first pattern that fits a sentence is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from data_prep.synthesis.question_answers.passages import Pair, Passage, Sentence
from data_prep.synthesis.question_answers.subjects import cased, named, plural

SHORTEST, LONGEST = 4, 45  # words of a sentence that can be an answer
OFTEN = (
    r"(?:(?:also|usually|often|typically|generally|commonly|most often|most commonly|sometimes|mainly|primarily"
    r"|frequently|mostly|normally|always|almost always|thought to be|believed to be|probably|likely|chiefly) )?"
)
# A heading that was run into the sentence behind it: "Pumping Action In normal hearts, ..."
_RUN_IN = re.compile(
    r"\w (?:In|The|When|If|Many|For|Some|There|This|These|It|Most|As|An|You|Your|They|Because|While|Although|To|People"
    r"|How|What|Why|Who|Other|Each|Once|Its|Summary|Overview) [a-z]"
)
_BULLETS = re.compile(r"\s[-•*]\s")
Make = str | Callable[[re.Match[str], str], str | None]


@dataclass(frozen=True)
class Pattern:
    """What a sentence must look like, and the question to it: a template, or a function of match and subject."""

    regex: re.Pattern[str]
    make: Make
    strict: bool = True


def pattern(regex: str, make: Make, *, strict: bool = True) -> Pattern:
    """Return a pattern that is matched from a sentence's beginning; `strict` as in `subjects.named`."""
    return Pattern(re.compile(regex), make, strict)


def find(passage: Passage, patterns: Sequence[Pattern]) -> Iterator[Pair]:
    """Yield a pair for each sentence that fits one of the patterns and whose subject has a name."""
    before: Sentence | None = None
    for sentence in passage.sentences:
        if usable(sentence.text) and (question := _question(sentence, passage, before, patterns)):
            yield Pair(question, sentence.text, sentence.start, sentence.end)
        before = sentence


def _question(sentence: Sentence, passage: Passage, before: Sentence | None, patterns: Sequence[Pattern]) -> str | None:
    for one in patterns:
        if (match := one.regex.match(sentence.text)) and (
            subject := named(match["s"], passage, before, strict=one.strict)
        ):
            do = "do" if plural(subject, passage) else "does"
            made = one.make(match, subject) if callable(one.make) else filled(one.make, match, subject, do)
            if made:
                return made[0].upper() + made[1:]
    return None


def filled(template: str, match: re.Match[str], subject: str, do: str = "does") -> str:
    """Return a template with a match's groups in it; a group that did not take part is empty."""
    groups = {name: text or "" for name, text in match.groupdict().items()}
    return template.format(**{**groups, "s": subject, "do": do})


def usable(text: str) -> bool:
    """Tell whether a sentence can stand for itself as an answer."""
    if not SHORTEST <= len(text.split()) <= LONGEST or not (text[0].isupper() or text[0].isdigit()):
        return False
    if text[-1] not in '.!)"”' or text.count("(") != text.count(")"):
        return False
    if re.search(r"\b(?:these|those|such|with this) ", text):
        return False
    return not (_RUN_IN.search(text) or _BULLETS.search(text) or "http" in text or "|" in text or "::" in text)


def object_named(text: str, passage: Passage) -> str | None:
    """Return what a sentence says something about at its end, as a question can name it."""
    return named(text[0].upper() + text[1:], passage) and cased(text[0].upper() + text[1:], passage)


def base_form(verb: str) -> str:
    """Return the infinitive of a verb in the third person: blooms, carries, has, passes."""
    known = {"has": "have", "is": "be", "does": "do", "goes": "go"}
    if verb in known:
        return known[verb]
    if verb.endswith("ies") and len(verb) > 4:
        return verb[:-3] + "y"
    return verb[:-2] if re.search(r"(?:ss|x|ch|sh|zz)es$", verb) else verb.removesuffix("s")
