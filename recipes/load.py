"""YAML -> a checked recipe; every mistake in it at once, before anything heavy is imported.

In order: the file's form (source.py), the stage's name (finding.py), names, types and ranges of the values (check.py),
what the values name on disk or on the hub (existence.py), and last what only the stage knows (`faults`). The values
that a user wrote are never changed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from recipes import check, existence, model_faults, source
from recipes.errors import RecipeError, UserError
from recipes.finding import Stage, find, names, nearest
from recipes.sections import Fault, StageRecipe, shipped
from recipes.source import Source

__all__ = ["Examined", "RecipeError", "UserError", "examine", "load"]


@dataclass
class Examined:
    """A recipe file that has been looked through: either `recipe` can be run, or `problems` says why not."""

    path: str
    source: Source
    stage: Stage | None = None
    recipe: StageRecipe | None = None
    problems: list[UserError] = field(default_factory=list)
    prefix: str = ""


def load(path: str, overrides: Sequence[str] = ()) -> StageRecipe:
    """Return the checked recipe in a file, with `key.sub=value` overrides put over it.

    Raises:
        RecipeError: with all the mistakes there are.
    """
    examined = examine(path, overrides)
    if examined.recipe is None or examined.problems:
        raise RecipeError(examined.problems)
    return examined.recipe


def examine(
    path: str, overrides: Sequence[str] = (), promised: Mapping[str, Stage] | None = None, prefix: str = ""
) -> Examined:
    """Look a recipe file through.

    `promised` holds the output folders of earlier pipeline steps with their stages; `prefix` is what stood before the
    overrides on the command line.
    """
    read = source.read(shipped(path), path)
    examined = Examined(path, read, problems=read.problems, prefix=prefix)
    if not read.values and read.problems:
        return examined
    for text in overrides:
        source.override(read, text, prefix)
    examined.stage = _stage(read)
    if examined.stage:
        recipe = check.validate(read, examined.stage.recipe)
        faults = list(_disk_faults(examined, examined.stage, promised or {}))
        if recipe is not None:
            faults += _stage_faults(examined, recipe, missing_is_known=bool(faults or promised))
        read.problems += [UserError(read.where(fault.key), fault.what, fault.write) for fault in faults]
        examined.recipe = recipe if not read.problems else None
    read.problems.sort(key=_line)
    return examined


def recheck(examined: Examined) -> None:
    """Look again at what a pipeline's step reads, now that the earlier steps have made it.

    Raises:
        RecipeError: an earlier step has not made what this one names, or not as this one needs it.
    """
    assert examined.recipe is not None and examined.stage is not None
    faults = list(_disk_faults(examined, examined.stage, {}))
    if not faults:
        faults = _stage_faults(examined, examined.recipe, missing_is_known=False)
    examined.problems += [UserError(examined.source.where(fault.key), fault.what, fault.write) for fault in faults]
    if examined.problems:
        raise RecipeError(examined.problems)


def _line(problem: UserError) -> float:
    """Return the line that a problem is in; those of the command line come last."""
    number = re.search(r":(\d+)(:|$)", problem.where)
    return int(number[1]) if number else math.inf


def _stage(read: Source) -> Stage | None:
    """Return the stage that a recipe is for; None after noting why there is none."""
    name = read.values.get("stage")
    if name is None:
        write = f"add `stage: NAME`; there are {', '.join(names())}"
        read.problems.append(UserError(f"{read.name}:1: stage", "this key is required and missing", write))
        return None
    stage = find(name) if isinstance(name, str) else None
    if stage is None:
        guess = nearest(str(name), names())
        write = f"did you mean {guess}? There are {', '.join(names())}" if guess else f"one of {', '.join(names())}"
        read.problems.append(UserError(read.where(("stage",)), f"there is no stage {source.shown(name)}", write))
    return stage


def _disk_faults(examined: Examined, stage: Stage, promised: Mapping[str, Stage]) -> Iterator[Fault]:
    """Yield what is wrong with what the recipe names on disk, also when other values of it are wrong."""
    output_dir = examined.source.values.get("output_dir")
    folder = output_dir if isinstance(output_dir, str) and output_dir else ""
    if folder and stage.makes_result:
        yield from existence.output_faults(folder)
    named = check.named(examined.source, stage.recipe)
    yield from existence.faults(named, folder, promised, _Siblings(examined.path))


def _stage_faults(examined: Examined, recipe: StageRecipe, *, missing_is_known: bool) -> list[Fault]:
    """Return what only the stage knows to be wrong."""
    try:
        return [*model_faults.faults(recipe), *recipe.faults()]
    except UserError as error:  # a corrupt line in a data file, say: its place is in that file
        examined.problems.append(error)
    except FileNotFoundError:
        if not missing_is_known:  # else it has just been reported, or an earlier step makes it
            raise
    return []


class _Siblings(Mapping[str, str]):
    """The output folders of the recipes beside one, read only when something is missing."""

    def __init__(self, path: str) -> None:
        self.path = shipped(path)
        self._found: dict[str, str] | None = None

    def _folders(self) -> dict[str, str]:
        if self._found is None:
            self._found = {}
            for file in sorted(self.path.parent.glob("*.yaml")):
                values = source.read(file, str(file)).values
                if isinstance(values.get("output_dir"), str) and values.get("stage") != "pipeline":
                    self._found[values["output_dir"]] = os.path.relpath(file) if file.exists() else str(file)
        return self._found

    def __getitem__(self, folder: str) -> str:
        return self._folders()[folder]

    def __iter__(self) -> Iterator[str]:
        return iter(self._folders())

    def __len__(self) -> int:
        return len(self._folders())
