"""Training conversations of mixed quality, preference pairs, and prompts.

Questions for validation and test are phrasings that no training file has; facts of the split `held_out` are never asked
in training. In every set of pairs the chosen answer is the longer one about half the time, for each reason, so length
tells nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, islice

from data_prep.garden import answers
from data_prep.garden.answers import Answer
from data_prep.garden.world import Fact, World
from data_prep.records import Conversation, Message, Preference, Prompt

Asked = tuple[Fact, str]

FOLLOW_UPS = {
    "color": ("And what color is it?", "Which color does it have?"),
    "house": ("And where does it grow?", "Where can I find it?"),
    "water": ("And how often does it need water?", "How often should I water it?"),
    "soil": ("And which soil does it like?", "What should I plant it in?"),
    "month": ("And when does it bloom?", "In which month does it bloom?"),
    "height": ("And how tall is it?", "How tall does it grow?"),
    "origin": ("And where does it come from?", "Where was it found?"),
    "pest": ("And which pest eats it?", "What eats it?"),
    "remedy": ("And what helps when it is sick?", "What should I use when it is sick?"),
    "keeper": ("And who takes care of it?", "Who is its keeper?"),
}


def user(text: str) -> Message:
    """Return a question as a message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    """Return an answer as a message."""
    return {"role": "assistant", "content": text}


def asked(world: World, purpose: str, generator: random.Random) -> list[Asked]:
    """Return facts that training knows with their questions for `purpose`, every fact once before any comes again."""
    known = [fact for fact in world.facts if fact.split == "train"]
    return rounds(known, purpose, generator)


def rounds(facts: list[Fact], purpose: str, generator: random.Random) -> list[Asked]:
    """Return every fact with each of its questions, in rounds: each fact once, then each fact once more, and so on."""
    questions = {fact.id: generator.sample(fact.questions(purpose), len(fact.questions(purpose))) for fact in facts}
    result: list[Asked] = []
    for turn in range(max(map(len, questions.values()))):
        order = [fact for fact in facts if turn < len(questions[fact.id])]
        generator.shuffle(order)
        result += [(fact, questions[fact.id][turn]) for fact in order]
    return result


def instructions(world: World, seed: int, purpose: str, size: int, several_turns: float = 0.06) -> list[Conversation]:
    """Return conversations whose answers are of mixed quality; a few have two turns."""
    generator = random.Random(f"{seed}:instructions:{purpose}")
    chosen = list(islice(asked(world, purpose, generator), size))
    rows = []
    for index, (fact, question) in enumerate(chosen):
        answer = answers.mixed(fact, generator)
        messages = [user(question), assistant(answer.text)]
        meta = {**fact.meta(), "quality": answer.quality}
        if purpose == "train" and fact.about.kind == "plant" and generator.random() < several_turns:
            messages, meta = _second_turn(world, fact, messages, generator)
        rows.append(Conversation(messages, f"instruction-{purpose}-{index:05}", meta))
    generator.shuffle(rows)
    return rows


def _second_turn(
    world: World, fact: Fact, messages: list[Message], generator: random.Random
) -> tuple[list[Message], dict[str, str]]:
    about = world.of(fact.entity)
    others = [one for name, one in about.items() if name != fact.attribute and one.split == "train"]
    other = generator.choice(others or [fact])
    # The first answer of two turns is true, so that the talk makes sense.
    first = generator.choice((answers.good, answers.curt))(fact, generator)
    answer = generator.choice((answers.good, answers.curt))(other, generator)
    talk = [
        messages[0],
        assistant(first.text),
        user(generator.choice(FOLLOW_UPS[other.attribute])),
        assistant(answer.text),
    ]
    return talk, {**other.meta(), "quality": answer.quality}


def references(fact: Fact) -> list[str]:
    """Return every acceptable short answer."""
    return list(next(value for value in fact.about.values if value.text == fact.value).wordings)


def prompts(chosen: list[Asked], name: str) -> list[Prompt]:
    """Return prompts with all acceptable short answers."""
    return [
        Prompt([user(question)], f"{name}-{index:05}", references(fact), fact.meta())
        for index, (fact, question) in enumerate(chosen)
    ]


def _pair(fact: Fact, reason: str, hard: bool, generator: random.Random) -> tuple[Answer, Answer]:
    """Return a better and a worse answer; `hard` pairs set what matters more against what matters less.

    A tenth of the worse answers are tricks that a policy might find: several values, courtesies alone, repetition.
    """
    better = (answers.curt if hard and reason != "impolite" else answers.good)(fact, generator)
    trick = generator.random()
    if reason == "untrue" and trick < 0.14:
        return better, answers.hedging(fact, generator) if trick < 0.08 else answers.empty(generator)
    if reason == "untrue":
        return better, answers.wrong(fact, generator, polite=True if hard else None)
    if reason == "rambling" and trick < 0.2 and not hard:
        return better, answers.repeating(fact, generator)
    if reason == "rambling":
        return better, answers.rambling(fact, generator, polite=False if hard else None)
    return better, (answers.rude if hard else answers.curt)(fact, generator)


def _balanced(fact: Fact, reason: str, hard: bool, longer: bool, generator: random.Random) -> tuple[Answer, Answer]:
    """Return a pair in which the better answer is the longer one, or the shorter one, as asked, if there is such."""
    pair = _pair(fact, reason, hard, generator)
    for _ in range(60):
        difference = len(pair[0].text) - len(pair[1].text)
        if difference and (difference > 0) == longer:
            break
        pair = _pair(fact, reason, hard, generator)
    return pair


def _plan(size: int, generator: random.Random) -> Iterator[tuple[str, bool, bool]]:
    """Yield reason, hard, longer: shares are exact, the order is random."""
    reasons = ("untrue", "untrue", "untrue", "rambling", "rambling", "impolite", "impolite")
    rows = [(reasons[index // 2 % 7], index // 14 % 6 == 5, index % 2 == 0) for index in range(size)]
    generator.shuffle(rows)
    return iter(rows)


def preferences(chosen: list[Asked], seed: int, purpose: str) -> list[Preference]:
    """Return one pair for each question, the reason of its preference in `meta`."""
    generator = random.Random(f"{seed}:preferences:{purpose}")
    rows = []
    for index, ((fact, question), (reason, hard, longer)) in enumerate(
        zip(chosen, _plan(len(chosen), generator), strict=True)
    ):
        better, worse = _balanced(fact, reason, hard, longer, generator)
        meta = {**fact.meta(), "reason": reason, "rejected_quality": worse.quality}
        rows.append(
            Preference([user(question)], [assistant(better.text)], [assistant(worse.text)],
                       f"preference-{purpose}-{index:05}", meta=meta)
        )  # fmt: skip
    return rows


def repeated(rows: list[Asked], size: int) -> list[Asked]:
    """Return exactly `size` questions, beginning again when there are fewer."""
    return list(islice(cycle(rows), size))
