"""Make the whole world in memory: documents with defects, training rows, test rows, truth."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from data_prep.garden import defects, dialogues, files, general, pages, questions, truth, world
from data_prep.records import to_line


@dataclass(frozen=True)
class Sizes:
    """How many rows of each kind; test sets are in `test`."""

    instructions_train: int = 2000
    instructions_validation: int = 120
    preferences_train: int = 800
    preferences_validation: int = 120
    prompts_train: int = 600
    general_test: int = 60
    test: questions.Sizes = field(default_factory=questions.Sizes)


@dataclass(frozen=True)
class Everything:
    """Raw files by path, row sets by file name, and the truth table."""

    raw: dict[str, bytes]
    rows: dict[str, list[Any]]
    truth: dict[str, Any]


def make(seed: int, plants: int, held_out: float, sizes: Sizes) -> Everything:
    """Return everything that this seed gives."""
    place = world.build(seed, plants, held_out)
    sets = questions.deal(place, seed, sizes.test)
    items = defects.spoil([files.item(page) for page in pages.pages(place, seed)], sets, seed)
    files.number(items)
    return Everything(files.render(items), _rows(place, sets, seed, sizes), truth.table(place, items))


def _rows(place: world.World, sets: questions.TestSets, seed: int, sizes: Sizes) -> dict[str, list[Any]]:
    def asked(purpose: str, name: str, size: int) -> list[dialogues.Asked]:
        return dialogues.repeated(dialogues.asked(place, purpose, random.Random(f"{seed}:{name}")), size)

    return {
        "instructions_train.jsonl": dialogues.instructions(place, seed, "train", sizes.instructions_train),
        "instructions_validation.jsonl": dialogues.instructions(
            place, seed, "validation", sizes.instructions_validation
        ),
        "preferences_train.jsonl": dialogues.preferences(
            asked("train", "preferences", sizes.preferences_train), seed, "train"
        ),
        "preferences_validation.jsonl": dialogues.preferences(
            asked("validation", "preferences", sizes.preferences_validation), seed, "validation"
        ),
        "preferences_test.jsonl": sets.pairs,
        "prompts_train.jsonl": dialogues.prompts(asked("train", "prompts", sizes.prompts_train), "prompt-train"),
        "prompts_test.jsonl": sets.prompts,
        "questions_choice.jsonl": sets.choice,
        "questions_free.jsonl": sets.free,
        "general_test.jsonl": general.documents(seed, sizes.general_test),
    }


def lines(rows: list[Any]) -> str:
    """Return rows as the text of a JSON-lines file."""
    return "".join(to_line(row) + "\n" for row in rows)
