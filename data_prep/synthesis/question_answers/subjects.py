"""What a sentence is about, said so that a question can name it: or None, when a reader would ask "which one?".

"It", "this condition" are replaced by the document's title where the sentence before was about the title. A definite
noun ("the procedure") is refused unless it holds a name or a word of the title; so are words that mean nothing by
themselves ("symptoms", "treatment").
"""

from __future__ import annotations

import re
from itertools import pairwise

from data_prep.synthesis.question_answers import words
from data_prep.synthesis.question_answers.passages import Passage, Sentence

# Groups of a sentence pattern: a subject of a few words, with or without a remark in brackets.
SUBJECT = r"(?P<s>[A-Z0-9(][^,;:()?!]{1,70}?)(?:\s\((?P<remark>[^()]{1,60})\))?"
NOT_FIRST = frozenset(
    """that these those there here he she we you i what when where why who how which if while although though because
    since after before during for in on at by with without from to as about among between some many most all several
    few other another both each every any such his her their our your my its however therefore thus also sometimes
    often usually generally typically currently no not only even but and or so then once until unless people patients
    researchers scientists doctors others someone everyone nothing anything following according like unlike despite
    under over within given one two three four five symptoms signs individuals experts today recently early later
    having being getting taking more less see note read click please contact visit make talk ask too ongoing further
    future tall rare very much part use different something
    finally instead additional various certain""".split()
)
VAGUE = frozenset(
    words.stem(word)
    for word in """symptom sign treatment diagnosis patient people person child children adult male female man woman men
    women cause risk factor test doctor study research result outcome prognosis outlook prevention problem disease
    disorder condition syndrome case family gene mutation protein cell body medicine drug therapy surgery procedure
    goal purpose reason way type form kind part number example information page section guide table figure list article
    group thing time day year age frequency severity onset inheritance complication effect illness life expectancy
    answer question second first next last new reference key point system process step item feature frequent main good
    affected individual""".split()
)
PRONOUN = re.compile(r"^(?:It|They|(?:This|The) (?:condition|disease|disorder|syndrome|plant|product|tool|library))$")
VERBS = re.compile(
    r"\b(?:is|are|was|were|be|been|has|have|had|can|may|might|will|would|should|could|must|do|does|did|that|which|who"
    r"|if|when|because|although|whether|helps?|includes?|makes?|tell|tells|means|became|becomes?|varies|depends?"
    r"|occurs?|affects?|remains?|requires?|begins?|leads?|provides?|contains?|produces?|appears?|never|not|also|often"
    r"|usually|typically|generally|commonly|sometimes|almost|currently|several|other|least|many|some|various|certain|these"
    r"|than|there|how|what|where|why|\w+ly)\b",
    re.IGNORECASE,
)
_DETERMINERS = ("the", "a", "an", "this", "that")
LONGEST = 9


def named(subject: str, passage: Passage, before: Sentence | None = None, *, strict: bool = True) -> str | None:
    """Return a subject as a question can name it; `strict` refuses single common nouns the document is not about."""
    subject = " ".join(subject.split()).strip(" -–—\"'“”*_`")
    if PRONOUN.match(subject):
        return title_of(passage) if before and about_title(before.text, passage) else None
    listed = subject.split()
    if not listed or len(listed) > LONGEST or listed[0].lower() in NOT_FIRST or listed[-1].lower() in words.STOP:
        return None
    if VERBS.search(subject):
        return None
    if re.search(r"\b(?:it|its|his|her|they|[Tt]his|these|those|their|your|our)\b", subject):
        return None
    half = len(listed) // 2
    twice = [word.lower() for word in listed[:half]] == [word.lower() for word in listed[half:]]
    if twice or any(one == other for one, other in pairwise(listed)) or (strict and _bare(subject, passage)):
        return None
    return cased(subject, passage) if specific(subject, passage) else None


def _bare(subject: str, passage: Passage) -> bool:
    """Tell whether a subject is one common noun: "vision", "fatigue"."""
    content = words.content(subject)
    return len(content) < 2 and not _is_code(subject) and not any(word in passage.topic for word in content)


def specific(subject: str, passage: Passage) -> bool:
    """Tell whether a reader without the document would know what is meant."""
    listed = subject.split()
    content = words.content(subject)
    if not content or all(word in VAGUE or word.isdigit() for word in content):
        return False
    if any(word in passage.topic for word in content if word not in VAGUE):
        return True
    # A name inside, or a code such as HPRT1: "the HPRT1 gene".
    if any(word[0].isupper() or sum(map(str.isupper, word)) > 1 for word in listed[1:]) or _is_code(listed[0]):
        return not _title_case(subject) or len(listed) <= 4
    # "The lens is a ..." needs its document; "A lens is a ..." and "Lenses are ..." do not.
    return listed[0].lower() not in ("the", "this", "that")


def _is_code(word: str) -> bool:
    return sum(map(str.isupper, word)) > 1


def _title_case(subject: str) -> bool:
    long = [word for word in subject.split() if len(word) > 3]
    return len(long) > 2 and all(word[0].isupper() for word in long)


def cased(subject: str, passage: Passage) -> str:
    """Return a subject as it is written inside a sentence."""
    found = re.findall(rf"(?<!\w){re.escape(subject)}(?!\w)", passage.document.text, re.IGNORECASE)
    # A title's capitals ("Spinal Cord Infarction") are not those of running text.
    subject = max(found, key=lambda text: sum(map(str.islower, text)), default=subject)
    first, _, rest = subject.partition(" ")
    low = first.lower()
    # "Adult acute ..." is written "adult" elsewhere, or at least never "Adult" inside a sentence, as "Wilson" is.
    common = low in passage.spelling.lower or first not in passage.spelling.capital
    titled = any(word.istitle() and word.lower() in passage.spelling.lower for word in rest.split())
    if low in _DETERMINERS or (first[1:].islower() and first[1].isalpha() and common and not titled):
        return f"{low} {rest}".strip()
    return subject


def title_of(passage: Passage) -> str | None:
    """Return the title as a question can name it; None where it is no name of a thing."""
    title = passage.title
    if not 1 <= len(title.split()) <= LONGEST or re.search(r"[?!:#/\\]|\d{3}| - |\bletter\b", title, re.IGNORECASE):
        return None
    return cased(title, passage) if specific(title, passage) else None


def plural(subject: str, passage: Passage) -> bool:
    """Tell whether a name is a plural: its last word without the s is a word of the document ("diabetes" is none)."""
    last = subject.lower().split()[-1]
    return last.endswith("s") and len(last) > 3 and last[:-1] in passage.spelling.lower


def about_title(text: str, passage: Passage) -> bool:
    """Tell whether a sentence begins with the title, or with most of its words."""
    start = set(words.content(" ".join(text.split()[: len(passage.title.split()) + 3])))
    return bool(passage.topic) and words.shared(sorted(passage.topic), start) >= 0.7
