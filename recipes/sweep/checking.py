"""What is wrong with a sweep: its space, value for value by the rules of the other recipe, and its plan as a whole.

A value is put over the other recipe as `key=value` on the command line would be, and the same checks look at it; so a
range that leaves the bounds, a misspelt key and an impossible pair are told as they would be for that recipe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from recipes import artifact
from recipes.errors import UserError
from recipes.load import Examined
from recipes.sections import Fault, Key, shipped
from recipes.stages.sweep import Dimension, Recipe
from recipes.sweep import space

OWN_PLACE = {
    "output_dir": "leave it out: each trial has a folder of its own below the sweep's output_dir",
    "seed": "write `seeds` at the top level",
    "stage": "write another recipe",
}


def faults(recipe: Recipe) -> list[Fault]:
    """Return all mistakes there are."""
    if not shipped(recipe.recipe).is_file():  # said already
        return []
    found = [*_forms(recipe), *_names(recipe), *_plan(recipe)]
    base = space.target(recipe)
    if base.stage is None or not base.stage.makes_result:
        return [*found, *_base_faults(recipe, base), *_no_result(base)]
    found += _base_faults(recipe, base)
    said = {(one.where, one.what) for one in base.problems}
    wrong = {fault.key[1] for fault in found if len(fault.key) > 1}
    for name, dimension in recipe.space.items():
        if name not in wrong:
            found += _value_faults(recipe, name, dimension, said)
    return [*found, *_needs(recipe, base)]


def _forms(recipe: Recipe) -> Iterator[Fault]:
    """Yield what is wrong with a dimension by itself."""
    model = space.target_class(recipe)
    for name, one in recipe.space.items():
        key: Key = ("space", name)
        if one.choices is not None:
            extra = one.model_fields_set - {"choices"}
            if extra:
                what = f"a list of choices has no {', '.join(sorted(extra))}"
                yield Fault(key, what, "write choices alone, or low and high")
        elif one.low is None or one.high is None:
            yield Fault(key, "neither choices nor both low and high", "write {low: ..., high: ...} or {choices: [...]}")
        elif one.low >= one.high:
            yield Fault((*key, "low"), f"low {one.low:g} is not below high {one.high:g}", "write the smaller one first")
        elif one.log and one.low <= 0:
            yield Fault((*key, "low"), f"{one.low:g} has no logarithm", "write a number above 0, or leave log out")
        elif one.log and one.step is not None:
            yield Fault((*key, "step"), "steps of equal size and log exclude each other", "leave one of them out")
        elif recipe.sampler == "grid" and space.listed(one, space.whole_numbers(name, model)) is None:
            yield Fault(key, "a grid has no end of values here", "write step, or choices")


def _names(recipe: Recipe) -> Iterator[Fault]:
    """Yield keys that no trial can set."""
    for section, names in (("fixed", list(recipe.fixed)), ("space", list(recipe.space))):
        for name in names:
            if name in OWN_PLACE:
                yield Fault((section, name), f"`{name}` is not for a trial to set", OWN_PLACE[name])
    for name in recipe.space:
        clash = next((other for other in recipe.fixed if _overlap(name, other)), None)
        if clash is not None:
            yield Fault(("space", name), f"`{clash}` is fixed as well", "leave it out in one of the two places")
        clash = next((other for other in recipe.space if other != name and name.startswith(f"{other}.")), None)
        if clash is not None:
            yield Fault(("space", name), f"it lies within `{clash}`, which is tried too", "leave one of them out")


def _overlap(one: str, other: str) -> bool:
    return one == other or other.startswith(f"{one}.")


def _plan(recipe: Recipe) -> Iterator[Fault]:
    """Yield what does not go together in the sweep's own keys."""
    given, seeds = recipe.model_fields_set, recipe.seeds
    for index, seed in enumerate(seeds):
        if seed in seeds[:index]:
            yield Fault(("seeds", index), f"{seed} stands there twice", "write each seed once")
        elif not 0 <= seed < 2**32:
            yield Fault(("seeds", index), f"{seed} is no seed", "write a whole number from 0 to 4294967295")
    if not recipe.space:
        useless = sorted(given & {"trials", "sampler", "pruner", "repeat_best", "n_startup_trials"})
        for name in useless:
            yield Fault((name,), "there is no space to search: only the seeds differ", "write space, or leave it out")
        if len(seeds) < 2:
            yield Fault(("space",), "nothing differs between the trials", "write a space, several seeds, or both")
        return
    if recipe.repeat_best is not None and len(seeds) < 2:
        yield Fault(("repeat_best",), f"there are {len(seeds)} seeds to repeat with", "write seeds: [1, 2, 3], say")
    if "n_warmup_steps" in given and recipe.pruner != "median":
        what = f"pruner {recipe.pruner} has no n_warmup_steps"
        yield Fault(("n_warmup_steps",), what, "write pruner: median, or leave it out")
    if recipe.sampler == "grid":
        size = len(space.grid(_ranges_only(recipe), space.target_class(recipe)))
        if size and recipe.trials and recipe.trials > size:
            yield Fault(("trials",), f"the grid has {size} combinations, not {recipe.trials}", f"write {size}")


