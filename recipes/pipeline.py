"""A pipeline's steps: all looked through before the first one starts, then run one process each.

A step whose result still matches its recipe and its inputs is skipped. A step that fails or dies ends the pipeline;
what is finished stays, and the same command goes on from there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes import load, source
from recipes.errors import RecipeError, UserError
from recipes.finding import Stage, nearest
from recipes.load import Examined
from recipes.sections import StageRecipe, shipped
from recipes.stages import pipeline as stage

NAME = "pipeline"


def examine(path: str, overrides: Sequence[str] = ()) -> list[Examined]:
    """Look through a recipe and, when it is a pipeline, all its steps; the recipe itself comes first."""
    head = source.read(shipped(path), path)
    if head.values.get("stage") != NAME:
        return [load.examine(path, overrides)]
    listed = head.values.get("steps")
    paths = [step for step in listed if isinstance(step, str)] if isinstance(listed, list) else []
    names = [Path(step).stem for step in paths]
    whole = load.examine(path, [text for text in overrides if _first(text) not in names])
    _suggest_steps(whole, names)
    return [whole, *_examine_steps(whole, paths, overrides)]


def _first(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]


def _suggest_steps(whole: Examined, names: list[str]) -> None:
    """Say of an override that names no step which steps there are."""
    for problem in whole.problems:
        if problem.where.startswith("override ") and "there is no key" in problem.what:
            text = problem.where.removeprefix("override ").split(": ")[0]
            first, problem.where = _first(text), f"override {text}"
            guess = nearest(first, names)
            problem.what = f"there is no step or key `{first}` in this pipeline"
            problem.write = f"did you mean `{guess}`?" if guess else f"the steps are {', '.join(names)}"


def _examine_steps(whole: Examined, paths: list[str], overrides: Sequence[str]) -> list[Examined]:
    promised: dict[str, Stage] = {}
    makers: dict[str, str] = {}
    found = []
    for index, path in enumerate(paths):
        name = Path(path).stem
        own = [text.partition(".")[2] for text in overrides if _first(text) == name]
        if not shipped(path).is_file():  # said of the pipeline's own list of steps
            continue
        examined = load.examine(path, own, promised, prefix=f"{name}.")
        folder = examined.source.values.get("output_dir")
        if isinstance(folder, str) and examined.stage:
            place = os.path.abspath(folder)
            if place in makers:
                what = f"{folder} is written by {makers[place]} already"
                where = examined.source.where(("output_dir",))
                examined.problems.append(UserError(where, what, "give each step an output_dir of its own"))
            makers[place] = path
            promised[folder] = examined.stage
        if examined.stage and examined.stage.name == NAME:
            where = whole.source.where(("steps", index))
            whole.problems.append(UserError(where, f"{path} is a pipeline itself", "list its steps here"))
        elif examined.stage and not examined.stage.makes_result:
            where = whole.source.where(("steps", index))
            what = f"{path} is no step: stage {examined.stage.name} makes no result of its own"
            whole.problems.append(UserError(where, what, "start it by itself, before or after the pipeline"))
        found.append(examined)
    return found


def checked(examined: list[Examined]) -> list[Examined]:
    """Return the recipes when there is nothing wrong with any of them.

    Raises:
        RecipeError: with the mistakes of all of them.
    """
    if problems := [problem for one in examined for problem in one.problems]:
        raise RecipeError(problems)
    return examined


def run(recipe: stage.Recipe) -> None:
    """Look all steps through and run them."""
    whole = Examined(NAME, source.Source(NAME), recipe=recipe)
    run_steps(recipe, checked(_examine_steps(whole, list(recipe.steps), ())))


def run_steps(recipe: StageRecipe, found: list[Examined], *, force: bool = False) -> None:
    """Run the steps of a pipeline that has been checked.

    Raises:
        UserError: a step could not do its work, or died.
    """
    # Not at the top: a refused recipe must answer at once.
    from recipes import artifact, clean_tests, publish, steps

    for warning in clean_tests.warnings(found):
        print(f"note: {warning}", file=sys.stderr)
    folder = Path(recipe.output_dir)
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    with publish.lock(folder / NAME), steps.Runner(found, folder / "logs") as runner:
        report: list[dict[str, Any]] = []
        for number, step in enumerate(found, 1):
            load.recheck(step)
            line = Progress(f"[{number}/{len(found)}] {Path(step.path).stem}")
            if not force and artifact.matches(_recipe(step)):
                line.end("unchanged, skipped")
                state = "skipped"
            else:
                runner.run(step, line)
                state = "done"
            report.append(_summary(step, state))
            _write_report(folder, report)
    print_end(found)


def _recipe(step: Examined) -> StageRecipe:
    assert step.recipe is not None
    return step.recipe


def _summary(step: Examined, state: str) -> dict[str, Any]:
    from recipes import artifact

    manifest = artifact.read(_recipe(step).output_dir)
    if manifest is None:
        raise UserError(step.path, f"this step ended without a result in {_recipe(step).output_dir}", "report this bug")
    return {
        "step": Path(step.path).stem,
        "recipe": step.path,
        "result": _recipe(step).output_dir,
        "content": manifest.content,
        "seconds": manifest.seconds,
        "state": state,
    }


def _write_report(folder: Path, report: list[dict[str, Any]]) -> None:
    new = folder / f".{NAME}.json"
    new.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(new, folder / f"{NAME}.json")


def print_end(found: list[Examined]) -> None:
    """Print what a pipeline comes to: the table of the steps that have one, their report, how to start the app."""
    for step in found:
        result = Path(_recipe(step).output_dir)
        if (result / "table.txt").is_file():
            print("\n" + (result / "table.txt").read_text(encoding="utf-8").rstrip("\n"))
            if (result / "report.html").is_file():
                print(f"\nreport: {result / 'report.html'}")
    app = Path(found[-1].path).parent / "app.yaml"
    if shipped(str(app)).is_file():
        print(f"talk to these checkpoints and vote: tuneloop app {app}")


class Progress:
    """One line of the terminal for a step: its name, the seconds so far, and what it says last."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.live = sys.stdout.isatty()
        print(f"{title} ...", end="", flush=True)

    def update(self, said: str) -> None:
        """Show what the step is doing, where the terminal can overwrite a line."""
        if self.live:
            width = os.get_terminal_size().columns - 1
            text = f"{self.title} ... {time.monotonic() - self.started:.0f} s  {said}"
            print(f"\r\033[K{text[:width]}", end="", flush=True)

    def end(self, said: str | None = None) -> None:
        """Finish the line."""
        said = said or f"{time.monotonic() - self.started:.0f} s"
        print(f"\r\033[K{self.title} ... {said}" if self.live else f" {said}", flush=True)
