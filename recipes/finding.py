"""A stage is found by its name: `stage: dpo` is the module `dpo.py` in the `stages/` folder of one of the floors."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from recipes.sections import StageRecipe

FLOORS = ("recipes", "data_prep", "finetune", "eval")
APP = "app"


@dataclass(frozen=True)
class Stage:
    """A stage's module, its recipe's class, and the floor on which it stands."""

    name: str
    floor: str
    module: ModuleType
    recipe: type[StageRecipe]

    @property
    def makes_result(self) -> bool:
        """Return whether the stage writes its output_dir as one result (a pipeline and the app do not)."""
        return self.floor not in ("recipes", APP)


def find(name: str) -> Stage | None:
    """Return the stage of this name, or None when no floor has one."""
    if not name.isidentifier():
        return None
    for floor in FLOORS:
        if exists(f"{floor}.stages.{name}"):
            module = importlib.import_module(f"{floor}.stages.{name}")
            return Stage(name, floor, module, module.Recipe)
    if name == APP and exists(APP):  # the one stage above all floors: app.py itself
        module = importlib.import_module(APP)
        return Stage(name, APP, module, module.Recipe)
    return None


def exists(module: str) -> bool:
    """Return whether a module is there, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the floor has no stages/ folder
        return False


def names() -> list[str]:
    """Return the names of all stages there are, without importing any."""
    found = [APP] if exists(APP) else []
    for floor in FLOORS:
        if exists(f"{floor}.stages"):
            package = importlib.import_module(f"{floor}.stages")
            found += [module.name for module in pkgutil.iter_modules(package.__path__) if module.name[0] != "_"]
    return sorted(found)


def nearest(word: str, words: list[str], cutoff: float = 0.6) -> str | None:
    """Return the word that `word` was probably meant to be."""
    lowered = {item.lower(): item for item in words}
    found = difflib.get_close_matches(word.lower(), list(lowered), n=1, cutoff=cutoff)
    return lowered[found[0]] if found else None
