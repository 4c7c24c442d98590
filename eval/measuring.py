"""The benchmark's work: every checkpoint through every task, then scores, comparisons, lineage and files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import write_rows
from eval import comparison, contamination, lineage, metrics, subjects
from eval import tasks as kinds
from eval.results import REWARD_MODEL, Answered, Checkpoint, Results, Said, Step, TaskSummary
from eval.task import Item, Outcome, TaskSection

if TYPE_CHECKING:
    from eval.stages.benchmark import Recipe
    from finetune.models import Reward

# By subject (a checkpoint's name or REWARD_MODEL), then by task.
Outcomes = dict[str, dict[str, Outcome]]
Items = Mapping[str, Sequence[Item]]


def outcomes(recipe: Recipe, items: Items, scratch: Path) -> Outcomes:
    """Let every checkpoint do every task; what `scratch` already holds of a run that was killed is not done again."""
    found: Outcomes = {name: {} for name in (*(one.name for one in recipe.checkpoints), REWARD_MODEL)}
    waiting: dict[str, list[TaskSection]] = {}
    for name, there in found.items():
        for task in _tasks_of(recipe, name):
            stored = scratch / _file_name(recipe, name, task)
            if stored.exists():
                there[task.name] = Outcome.restore(json.loads(stored.read_text(encoding="utf-8")))
            else:
                waiting.setdefault(name, []).append(task)
    for name, subject in _subjects(recipe, set(waiting)):
        began = time.monotonic()
        for task in waiting[name]:
            outcome = kinds.kind(task.kind).measure(task, items[task.name], subject)
            _keep(scratch / _file_name(recipe, name, task), outcome)
            found[name][task.name] = outcome
        print(f"  benchmark {name}  {len(waiting[name])} tasks  {time.monotonic() - began:.1f} s", file=sys.stderr)
    _against_baseline(recipe, found)
    return found


def _tasks_of(recipe: Recipe, name: str) -> list[TaskSection]:
    subject = "reward" if name == REWARD_MODEL else "policy"
    return [
        task
        for task in recipe.tasks
        if subject == kinds.kind(task.kind).SUBJECT
        and (name == REWARD_MODEL or not task.applies_to or name in task.applies_to)
    ]


def _file_name(recipe: Recipe, name: str, task: TaskSection) -> str:
    """Return a name made of numbers: what people call their checkpoints need not be a file's name."""
    names = [one.name for one in recipe.checkpoints]
    who = "reward" if name == REWARD_MODEL else str(names.index(name))
    return f"{who}.{recipe.tasks.index(task)}.json"


def _keep(path: Path, outcome: Outcome) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(outcome.stored()), encoding="utf-8")
    os.replace(new, path)