def _ranges_only(recipe: Recipe) -> dict[str, Dimension]:
    """Return the space when each dimension can be listed; else an empty one, whose mistakes have been told."""
    broken = any(not one.choices and (one.low is None or one.high is None) for one in recipe.space.values())
    return {} if broken else recipe.space


def _base_faults(recipe: Recipe, base: Examined) -> Iterator[Fault]:
    """Yield what is wrong with the other recipe without any value of the space."""
    for problem in base.problems:
        if "required and missing" in problem.what and any(problem.where.endswith(f": {name}") for name in recipe.space):
            continue
        name = next((name for name in recipe.fixed if problem.where.startswith(_place(name, recipe.fixed[name]))), None)
        if name is not None:
            yield Fault(("fixed", name), problem.what, problem.write)
        else:
            yield Fault(("recipe",), f"{problem.where}: {problem.what}", problem.write)


def _no_result(base: Examined) -> Iterator[Fault]:
    if base.stage is not None:
        yield Fault(("recipe",), f"stage {base.stage.name} makes no result of its own", "name the recipe of one step")


def _place(name: str, value: Any) -> str:
    return f"override {space.override(name, value)}"


def _value_faults(recipe: Recipe, name: str, dimension: Dimension, said: set[tuple[str, str]]) -> list[Fault]:
    """Return what is wrong with the ends of a range, or with each choice; what is wrong with all of them, once."""
    found: list[tuple[Key, list[tuple[str, str]]]] = []
    for part, value in _samples(dimension):
        value = space.number(value, whole=True) if isinstance(value, float) else value
        examined = space.target(recipe, {name: value})
        new = [one for one in examined.problems if (one.where, one.what) not in said]
        found.append((part, [_told(one, name, value) for one in new]))
    wrong = [mistakes for _, mistakes in found]
    if len(wrong) > 1 and all(mistakes == wrong[0] for mistakes in wrong):
        return [Fault(("space", name), *mistake) for mistake in wrong[0]]
    return [Fault(("space", name, *part), *mistake) for part, mistakes in found for mistake in mistakes]


def _samples(dimension: Dimension) -> Iterable[tuple[Key, Any]]:
    if dimension.choices is not None:
        return [(("choices", index), choice) for index, choice in enumerate(dimension.choices)]
    ends = [(("low",), dimension.low), (("high",), dimension.high)]
    return [*ends, *([(("step",), dimension.step)] if _fraction(dimension) else [])]


def _fraction(dimension: Dimension) -> bool:
    """Return whether steps lead to numbers of another kind than the ends are (1, 1.5, 2)."""
    ends = [value for value in (dimension.low, dimension.high) if value is not None]
    return dimension.step is not None and not dimension.step.is_integer() and all(end.is_integer() for end in ends)


def _told(problem: UserError, name: str, value: Any) -> tuple[str, str]:
    """Return a problem that a value causes; one that shows elsewhere says with which value."""
    place = _place(name, value)
    if problem.where in (place, f"{place}: {name}"):
        return problem.what, problem.write
    elsewhere = problem.where.removeprefix(f"{place}: ")
    return f"with {space.override(name, value)}, {elsewhere}: {problem.what}", problem.write


def _needs(recipe: Recipe, base: Examined) -> Iterator[Fault]:
    """Yield what the metric and the pruner need of the other recipe."""
    folder = artifact.read(recipe.output_dir)
    if folder is not None:
        what = f"{recipe.output_dir} holds the result of stage {folder.stage}"
        yield Fault(("output_dir",), what, "name a folder of its own for the sweep")
    values = base.source.values
    data, training = values.get("data"), values.get("training")
    schema = base.stage.recipe.model_fields if base.stage else {}
    by_validation = recipe.metric.startswith("eval_")
    has_file = "data" in schema and isinstance(data, dict) and "train_file" in data
    if by_validation and has_file and isinstance(data, dict) and data.get("validation_file") is None:
        what = f"{recipe.metric} needs validation rows, and {recipe.recipe} names none"
        yield Fault(("metric",), what, "add data.validation_file there or under `fixed`, or name another metric")
    if recipe.pruner == "none":
        return
    tried = any(name.startswith("training.eval_steps") for name in recipe.space)
    steps = training.get("eval_steps") if isinstance(training, dict) else None
    if by_validation and not steps and not tried:
        what = f"{recipe.pruner} looks at validations while a trial runs, and {recipe.recipe} has none before its end"
        yield Fault(("pruner",), what, "write fixed: {training.eval_steps: 10}, say, or pruner: none")
