"""A sweep: one recipe, many values of its knobs, several seeds, one table.

What runs it is the package recipes/sweep. `space` names keys of the other recipe as they are written on a command line
(`training.learning_rate`); each is checked against that recipe's own rules before anything runs.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from recipes.sections import Fault, InputPath, Section, StageRecipe


class Dimension(Section):
    """The values that one key can take: `choices`, or numbers from `low` to `high`, both included."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="As many values between 1e-5 and 1e-4 as between 1e-4 and 1e-3.")
    step: float | None = Field(None, gt=0, description="Only low, low + step, ... are tried.")
    choices: list[Any] | None = Field(None, min_length=1)

    @property
    def is_range(self) -> bool:
        """Return whether this is a range of numbers."""
        return self.choices is None


class Recipe(StageRecipe):
    """A search; `output_dir` takes the study, the trials' results and the table."""

    stage: Literal["sweep"] = "sweep"
    recipe: InputPath = Field(description="The recipe whose keys are tried: a stage that makes a result.")
    fixed: dict[str, Any] = Field(default_factory=dict, description="Values put over that recipe in all trials.")
    space: dict[str, Dimension] = Field(default_factory=dict, description="Empty: only the seeds differ.")
    metric: str = Field("eval_loss", min_length=1, description="An entry of the manifest's metrics, or of log.jsonl.")
    direction: Literal["minimize", "maximize"]
    trials: int | None = Field(None, ge=1, description="How many configurations; absent: 20, all of a grid.")
    seeds: list[int] = Field(default_factory=list, description="Each configuration once for each; empty: its own.")
    repeat_best: int | None = Field(
        None, ge=1, description="Search with the first seed, then repeat the best N; absent: repeat all."
    )
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    pruner: Literal["none", "median", "hyperband"] = "none"
    n_startup_trials: int = Field(5, ge=0, description="So many without advice from those before (tpe, median).")
    n_warmup_steps: int = Field(0, ge=0, description="No trial is stopped before this step (median).")
    keep_pruned: bool = Field(False, description="Keep the unfinished folders of trials that were stopped.")
    parallel: int = Field(1, ge=1, description="Trials at a time; on GPUs they take turns on the devices.")

    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir", "parallel"})

    @property
    def wanted(self) -> int:
        """Return how many configurations are tried."""
        from recipes.sweep import space

        if not self.space:
            return 1
        if self.sampler == "grid":
            return self.trials or len(space.grid(self.space, space.target_class(self)))
        return self.trials or 20

    def faults(self) -> list[Fault]:
        """Check every value of the space, and what the sweep as a whole asks for, against the other recipe."""
        from recipes.sweep.checking import faults

        return faults(self)


def run(recipe: Recipe) -> None:
    """Search, repeat, compare."""
    from recipes.sweep.search import run as search

    search(recipe)
