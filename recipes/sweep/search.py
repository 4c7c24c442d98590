"""The search: trials in their processes, values and reasons into the study, the table at the end.

It can be killed at any moment. A trial's value is in its folder before it is in the study, which says `running` of it
until then; so the same command finds each trial finished, cut (it goes on from its checkpoint), or not begun.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipes import pipeline, publish, steps
from recipes.errors import UserError
from recipes.load import Examined
from recipes.stages.sweep import Recipe
from recipes.sweep import comparison, report, space, study, trials
from recipes.sweep.cells import number

POLL_SECONDS = 0.1
FIRST_FAILURES = 3
NO_SEED = -1  # stands for the recipe's own


def run(recipe: Recipe) -> None:
    """Search, repeat over the seeds, compare; go on where an earlier run of the same sweep was cut.

    Raises:
        UserError: another run works in this folder, its trials are of another sweep, or the first three all failed.
    """
    base = space.target(recipe, _first(recipe))
    pipeline.checked([base])
    folder = Path(recipe.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if recipe.parallel > 1:  # before anything starts threads: each trial gets its share of the cores
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // recipe.parallel)))
    with publish.lock(folder / "sweep"), steps.Runner([base], folder / "logs") as runner:
        if base.recipe is not None and steps.needs_torch(base.recipe) and not steps.launch_of(base.recipe).launched:
            runner.warm_up()
        search = Search(recipe, study.opened(recipe, base))
        search.run()
    found = comparison.compare(recipe, search.study)
    report.write(found, folder, recipe)
    if found["best"] is None:
        error = UserError(str(folder), "no trial came to its end", "look at the remarks in the table, and at logs/")
        error.code = 1
        raise error


def _first(recipe: Recipe) -> dict[str, Any]:
    """Return some configuration, with which the other recipe is whole."""
    return {name: one.choices[0] if one.choices else one.low for name, one in _plain(recipe).items()}


def _plain(recipe: Recipe) -> dict[str, Any]:
    model = space.target_class(recipe)
    found = {}
    for name, one in recipe.space.items():
        low = None if one.low is None else space.number(one.low, space.whole_numbers(name, model))
        found[name] = one.model_copy(update={"low": low})
    return found


@dataclass
class Slot:
    """A place in which one configuration is worked on, seed after seed."""

    number: int
    values: dict[str, Any]
    seeds: list[int]
    place: int = 0
    trial: Any = None  # Optuna's; None for a repetition
    run: trials.Run | None = None
    seed: int = NO_SEED
    first: int = NO_SEED
    results: dict[int, float] = field(default_factory=dict)
    read: int = 0  # bytes of the log that have been looked at
    began: float = field(default_factory=time.monotonic)


class Search:
    """A sweep at work."""

    def __init__(self, recipe: Recipe, opened: Any) -> None:
        self.recipe, self.study = recipe, opened
        self.folder = Path(recipe.output_dir)
        self.seeds = recipe.seeds or [NO_SEED]
        self.line = report.Line(recipe)
        self.ended = 0
        self.repeats: Iterator[Slot] | None = None

    def run(self) -> None:
        """Work until every trial has ended."""
        self._clear()
        slots: list[Slot | None] = [None] * self.recipe.parallel
        try:
            while self._fill(slots):
                time.sleep(POLL_SECONDS)
                for place, slot in enumerate(slots):
                    if slot is not None and self._over(slot):
                        slots[place] = None
                self.line.show([slot.run.log for slot in slots if slot and slot.run])
        finally:
            for slot in slots:
                if slot is not None and slot.run is not None and slot.run.process is not None:
                    slot.run.stop()

    def _clear(self) -> None:
        """Remove what a kill has left of stopped trials."""
        if not self.recipe.keep_pruned:
            for one in study.frozen(self.study, "pruned"):
                shutil.rmtree(trials.partial_of(self.place(one.number, self.seeds[0])), ignore_errors=True)

    def place(self, number: int, seed: int) -> Path:
        """Return the folder of a trial with one seed."""
        return self.folder / "trials" / (f"{number:03d}" if seed == NO_SEED else f"{number:03d}-seed{seed}")

    def _fill(self, slots: list[Slot | None]) -> bool:
        """Put work into the free slots; return whether there is any left anywhere."""
        for place, slot in enumerate(slots):
            while slots[place] is None:
                active = {one.number for one in slots if one is not None}
                slot = self._next(active)
                if slot is None:
                    break
                slot.place = place
                if self._begin(slot):
                    slots[place] = slot
        return any(slot is not None for slot in slots)

    def _next(self, active: set[int]) -> Slot | None:
        """Return the next piece of work, a configuration or at the end a repetition; None when none is left."""
        if self.repeats is None:
            trial = study.next_trial(self.study, self.recipe, active)
            if trial is not None:
                seeds = self.seeds[:1] if self.recipe.repeat_best is not None else self.seeds
                values = space.loaded(self.recipe.space, trial.params)
                return Slot(trial.number, values, list(seeds), trial=trial, first=self.seeds[0])
            if active:  # the best are not known yet
                return None
            self.repeats = iter(list(self._repetitions()))
        return next(self.repeats, None)

    def _repetitions(self) -> Iterator[Slot]:
        """Yield what is missing: other seeds of the best, and results of complete trials that are gone or outdated."""
        failed = study.repeat_failures(self.study)
        for rank, one in enumerate(study.best_first(self.study, self.recipe)):
            all_seeds = self.recipe.repeat_best is None or rank < self.recipe.repeat_best
            for seed in self.seeds if all_seeds else self.seeds[:1]:
                values = space.loaded(self.recipe.space, one.params)
                if self.place(one.number, seed).name not in failed:
                    yield Slot(one.number, values, [seed])

    def _begin(self, slot: Slot) -> bool:
        """Start the next seed of a slot that is not finished already; return False when none was left to start."""
        while slot.seeds:
            slot.seed = slot.seeds.pop(0)
            slot.run = self._run_of(slot)
            if slot.run.examined.problems:
                self._fail(slot, str(slot.run.examined.problems[0]))
                return False
            if not slot.run.finished():
                slot.run.start()
                return True
            if not self._take(slot):
                return False
        self._complete(slot)
        return False

    def _run_of(self, slot: Slot) -> trials.Run:
        folder = self.place(slot.number, slot.seed)
        own: dict[str, Any] = {"output_dir": str(folder)} | ({} if slot.seed == NO_SEED else {"seed": slot.seed})
        examined = space.target(self.recipe, slot.values, **own)
        overrides = space.overrides({**self.recipe.fixed, **slot.values, **own})
        log = self.folder / "logs" / f"{folder.name}.log"
        return trials.Run(examined, overrides, log, device_of(slot.place, self.recipe.parallel))

    def _over(self, slot: Slot) -> bool:
        """Look at a running trial; return whether its slot is free again."""
        assert slot.run is not None
        ended = slot.run.ended()  # before the log is read: what it wrote last is seen
        if slot.trial is not None and slot.seed == slot.first and not ended and self._stops(slot):
            return True
        if not ended:
            return False
        if reason := slot.run.reason():
            self._fail(slot, reason)
            return True
        return not (self._take(slot) and self._begin(slot))

    def _stops(self, slot: Slot) -> bool:
        """Report new validations of a trial; return whether it has been stopped for them."""
        if self.recipe.pruner == "none":
            return False
        assert slot.run is not None
        size = trials.log_size(slot.run.folder)
        if size == slot.read:
            return False
        slot.read = size
        known = study.intermediate(slot.trial)
        metric = self.recipe.metric
        for row in trials.rows(slot.run.folder):
            if metric not in row or row["step"] in known:
                continue
            slot.trial.report(row[metric], int(row["step"]))
            if slot.trial.should_prune():
                return self._prune(slot, int(row["step"]), row[metric])
        return False

    def _prune(self, slot: Slot, step: int, value: float) -> bool:
        """Stop a trial; return whether that came before its end."""
        assert slot.run is not None
        slot.run.stop()
        if slot.run.finished():  # it was through in the meantime: its value is known
            return False
        reason = f"stopped at step {step}: {self.recipe.metric} {number(value)}"
        study.told(self.study, slot.trial, reason=reason, pruned=True)
        if not self.recipe.keep_pruned:
            shutil.rmtree(slot.run.partial, ignore_errors=True)
        self._say(slot, reason)
        return True

    def _take(self, slot: Slot) -> bool:
        """Take the value of a finished run; return False after noting why there is none."""
        assert slot.run is not None
        value = trials.metric_of(slot.run.folder, self.recipe.metric)
        if value is None or not math.isfinite(value):
            there = ", ".join(trials.there_are(slot.run.folder)) or "none"
            what = f"its {self.recipe.metric} is {value}" if value is not None else f"no {self.recipe.metric} came out"
            self._fail(slot, f"{what}; the metrics are {there}" if value is None else what)
            return False
        slot.results[slot.seed] = value
        return True

    def _complete(self, slot: Slot) -> None:
        """Tell the study the mean over the seeds."""
        if slot.trial is None:
            if slot.run is not None and slot.run.process is not None:
                self._say(slot, report.outcome(self.recipe, list(slot.results.values())))
            return
        values = list(slot.results.values())
        study.told(self.study, slot.trial, value=sum(values) / len(values))
        self._say(slot, report.outcome(self.recipe, values))

    def _fail(self, slot: Slot, reason: str) -> None:
        """Note why a trial came to nothing, and go on; unless nothing works at all."""
        reason = reason if len(self.seeds) == 1 else f"seed {slot.seed}: {reason}"
        if slot.trial is None:
            study.note_repeat_failure(self.study, self.place(slot.number, slot.seed).name, reason)
        else:
            study.told(self.study, slot.trial, reason=reason)
        self._say(slot, f"failed: {reason}")
        ended = study.frozen(self.study, "complete", "pruned", "fail")
        if len(ended) == FIRST_FAILURES and len(study.frozen(self.study, "fail")) == FIRST_FAILURES:
            error = UserError(
                str(self.folder),
                f"the first {FIRST_FAILURES} trials all failed, the last one: {reason}",
                "put that right, remove this folder and run the sweep again",
            )
            error.code = 1
            raise error

    def _say(self, slot: Slot, said: str) -> None:
        ended = len(study.frozen(self.study, "complete", "pruned", "fail"))
        self.line.tell(f"[{ended}/{self.recipe.wanted}]", slot.number, slot.values, slot.seed, said, slot.began)


def device_of(place: int, parallel: int) -> dict[str, str]:
    """Return the environment of the trials in one of several slots: GPUs are handed out in turn."""
    if parallel == 1:
        return {}
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = named.split(",") if named else [] if named == "" else _devices()
    return {"CUDA_VISIBLE_DEVICES": devices[place % len(devices)]} if devices else {}


def _devices() -> list[str]:
    """Return the numbers of NVIDIA's GPUs, without asking a library."""
    if not sys.platform.startswith("linux"):
        return []
    return sorted((path.name[6:] for path in Path("/dev").glob("nvidia[0-9]*")), key=int)


def examined_target(recipe: Recipe) -> Examined:
    """Return the other recipe with some configuration of the space."""
    return space.target(recipe, _first(recipe))
