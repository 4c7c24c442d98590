"""A stage for the tests of sweeps: it descends a known hill step by step, and goes on where it was cut."""

import json
from pathlib import Path

STAGE = """
import json, math, os, random, time
from typing import Literal
from pydantic import Field
from recipes.sections import Fault, InputPath, Section, StageRecipe

class Data(Section):
    train_file: InputPath | None = None
    validation_file: InputPath | None = None

class Knobs(Section):
    learning_rate: float = Field(gt=0, le=1)
    r: int = Field(8, ge=1, le=64)
    eval_steps: int = Field(0, ge=0)
    steps: int = Field(4, ge=1)
    seconds: float = 0.0
    modules: list[str] | None = None
    fails: Literal["", "memory", "nan", "kill", "bug"] = ""

class Recipe(StageRecipe):
    stage: Literal["hill"] = "hill"
    data: Data | None = None
    training: Knobs

    def faults(self) -> list[Fault]:
        if self.training.r == 64 and self.training.learning_rate > 0.5:
            return [Fault(("training", "r"), "64 is too much at this learning rate", "write 32")]
        return []

def height(recipe: Recipe, step: int) -> float:
    away = (math.log10(recipe.training.learning_rate) + 3) ** 2 + abs(recipe.training.r - 8) / 80
    return away + 1 / step + random.Random(f"{recipe.seed} {recipe.training}").uniform(0, 0.02)

def run(recipe: Recipe) -> None:
    from recipes import artifact
    from recipes.errors import UserError
    with artifact.writing(recipe) as work:
        if recipe.training.fails == "memory":
            raise UserError("hill, step 2", "out of memory: 3.1 of 3 GB", "lower r")
        if recipe.training.fails == "kill":
            os.kill(os.getpid(), 9)
        if recipe.training.fails == "bug":
            raise KeyError("oops")
        mark = work.scratch / "step"
        done = int(mark.read_text()) if mark.exists() else 0
        log = work.path / "log.jsonl"
        rows = log.read_text().splitlines()[:done] if log.exists() else []
        log.write_text("".join(row + "\\n" for row in rows))
        work.volatile.add("log.jsonl")
        for step in range(done + 1, recipe.training.steps + 1):
            time.sleep(recipe.training.seconds)
            with open("steps.txt", "a") as every:
                every.write(f"{os.path.basename(recipe.output_dir)} {step} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")
            with log.open("a") as stream:
                stream.write(json.dumps({"step": step, "loss": 1 / step, "eval_loss": height(recipe, step)}) + "\\n")
            mark.write_text(str(step))
        value = math.nan if recipe.training.fails == "nan" else height(recipe, recipe.training.steps)
        work.metrics["eval_loss"] = value
        (work.path / "model.txt").write_text(str(recipe.training))
"""


def hill(tmp_path):
    """Put the stage where all processes of a test find it."""
    (tmp_path / "site" / "data_prep" / "hill.py").write_text(STAGE)


def target(**training):
    """Write the recipe that sweeps are about."""
    values = {"stage": "hill", "output_dir": "runs/hill", "seed": 5, "training": {"learning_rate": 0.01, **training}}
    Path("hill.yaml").write_text(json.dumps(values))


def sweep(name="sweep.yaml", **values):
    """Write a sweep."""
    whole = {"stage": "sweep", "output_dir": "runs/sweep", "recipe": "hill.yaml", "direction": "minimize", **values}
    Path(name).write_text("# a sweep\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in whole.items()))


def found(folder="runs/sweep"):
    """Return the comparison that a sweep left."""
    return json.loads((Path(folder) / "sweep.json").read_text())


def executed(trial=None):
    """Return the (trial, step, device) lines of what the stage has done."""
    lines = [line.split() for line in Path("steps.txt").read_text().splitlines()]
    return [line for line in lines if trial in (None, line[0])]
