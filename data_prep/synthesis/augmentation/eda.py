"""Easy data augmentation (Wei and Zou 2019, https://aclanthology.org/D19-1670): four small operations on words.

Synonym replacement, random insertion of a synonym, random swap of two words, random deletion; each copy of a row gets
one of those asked for. `alpha` is the paper's: n = max(1, alpha * words) words are changed, or each word is deleted
with probability alpha. The paper made it for labelled texts; for questions it is held back: words that the answer
needs (words of the answer, numbers, names, the question word) are never replaced, moved or deleted, and the answer is
never touched.

Synonyms come from `synonyms`, a file with one group a line ("big, large, huge"), or are learned from `learn_from`, a
file of conversations: two questions that differ in one word and have the same answer (all content words that one adds
to its question are the other's too). A pair of words is believed when `min_support` different questions agree on it,
and nine times as many agree as do not. Learning is strict, and finds little in small files, because what it would find
otherwise are names: answers that are the same for many things ("It is not known.") make any two of them alike. So a
place in a question that takes more than `SLOT` words teaches nothing, nor does a word that its answer repeats.

Left out: WordNet (a download; export it to a file), word forms (a synonym is put in as it is written).
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from data_prep import shingles
from data_prep.synthesis.augmentation import Candidate, Context, Method, MethodSettings, Origin, one_by_one, word_spans
from data_prep.synthesis.question_answers.words import STOP, content
from recipes.errors import UserError
from recipes.sections import InputPath, shipped

NEEDS_GENERATOR = False
Operation = Literal["synonym", "insert", "swap", "delete"]
BELIEF = 0.9
SLOT = 8  # different words in one place of a question: above that it is a place for names
Synonyms = dict[str, list[str]]
Told = frozenset[str]


class Settings(MethodSettings):
    """Which operations, how strong, and where synonyms come from."""

    alpha: float = Field(0.1, gt=0, le=0.5, description="Share of words that change.")
    operations: list[Operation] = Field(default_factory=lambda: list(WITHOUT), min_length=1)
    synonyms: InputPath | None = Field(None, description="A text file: a group of synonyms a line, with commas.")
    learn_from: InputPath | None = Field(None, description="Conversations whose questions teach synonyms.")
    min_support: int = Field(3, ge=1, description="Different questions that must agree on a learned pair.")

    @model_validator(mode="after")
    def _has_synonyms(self) -> Self:
        needing = sorted({"synonym", "insert"} & set(self.operations))
        if needing and not (self.synonyms or self.learn_from):
            raise ValueError(f"no {' or '.join(needing)} without synonyms: name a file with `synonyms` or `learn_from`")
        if not needing and (self.synonyms or self.learn_from):
            raise ValueError("synonyms are given, but neither synonym nor insert is among the operations")
        return self


WITHOUT: tuple[Operation, ...] = ("swap", "delete")


def build(settings: Settings, context: Context) -> Method:
    """Return the method."""
    known = read_synonyms(shipped(settings.synonyms)) if settings.synonyms else {}
    if settings.learn_from:
        known = merged(known, learn(_questions(shipped(settings.learn_from)), settings.min_support))
    if {"synonym", "insert"} & set(settings.operations) and not known:
        write = "another file, a smaller min_support, or operations: [swap, delete]"
        raise UserError("methods.eda", "no synonyms were found", write)

    def reword(origin: Origin, copy: int) -> Candidate:
        chance = context.chance(origin.id, copy)
        order = list(settings.operations)
        context.chance(origin.id).shuffle(order)
        for operation in order[copy % len(order) :] + order[: copy % len(order)]:
            text = changed(origin, operation, settings.alpha, known, chance)
            if text != origin.text:
                return Candidate(text)
        return Candidate("", reason="nothing to change")

    return one_by_one(context, settings, reword)


def changed(origin: Origin, operation: str, alpha: float, known: Synonyms, chance: random.Random) -> str:
    """Return a text after one operation; the text itself where it cannot be done."""
    spans = word_spans(origin.text)
    free = free_words(origin, spans)
    count = max(1, int(alpha * len(spans)))
    words = [origin.text[start:end] for start, end in spans]
    if operation == "synonym":
        places = [place for place in free if words[place].lower() in known]
        for place in chance.sample(places, min(count, len(places))):
            words[place] = alike(chance.choice(known[words[place].lower()]), words[place])
    elif operation == "insert":
        fitting = [known[words[place].lower()] for place in free if words[place].lower() in known]
        for synonyms in chance.sample(fitting, min(count, len(fitting))):
            words[chance.randrange(len(words))] += f" {chance.choice(synonyms)}"
    elif operation == "swap" and len(free) > 1:
        for _ in range(count):
            one, other = chance.sample(free, 2)
            words[one], words[other] = words[other], words[one]
    elif operation == "delete" and len(free) > 0 and len(words) > 2:
        gone = [place for place in free if chance.random() < alpha] or [chance.choice(free)]
        words = ["" if place in gone else word for place, word in enumerate(words)]
    return joined(origin.text, spans, words)


def free_words(origin: Origin, spans: list[tuple[int, int]]) -> list[int]:
    """Return the places of words that may change: not the first, no number, no name, no word of the answer."""
    needed = set() if origin.labelled else set(shingles.words(origin.answer)) - STOP
    found = []
    for place, (start, end) in enumerate(spans):
        word = origin.text[start:end]
        name = word[0].isupper() or any(map(str.isdigit, word))
        if place and not name and not needed & set(shingles.words(word)):
            found.append(place)
    return found


def joined(text: str, spans: list[tuple[int, int]], words: list[str]) -> str:
    """Return a text with other words in the places of its own."""
    parts, place = [], 0
    for (start, end), word in zip(spans, words, strict=True):
        parts += [text[place:start], word]
        place = end
    whole = re.sub(r"(?<=\S)[ \t]{2,}", " ", "".join([*parts, text[place:]]))
    return re.sub(r"[ \t]+([.,;:!?])", r"\1", whole).strip()


def alike(word: str, model: str) -> str:
    """Return a word with a capital where the one that it replaces has one."""
    return word[0].upper() + word[1:] if model[0].isupper() else word


def read_synonyms(path: Path) -> Synonyms:
    """Read groups of synonyms, one a line, separated by commas; lines that begin with # are remarks.

    Raises:
        UserError: a line with fewer than two words, or a file that is no text.
    """
    found: Synonyms = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(
            str(path), f"not UTF-8 (byte {error.start})", "a text file, a group of synonyms a line"
        ) from None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        group = [" ".join(word.split()) for word in line.split(",") if word.strip()]
        if len(group) < 2:
            raise UserError(f"{path}:{number}", f"{line.strip()!r} is no group of synonyms", "big, large, huge")
        found = merged(found, {word.lower(): [other for other in group if other != word] for word in group})
    return found


def merged(one: Synonyms, other: Synonyms) -> Synonyms:
    """Return both dictionaries in one."""
    return {word: list(dict.fromkeys([*one.get(word, []), *other.get(word, [])])) for word in {**one, **other}}


def learn(rows: Iterable[tuple[str, str]], min_support: int) -> Synonyms:
    """Return words that stand for each other in questions (question, answer) with the same answer."""
    agreed: Counter[tuple[str, str]] = Counter()
    against: Counter[tuple[str, str]] = Counter()
    for seen in _frames(rows).values():
        for pair in combinations(sorted(seen), 2) if len(seen) <= SLOT else ():
            same = any(one <= other or other < one for one in seen[pair[0]] for other in seen[pair[1]])
            (agreed if same else against)[pair] += 1
    found: Synonyms = defaultdict(list)
    for (one, other), support in sorted(agreed.items()):
        if support >= min_support and support / (support + against[one, other]) >= BELIEF:
            found[one].append(other)
            found[other].append(one)
    return dict(found)


def _frames(rows: Iterable[tuple[str, str]]) -> dict[tuple[str, ...], dict[str, set[Told]]]:
    """Return, for each question with a hole in it, the words that fill the hole and what is answered to each."""
    frames: dict[tuple[str, ...], dict[str, set[Told]]] = defaultdict(lambda: defaultdict(set))
    for question, answer in rows:
        words = shingles.words(question)
        said = set(shingles.words(answer))
        told = frozenset(content(answer)) - set(content(question))
        for place, word in enumerate(words):
            if told and word.isalpha() and word not in STOP and word not in said:
                frames[(*words[:place], "", *words[place + 1 :])][word].add(told)
    return frames


def _questions(path: Path) -> Iterator[tuple[str, str]]:
    from data_prep.records import Conversation, read

    for row in read(path, Conversation):
        if len(row.messages) >= 2:
            yield row.messages[-2]["content"], row.messages[-1]["content"]
