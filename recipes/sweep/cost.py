"""`tuneloop check` of a sweep: how many runs it comes to, and what one of them and all of them would take."""

from __future__ import annotations

from recipes import estimate
from recipes.load import Examined
from recipes.sections import ModelRef, walk
from recipes.stages.sweep import Recipe
from recipes.sweep import search


def sweep_of(examined: Examined) -> Recipe:
    """Return the sweep in a checked recipe."""
    assert isinstance(examined.recipe, Recipe)
    return examined.recipe


def runs(recipe: Recipe) -> int:
    """Return how many trials are run at most: configurations times seeds, or the best ones again."""
    seeds = max(1, len(recipe.seeds))
    if recipe.repeat_best is None:
        return recipe.wanted * seeds
    return recipe.wanted + min(recipe.repeat_best, recipe.wanted) * (seeds - 1)


def report(examined: Examined) -> None:
    """Print what a sweep would do."""
    from rich.console import Console

    recipe = sweep_of(examined)
    target = search.examined_target(recipe)
    estimate.report([target])
    number = runs(recipe)
    console = Console(highlight=False)
    console.print(f"{recipe.wanted} configurations, {number} runs in all: {_plan(recipe)}")
    base = next((value for _, value in walk(target.recipe) if isinstance(value, ModelRef)), None)
    shape = estimate.shape_of(base, {}) if base else None
    one = estimate.cost(target.recipe, shape) if base and target.recipe else None
    if one and one.seconds:
        # A warm process starts at once; what is lost is loading the model and the data.
        at_most = " at most: trials are stopped" if recipe.pruner != "none" else ""
        console.print(f"all runs: ~{estimate.duration(one.seconds * number)} of training{at_most}")


def _plan(recipe: Recipe) -> str:
    seeds = f"{len(recipe.seeds)} seeds" if recipe.seeds else "the recipe's own seed"
    repeated = "" if recipe.repeat_best is None else f", the best {recipe.repeat_best} repeated"
    tried = ", ".join(recipe.space) or "nothing but the seed"
    return f"{recipe.sampler} over {tried}; {seeds}{repeated}; pruner {recipe.pruner}"
