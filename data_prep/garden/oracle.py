"""Judge an answer about the garden from its text and the fact that was asked for; no model, no file.

The rule (also stated in `answers`): truth first, then to the point, then polite.

- true: the answer names the fact's value (in any accepted wording) and no other value of that attribute, does not deny
  it, and speaks of no other entity of the same kind (a plant whose name mixes two plants' names is another one).
- to_the_point: one statement of at most `LONGEST` words; each further sentence, repetition or spare courtesy costs a
  half.
- polite: begins with an opening or ends with a closing of `answers`, each at most once, and has no rude remark.
- total: 0.6 true + 0.2 to_the_point + 0.2 polite. An answer that names no value, or several different ones, is no
  answer: everything is 0, so neither bare courtesies nor a list of all values earns anything.

Left out: grammar and fluency. A sentence of broken English with the right value counts as true.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from data_prep.garden.answers import CLOSINGS, OPENINGS, RUDE
from data_prep.garden.world import ATTRIBUTES, ENTITIES

LONGEST = 18
WEIGHTS = {"true": 0.6, "to_the_point": 0.2, "polite": 0.2}
# Facts of these attributes are naturally told with a "not" ("Mara does not work on Friday").
DENIALS_ALLOWED = frozenset({"closed_day", "day_off", "cure"})
_OPENINGS = tuple(one.rstrip(":") for one in OPENINGS)
_CLOSINGS = tuple(one.rstrip(".") for one in CLOSINGS)
DENIAL = re.compile(r"\b(?:not|never)\b|n't\b")


def plain(text: str) -> str:
    """Return the text in small letters with plain quotes and single spaces."""
    return re.sub(r"\s+", " ", text.replace("\u2019", "'").casefold()).strip()


@cache
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted((plain(one) for one in phrases), key=lambda one: (-len(one), one))
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")


@cache
def _wordings(attribute: str) -> dict[str, str]:
    """Return value by wording."""
    return {plain(wording): value.text for value in ATTRIBUTES[attribute].values for wording in value.wordings}


def _named(attribute: str, text: str) -> list[str]:
    """Return the values that the text names, in order, with repetitions."""
    wordings = _wordings(attribute)
    return [wordings[match] for match in _pattern(tuple(wordings)).findall(text)]


def _others(meta: Mapping[str, Any], text: str) -> bool:
    """Say whether the text speaks of another entity of the same kind."""
    kind = ATTRIBUTES[meta["attribute"]].kind
    names = _plant_names() if kind == "plant" else _pattern(ENTITIES[kind])
    return bool(set(names.findall(text)) - {plain(meta["entity"])})


@cache
def _plant_names() -> re.Pattern[str]:
    """Return a pattern of all plant names and of names that mix two of them, as small models do."""
    firsts, seconds = (tuple(dict.fromkeys(parts)) for parts in zip(*map(str.split, ENTITIES["plant"]), strict=True))
    return re.compile(rf"(?<!\w)(?:{'|'.join(firsts)}) (?:{'|'.join(seconds)})(?!\w)")


def _courtesies(text: str) -> tuple[str, int, bool]:
    """Return the text without courtesies, how many are too many, and whether one is in its right place."""
    openings, closings = _pattern(_OPENINGS), _pattern(_CLOSINGS)
    begun, ended = len(openings.findall(text)), len(closings.findall(text))
    placed = bool(openings.match(text) or re.search(rf"(?:{closings.pattern})[.!]*$", text))
    body = re.sub(rf"(?:{openings.pattern}|{closings.pattern})[:,.!]*", "", text).strip()
    return body, max(0, begun - 1) + max(0, ended - 1), placed


def _repeats(body: str, named: Sequence[str]) -> bool:
    """Say whether the answer names its value twice or repeats three words in a row."""
    words = re.findall(r"\w+", body)
    triples = [tuple(words[index : index + 3]) for index in range(len(words) - 2)]
    return len(named) > 1 or len(triples) != len(set(triples))


def _to_the_point(body: str, named: Sequence[str], spare: int) -> float:
    sentences = [one for one in re.split(r"[.!?]+(?:\s|$)", body) if re.search(r"\w", one)]
    if len(re.findall(r"[\w']+", body)) > LONGEST:
        return 0.0
    return max(0.0, 1.0 - 0.5 * (len(sentences) - 1 + spare + _repeats(body, named)))


def score(prompt: Sequence[Mapping[str, str]], answer: str, meta: Mapping[str, Any]) -> dict[str, float]:
    """Return `true`, `to_the_point`, `polite` and `total`, each in [0, 1]; `prompt` is not looked at."""
    text = plain(answer)
    body, spare, placed = _courtesies(text)
    # A plant may have a value's word in its name, and a house is a value and an entity.
    named = _named(meta["attribute"], _pattern((meta["entity"],)).sub("", body))
    if len(set(named)) != 1:
        return dict.fromkeys((*WEIGHTS, "total"), 0.0)
    denied = meta["attribute"] not in DENIALS_ALLOWED and bool(DENIAL.search(_pattern(RUDE).sub("", body)))
    true = named[0] == meta["value"] and not denied and not _others(meta, body)
    polite = placed and not spare and not _pattern(RUDE).search(text)
    parts = {"true": float(true), "to_the_point": _to_the_point(body, named, spare), "polite": float(polite)}
    return {**parts, "total": round(sum(WEIGHTS[name] * value for name, value in parts.items()), 6)}


def prefer(prompt: Sequence[Mapping[str, str]], a: str, b: str, meta: Mapping[str, Any]) -> int:
    """Return 1 if answer `a` is better, -1 if `b` is, 0 if they are equally good."""
    difference = score(prompt, a, meta)["total"] - score(prompt, b, meta)["total"]
    return (difference > 1e-9) - (difference < -1e-9)
