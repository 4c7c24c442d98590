"""`stage: garden`: write Larkmoor Garden, the invented domain, with its documents, data sets and truth table.

Into `output_dir`: `raw/**` (HTML, Markdown, text, JSON lines, one PDF, with planted defects), `truth.json`,
`instructions_*.jsonl`, `preferences_*.jsonl`, `prompts_*.jsonl`, `questions_choice.jsonl`, `questions_free.jsonl`,
`general_test.jsonl`. Equal recipes give equal bytes. What the files mean: `data_prep.garden.truth` and `.oracle`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recipes.sections import Fault, Key, Section, StageRecipe


class Instructions(Section):
    """Training conversations."""

    train: int = Field(default=1600, ge=1)
    validation: int = Field(default=120, ge=1)


class Preferences(Section):
    """Preference pairs; test pairs are about questions that no training file has."""

    train: int = Field(default=1600, ge=1)
    validation: int = Field(default=120, ge=1)
    test: int = Field(default=200, ge=0)


class Prompts(Section):
    """Prompts for reinforcement learning and for judging answers."""

    train: int = Field(default=600, ge=1)
    test: int = Field(default=150, ge=0)


class Questions(Section):
    """Benchmark questions: multiple choice and free answers."""

    choice: int = Field(default=150, ge=0)
    free: int = Field(default=150, ge=0)


class Recipe(StageRecipe):
    """How large the world is and how many rows there are of each kind."""

    stage: Literal["garden"] = "garden"
    plants: int = Field(default=20, ge=8, le=72, description="Each has ten facts.")
    held_out: float = Field(
        default=0.08, ge=0, le=0.5, description="Share of the plants' facts that only documents tell."
    )
    instructions: Instructions = Instructions()
    preferences: Preferences = Preferences()
    prompts: Prompts = Prompts()
    questions: Questions = Questions()
    general: int = Field(
        default=60, ge=1, le=400, description="Paragraphs of plain English that are not about the garden."
    )

    def faults(self) -> list[Fault]:
        """Refuse sizes for which there are not enough different questions."""
        from data_prep.garden import world

        place = world.build(self.seed, self.plants, self.held_out)
        known = [fact for fact in place.facts if fact.split == "train"]
        there = {name: sum(len(fact.questions(name)) for fact in known) for name in ("train", "validation", "test")}
        tested = self.prompts.test + self.preferences.test + self.questions.free + self.questions.choice
        wanted: dict[Key, tuple[int, int, str]] = {
            ("instructions", "train"): (self.instructions.train, there["train"], "asked for"),
            ("instructions", "validation"): (self.instructions.validation, there["validation"], "asked for"),
            ("questions",): (tested, there["test"], "in all test sets together (prompts, preferences, questions)"),
        }
        return [
            Fault(key, f"{size} questions {what}, but {self.plants} plants give only {most}", f"at most {most}")
            for key, (size, most, what) in wanted.items()
            if size > most
        ]


def run(recipe: Recipe) -> None:
    """Write the garden."""
    from data_prep.garden import everything, questions
    from data_prep.records import write_rows
    from recipes import artifact

    test = questions.Sizes(recipe.prompts.test, recipe.preferences.test, recipe.questions.choice, recipe.questions.free)
    sizes = everything.Sizes(
        recipe.instructions.train, recipe.instructions.validation, recipe.preferences.train,
        recipe.preferences.validation, recipe.prompts.train, recipe.general, test,
    )  # fmt: skip
    with artifact.writing(recipe) as work:
        made = everything.make(recipe.seed, recipe.plants, recipe.held_out, sizes)
        for path, data in made.raw.items():
            _write(work.path / "raw" / path, data)
        for name, rows in made.rows.items():
            write_rows(work.path / name, rows)
        _write(work.path / "truth.json", (json.dumps(made.truth, ensure_ascii=False, indent=1) + "\n").encode())
        work.metrics.update(_counts(made.raw, made.rows, made.truth))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _counts(raw: dict[str, bytes], rows: dict[str, list[Any]], truth: dict[str, Any]) -> dict[str, Any]:
    """Return how much there is of everything."""
    planted: dict[str, int] = {}
    for defect in truth["planted"]:
        planted[defect["defect"]] = planted.get(defect["defect"], 0) + 1
    return {
        "facts": len(truth["facts"]),
        "raw_files": len(raw),
        "raw_bytes": sum(map(len, raw.values())),
        "good_documents": len(truth["good"]),
        "good_characters": sum(len(one["text"]) for one in truth["good"]),
        "planted": dict(sorted(planted.items())),
        "rows": {name.removesuffix(".jsonl"): len(there) for name, there in rows.items()},
    }