def _subjects(recipe: Recipe, wanted: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield what has tasks waiting, ready to be measured."""
    if not wanted:
        return
    _quiet()
    reward = _reward(recipe)
    if reward is not None and REWARD_MODEL in wanted:
        yield REWARD_MODEL, subjects.Scorer(reward)
    chosen = [(one.name, str(one.model_name_or_path)) for one in recipe.checkpoints if one.name in wanted]
    for policy in subjects.policies(
        chosen,
        settings=recipe.generation,
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        reward=reward,
        load={
            "dtype": recipe.dtype,
            "attn_implementation": recipe.attn_implementation,
            "trust_remote_code": recipe.trust_remote_code,
        },
    ):
        yield policy.name, policy


def _quiet() -> None:
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _reward(recipe: Recipe) -> Reward | None:
    if recipe.reward_model is None:
        return None
    from finetune import models

    return models.load_reward(str(recipe.reward_model), dtype=recipe.dtype)


def _against_baseline(recipe: Recipe, found: Outcomes) -> None:
    """Add the measures that only exist beside the baseline's outcome; the baseline against itself is all ties."""
    if recipe.baseline is None:
        return
    for task in recipe.tasks:
        against: Any = getattr(kinds.kind(task.kind), "against", None)
        baseline = found[recipe.baseline].get(task.name)
        if against is None or baseline is None:
            continue
        for name in found:
            if task.name in found[name]:
                found[name][task.name].measures |= against(task, found[name][task.name], baseline)


def results(recipe: Recipe, items: Items, found: Outcomes) -> Results:
    """Return everything that can be said of the outcomes."""
    references = {one.name: str(one.model_name_or_path) for one in recipe.checkpoints}
    others = {name: {key: value for key, value in references.items() if key != name} for name in references}
    parents = {name: lineage.parent(reference, others[name]) for name, reference in references.items()}
    asked_of = {**references, **({REWARD_MODEL: str(recipe.reward_model)} if recipe.reward_model else {})}
    hits, missing = contamination.search(
        {task.name: [(one.id, one.probe) for one in items[task.name]] for task in recipe.tasks},
        {name: lineage.training_files(reference) for name, reference in asked_of.items()},
    )
    summaries = [_summary(recipe, task, items[task.name], found) for task in recipe.tasks]
    return Results(
        checkpoints=[Checkpoint(name, reference, parents[name]) for name, reference in references.items()],
        baseline=recipe.baseline,
        tasks=summaries,
        scores=list(_scores(recipe, items, found)),
        comparisons=comparison.compare(_pairs(recipe, summaries, items, found, parents), recipe.seed),
        contamination=hits,
        not_searched=missing,
        chains={name: _chain(reference) for name, reference in asked_of.items()},
        steps=_steps(list(asked_of.values())),
        recipe=recipe.model_dump(mode="json"),
        app=recipe.app,
        samples=_samples(recipe, items, found),
    )


def _clusters(task: TaskSection, items: Sequence[Item]) -> list[str] | None:
    return [str(item.cluster) for item in items] if task.cluster else None


def _scores(recipe: Recipe, items: Items, found: Outcomes) -> Iterator[comparison.Score]:
    for name, there in found.items():
        for task in recipe.tasks:
            clusters = _clusters(task, items[task.name])
            for measure, counted in there[task.name].measures.items() if task.name in there else ():
                if score := comparison.score(name, task.name, measure, counted, clusters, recipe.seed):
                    yield score


def _summary(recipe: Recipe, task: TaskSection, items: Sequence[Item], found: Outcomes) -> TaskSummary:
    kind = kinds.kind(task.kind)
    there = {name: several[task.name] for name, several in found.items() if task.name in several}
    measured = {measure for outcome in there.values() for measure in outcome.measures}
    not_asked = {name: outcome.asked.count(False) for name, outcome in there.items() if not all(outcome.asked)}
    notes = {name: outcome.notes for name, outcome in there.items() if outcome.notes}
    shown = tuple(measure for measure in task.table or kind.MAIN if measure in measured)
    return TaskSummary(task.name, task.kind, str(task.file), len(items), kind.SUBJECT, shown, not_asked, notes)


def _pairs(
    recipe: Recipe, summaries: Sequence[TaskSummary], items: Items, found: Outcomes, parents: Mapping[str, str | None]
) -> list[comparison.Pair]:
    names = [one.name for one in recipe.checkpoints]
    pairs = []
    for before, after in comparison.pairs_of(names, recipe.baseline, parents):
        for task, summary in zip(recipe.tasks, summaries, strict=True):
            for measure in summary.shown:
                both = [found[name].get(task.name) for name in (before, after)]
                counted = [outcome.measures[measure] for outcome in both if outcome and measure in outcome.measures]
                if len(counted) == 2:
                    clusters = _clusters(task, items[task.name])
                    pairs.append(comparison.Pair(task.name, measure, before, after, (counted[0], counted[1]), clusters))
    return pairs


def _chain(reference: str) -> list[str]:
    """Return the stages behind a checkpoint, newest first, and the model that they began from."""
    stages = [f"{one.stage} ({one.folder}, {one.content[:12]})" for one in lineage.past(reference)]
    return stages + lineage.origins(reference)


def _steps(references: Sequence[str]) -> list[Step]:
    """Return every stage in the past of the checkpoints, oldest first."""
    found: dict[str, Step] = {}
    for reference in references:
        files = lineage.training_files(reference)
        for one in reversed(lineage.past(reference)):
            trained_on = tuple(file.named for file in files if file.named in _named(one.inputs))
            found.setdefault(
                one.content,
                Step(one.stage, str(one.folder), one.content, one.seconds, trained_on, one.metrics, lineage.curve(one)),
            )
    return list(found.values())


def _named(inputs: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {str(entry["path"]) for entry in inputs.values()}


def answered(recipe: Recipe, task: TaskSection, items: Sequence[Item], found: Outcomes) -> Iterator[Answered]:
    """Yield each item of a task with the answers of all checkpoints."""
    there = {name: several[task.name] for name, several in found.items() if task.name in several}
    for index, item in enumerate(items):
        answers = {name: _said(task, outcome, index) for name, outcome in there.items()}
        yield Answered(task.name, item.id, item.shown, item.expected, answers)


def _said(task: TaskSection, outcome: Outcome, index: int) -> Said:
    import numpy as np

    text = outcome.answers[index] if outcome.answers else ""
    shown = [name for name in task.table or kinds.kind(task.kind).MAIN if name in outcome.measures]
    measure = outcome.measures[shown[0]] if shown else None
    # The score of one row is the item's own.
    alone = bool(measure and outcome.asked[index] and any(measure.rows[index]))
    value = (
        comparison.total(metrics.named(measure.metric), np.array([measure.rows[index]])) if measure and alone else None
    )
    return Said(text, outcome.asked[index], value if value is not None and math.isfinite(value) else None)


def _samples(recipe: Recipe, items: Items, found: Outcomes) -> list[Answered]:
    """Draw the items that the report shows, from all tasks in which checkpoints write."""
    writing = [task for task in recipe.tasks if getattr(kinds.kind(task.kind), "WRITES", False)]
    every = [one for task in writing for one in answered(recipe, task, items[task.name], found)]
    return random.Random(recipe.seed).sample(every, min(recipe.samples, len(every)))


def write(all_results: Results, recipe: Recipe, items: Items, found: Outcomes, folder: Path) -> None:
    """Write the benchmark's files."""
    from eval.report import html, markdown, table

    rows = (one for task in recipe.tasks for one in answered(recipe, task, items[task.name], found))
    write_rows(folder / "answers.jsonl", rows)
    stored = finite({name: value for name, value in dataclasses.asdict(all_results).items() if name != "samples"})
    files = {
        "results.json": json.dumps(stored, indent=1, ensure_ascii=False) + "\n",
        "table.txt": table.terminal(all_results),
        "report.md": markdown.markdown(all_results),
        "report.html": html.page(all_results),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def finite(value: Any) -> Any:
    """Return a value for JSON, which has no infinite numbers: they become null."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
