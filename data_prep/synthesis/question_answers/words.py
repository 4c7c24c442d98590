"""The words of a text that carry its content, brought to a common form: what grounding and duplicates are judged by.

The form is a light stem (plural, -ing, -ed, -ly endings; in the manner of Harman's S-stemmer, 1991), enough for
"blooms" to meet "bloom". It is no dictionary form and is shown to nobody.
"""

from __future__ import annotations

import re
from functools import lru_cache

from data_prep import shingles

STOP = frozenset(
    """a an the this that these those there here it its he she they them his her their hers we us our you your i me my
    who whom whose which what when where why how is are was were be been being am do does did done doing have has had
    having can could will would shall should may might must not no nor and or but if then than so as of in on at by for
    with about from to into onto over under between during through after before above below up down out off again
    further once both each few more most other some such only own same too very just also any all because while until
    s t don ll ve re d m one ones per via within without upon among against however usually often sometimes generally
    typically called known used using tell please give name list explain describe many much""".split()
)


def content(text: str) -> list[str]:
    """Return the stems of the content words of a text, in order."""
    return [stem(word) for word in shingles.words(text.replace("'s ", " ").replace("’s ", " ")) if word not in STOP]


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return a word without its commonest endings."""
    if len(word) <= 3 or not word.isalpha():
        return word
    for ending, other, shortest in (
        ("ies", "y", 5), ("sses", "ss", 5), ("xes", "x", 5), ("ches", "ch", 6), ("shes", "sh", 6), ("s", "", 4),
    ):  # fmt: skip
        if word.endswith(ending) and len(word) >= shortest:
            if not word.endswith(("ss", "us", "is")):
                word = word.removesuffix(ending) + other
            break
    for ending in ("ing", "ed", "ly"):
        if word.endswith(ending) and len(word) >= len(ending) + 4:
            word = re.sub(r"([bdgmnprt])\1$", r"\1", word.removesuffix(ending))
            break
    return word.removesuffix("e") if len(word) > 4 else word


def shared(words: list[str], there: set[str]) -> float:
    """Return the share of words that are there; 1 for no words at all."""
    return sum(word in there for word in words) / len(words) if words else 1.0
