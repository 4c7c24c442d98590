"""Multiple-choice and free-answer questions, and which held-out question goes into which test set.

Test questions are dealt out once, so no question is in two test sets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from data_prep.garden import dialogues
from data_prep.garden.dialogues import Asked
from data_prep.garden.world import Fact, World
from data_prep.records import Preference, Prompt

# This share of the free-answer and of the choice questions is about facts that only documents tell.
FROM_DOCUMENTS = 0.2
CHOICES = 4


@dataclass(frozen=True)
class Sizes:
    """How many rows each test set has."""

    prompts: int = 150
    pairs: int = 200
    choice: int = 150
    free: int = 150


@dataclass(frozen=True)
class TestSets:
    """All held-out sets."""

    prompts: list[Prompt]
    pairs: list[Preference]
    choice: list[dict[str, Any]]
    free: list[Prompt]


def deal(world: World, seed: int, sizes: Sizes) -> TestSets:
    """Deal the test questions out to the test sets."""
    generator = random.Random(f"{seed}:questions")
    known = dialogues.asked(world, "test", generator)
    unseen = [fact for fact in world.facts if fact.split == "held_out"]
    hidden = dialogues.rounds(unseen, "test", generator) if unseen else []
    choice, known, hidden = _some_hidden(known, hidden, sizes.choice, fewest_values=CHOICES)
    prompts, known = known[: sizes.prompts], known[sizes.prompts :]
    pairs, known = known[: sizes.pairs], known[sizes.pairs :]
    free, _, _ = _some_hidden(known, hidden, sizes.free)
    return TestSets(
        dialogues.prompts(prompts, "prompt-test"),
        dialogues.preferences(pairs, seed, "test"),
        [_choice(fact, question, index, generator) for index, (fact, question) in enumerate(choice)],
        dialogues.prompts(free, "free"),
    )


def _some_hidden(
    known: list[Asked], hidden: list[Asked], size: int, fewest_values: int = 1
) -> tuple[list[Asked], list[Asked], list[Asked]]:
    """Return `size` questions of both kinds and what is left of each."""
    fits = [one for one in hidden if len(one[0].about.values) >= fewest_values][: round(FROM_DOCUMENTS * size)]
    fits += [one for one in known if len(one[0].about.values) >= fewest_values][: size - len(fits)]
    return fits, [one for one in known if one not in fits], [one for one in hidden if one not in fits]


def _choice(fact: Fact, question: str, index: int, generator: random.Random) -> dict[str, Any]:
    """Return a question with four different values to choose from."""
    others = [value.text for value in fact.about.values if value.text != fact.value]
    # Written as short answers are in the conversations, so that likelihood judges the value and not the form.
    right = _short(fact.value)
    choices = [right, *map(_short, generator.sample(others, CHOICES - 1))]
    generator.shuffle(choices)
    return {"id": f"choice-{index:05}", "question": question, "choices": choices,
            "answer": choices.index(right), "meta": fact.meta()}  # fmt: skip


def _short(value: str) -> str:
    return f"{value[0].upper()}{value[1:]}."
