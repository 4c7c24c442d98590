"""`stage: benchmark`: measure checkpoints on the same tasks, and say which one is better and how sure that is.

Writes results.json (every score with its interval and settings), answers.jsonl (every item with all checkpoints'
answers side by side), table.txt (what the terminal shows), report.md and report.html. A run that was killed goes on
behind the last finished task of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from eval import task as tasks_of
from eval import tasks as kinds
from eval.task import TaskSection
from eval.tasks import AnyTask
from recipes.sections import Fault, Generation, Key, ModelRef, Section, StageRecipe, shipped


class CheckpointSection(Section):
    """A model to measure."""

    name: str = Field(min_length=1, max_length=24, description="How tables call it.")
    model_name_or_path: ModelRef


class Greedy(Generation):
    """How answers are written; without sampling unless the recipe says otherwise, so that a second run agrees."""

    do_sample: bool = False


class Recipe(StageRecipe):
    """Which checkpoints, on which tasks."""

    stage: Literal["benchmark"] = "benchmark"
    checkpoints: list[CheckpointSection] = Field(min_length=1)
    baseline: str | None = Field(None, description="The checkpoint that all others are compared with.")
    reward_model: ModelRef | None = None
    tasks: list[AnyTask] = Field(min_length=1)
    generation: Greedy = Field(default_factory=Greedy)
    batch_size: int = Field(64, ge=1, description="Answers written at a time.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: str = "sdpa"
    trust_remote_code: bool = False
    samples: int = Field(12, ge=0, description="How many items the report shows with all answers.")
    app: str | None = Field(None, description="The command that starts the app on these checkpoints, for the report.")

    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"})

    def faults(self) -> list[Fault]:
        """Return names that clash or lead nowhere, and files that the tasks cannot read."""
        found = [*_repeated([one.name for one in self.checkpoints], ("checkpoints",))]
        found += _repeated([one.name for one in self.tasks], ("tasks",))
        found += _unknown_names(self)
        for index, checkpoint in enumerate(self.checkpoints):
            found += _no_tokenizer(checkpoint.model_name_or_path, ("checkpoints", index, "model_name_or_path"))
        for index, one in enumerate(self.tasks):
            found += _task_faults(self, one, ("tasks", index))
        return found


def _repeated(names: list[str], key: Key) -> Iterator[Fault]:
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Fault((*key, index, "name"), f"{name!r} is there twice", "another name")


def _unknown_names(recipe: Recipe) -> Iterator[Fault]:
    names = [one.name for one in recipe.checkpoints]
    write = f"one of {', '.join(names)}"
    if recipe.baseline is not None and recipe.baseline not in names:
        yield Fault(("baseline",), f"there is no checkpoint {recipe.baseline!r}", write)
    for index, one in enumerate(recipe.tasks):
        for place, name in enumerate(one.applies_to):
            if name not in names:
                yield Fault(("tasks", index, "applies_to", place), f"there is no checkpoint {name!r}", write)


def _no_tokenizer(reference: str, key: Key) -> Iterator[Fault]:
    folder = shipped(reference)
    if _has(folder, "config.json", "adapter_config.json") and not _has(
        folder, "tokenizer.json", "tokenizer_config.json"
    ):
        what = f"{reference} has no tokenizer, so it can be asked nothing"
        yield Fault(key, what, "copy tokenizer.json and tokenizer_config.json of its base into the folder")


def _has(folder: Path, *names: str) -> bool:
    return any((folder / name).is_file() for name in names)


def _task_faults(recipe: Recipe, one: TaskSection, key: Key) -> Iterator[Fault]:
    kind = kinds.kind(one.kind)
    yield from tasks_of.first_rows_faults(one, kind.parse, key)
    own: Any = getattr(kind, "faults", None)
    for fault in own(one, recipe) if own else []:
        yield Fault((*key, *fault.key), fault.what, fault.write)


def run(recipe: Recipe) -> None:
    """Measure everything, write the report, show the table."""
    from eval import measuring
    from eval.report import table
    from recipes import artifact

    with artifact.writing(recipe) as work:
        if not work.main:
            return
        # All items first: a bad row in the last file must not cost the time of the first.
        items = {one.name: tasks_of.read(one, kinds.kind(one.kind).parse) for one in recipe.tasks}
        outcomes = measuring.outcomes(recipe, items, work.scratch)
        results = measuring.results(recipe, items, outcomes)
        measuring.write(results, recipe, items, outcomes, work.path)
        work.volatile |= {"report.html", "results.json"}
        for score in results.scores:
            work.metrics.setdefault(score.checkpoint, {})[f"{score.task}.{score.measure}"] = round(score.value, 6)
        work.notes["contaminated_items"] = sum(len(hit.items) for hit in results.contamination)
        print(table.terminal(results), flush=True)
