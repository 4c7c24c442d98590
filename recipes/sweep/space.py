"""The search space: which values a key can take, as overrides of a recipe, as Optuna's distributions, as a grid.

A configuration is a dictionary of values by key. Optuna keeps choices as JSON texts, because it knows only numbers and
texts: a choice may be any value of a recipe (a list of modules, null).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from recipes import check, load, source
from recipes.finding import find
from recipes.sections import Key, StageRecipe, shipped
from recipes.stages.sweep import Dimension, Recipe

if TYPE_CHECKING:
    from recipes.load import Examined


def override(key: str, value: Any) -> str:
    """Return `key=value` as it is written on a command line."""
    return f"{key}={json.dumps(value)}"


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Return the overrides that give a recipe these values."""
    return [override(key, value) for key, value in values.items()]


def key_of(name: str) -> Key:
    """Return a dotted name as a key."""
    return tuple(int(part) if part.isdigit() else part for part in name.split("."))


def target(recipe: Recipe, values: Mapping[str, Any] = {}, **own: Any) -> Examined:
    """Look the recipe of one trial through: the file, with what is fixed and a configuration's values over it."""
    return load.examine(recipe.recipe, overrides({**recipe.fixed, **values, **own}))


def target_class(recipe: Recipe) -> type[StageRecipe] | None:
    """Return the class of the recipe that a sweep is about, or None when its stage is unknown."""
    name = source.read(shipped(recipe.recipe), recipe.recipe).values.get("stage")
    stage = find(name) if isinstance(name, str) else None
    return stage.recipe if stage else None


def whole_numbers(name: str, model: type[StageRecipe] | None) -> bool:
    """Return whether a key takes whole numbers only."""
    field = check.field_of(model, key_of(name)) if model else None
    kinds = set(check.parts(field.annotation)) if field else set()
    return int in kinds and float not in kinds


def number(value: float, whole: bool) -> float | int:
    """Return a number as the recipe would have it: 8.0 is 8 where whole numbers are wanted."""
    return int(value) if whole and value.is_integer() else value


def listed(dimension: Dimension, whole: bool) -> list[Any] | None:
    """Return all values of a dimension, or None when there is no end of them."""
    if dimension.choices is not None:
        return dimension.choices
    assert dimension.low is not None and dimension.high is not None
    step = dimension.step or (1.0 if whole and not dimension.log else None)
    if step is None:
        return None
    count = math.floor((dimension.high - dimension.low) / step + 1e-9) + 1
    return [number(round(dimension.low + index * step, 12), whole) for index in range(count)]


def grid(space: Mapping[str, Dimension], model: type[StageRecipe] | None) -> list[dict[str, Any]]:
    """Return every combination, the last key changing fastest; none when a dimension has no end of values."""
    columns = [listed(dimension, whole_numbers(name, model)) for name, dimension in space.items()]
    if any(column is None for column in columns):
        return []
    return [
        dict(zip(space, values, strict=True)) for values in itertools.product(*(column or [] for column in columns))
    ]


def distributions(space: Mapping[str, Dimension], model: type[StageRecipe] | None) -> dict[str, Any]:
    """Return the space in Optuna's terms."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for name, one in space.items():
        if one.choices is not None:
            found[name] = CategoricalDistribution([json.dumps(choice) for choice in one.choices])
            continue
        assert one.low is not None and one.high is not None
        if whole_numbers(name, model):
            found[name] = IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
        else:
            found[name] = FloatDistribution(one.low, one.high, log=one.log, step=one.step)
    return found


def stored(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as Optuna keeps it."""
    return {name: json.dumps(value) if not space[name].is_range else value for name, value in values.items()}


def loaded(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that Optuna kept, in the order of the space."""
    return {name: values[name] if one.is_range else json.loads(values[name]) for name, one in space.items()}
