"""A pipeline: recipes, one after the other, each in a process of its own.

What runs it is recipes/pipeline.py. A step is named after its file: `sft` for `quickstart/sft.yaml`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from recipes.sections import Fault, InputPath, StageRecipe


class Recipe(StageRecipe):
    """The steps, in order; `output_dir` takes the steps' logs and pipeline.json."""

    stage: Literal["pipeline"] = "pipeline"
    steps: list[InputPath] = Field(min_length=1, description="Paths of recipes, from the working folder.")

    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"})

    def faults(self) -> list[Fault]:
        """Return steps that share a name, and a seed that would have no effect."""
        found = []
        if "seed" in self.model_fields_set:
            found.append(Fault(("seed",), "a pipeline has no seed of its own", "set it in the steps: sft.seed=7, say"))
        names = [Path(step).stem for step in self.steps]
        for index, name in enumerate(names):
            if name in names[:index]:
                found.append(Fault(("steps", index), f"a second step named {name}", "rename one of the two files"))
        return found


def run(recipe: Recipe) -> None:
    """Run all steps."""
    from recipes import pipeline

    pipeline.run(recipe)
