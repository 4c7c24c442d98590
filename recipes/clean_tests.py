"""Evaluation files of a pipeline that its data steps do not keep out of training.

A step that can keep evaluation questions out has a key `decontaminate`. What a later step on the floor `eval` reads,
and no such step has made, should stand there; where it does not, the pipeline says so before it starts.
"""

from __future__ import annotations

from collections.abc import Sequence

from recipes import provenance
from recipes.existence import same_or_inside
from recipes.load import Examined
from recipes.sections import StageRecipe, shipped


def warnings(found: Sequence[Examined]) -> list[str]:
    """Return one line for each data step that leaves evaluation files out of account."""
    steps = [(step.path, step.recipe, step.stage.floor) for step in found if step.recipe and step.stage]
    preparing = [(path, recipe) for path, recipe, _ in steps if hasattr(recipe, "decontaminate")]
    made = [recipe.output_dir for _, recipe in preparing]
    judged: dict[str, str] = {}
    for path, recipe, floor in steps:
        if floor == "eval":
            judged |= {file: path for file in _read(recipe) if not any(same_or_inside(file, folder) for folder in made)}
    said = []
    for path, recipe in preparing:
        known = [str(shipped(str(name))) for name in getattr(recipe, "decontaminate", ())]
        missing = [file for file in judged if not any(same_or_inside(file, name) for name in known)]
        if missing:
            said.append(
                f"{path}: decontaminate does not name {', '.join(missing)}, "
                f"on which {judged[missing[0]]} judges: its questions may be trained on"
            )
    return said


def _read(recipe: StageRecipe) -> list[str]:
    return [item.path for item in provenance.inputs_of(recipe) if not item.model]
