"""Stages made for these tests: found by name like any other, also in the processes that a pipeline starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

STAGE = """
import os, signal, sys, time
from typing import Literal
from pydantic import Field, model_validator
from recipes.sections import Fault, InputPath, Launch, ModelRef, Section, StageRecipe, Training

class Data(Section):
    file: InputPath | None = None
    more: list[InputPath] = []
    keep: float = Field(0.5, ge=0, le=1)
    shuffle: bool = True

class Model(Section):
    model_name_or_path: ModelRef

class Recipe(StageRecipe):
    stage: Literal["{name}"] = "{name}"
    text: str = "hello"
    times: int = Field(1, ge=1)
    kind: Literal["plain", "fancy"] = "plain"
    do: str = ""
    parts: list[str] = Field(["one"], min_length=1)
    data: Data = Field(default_factory=Data)
    model: Model | None = None
    training: Training | None = None
    launch: Launch = Field(default_factory=Launch)

    @model_validator(mode="after")
    def _together(self):
        if self.kind == "fancy" and not self.text:
            raise ValueError("a fancy text has letters")
        return self

    def faults(self) -> list[Fault]:
        if self.kind == "fancy" and self.times > 3:
            return [Fault(("times",), "fancy texts are written 3 times at most, not " + str(self.times), "write 3")]
        return []

def run(recipe: Recipe) -> None:
    from recipes import artifact
    from recipes.errors import UserError
    with artifact.writing(recipe) as work:
        text = recipe.text * recipe.times
        if recipe.data.file:
            with open(recipe.data.file) as file:
                text += file.read()
        (work.path / "out.txt").write_text(text)
        work.metrics["letters"] = len(text)
        print("wrote", len(text), "letters; torch in memory:", "torch" in sys.modules)
        if recipe.do == "kill" and not work.resumed:
            os.kill(os.getpid(), signal.SIGKILL)
        if recipe.do == "mistake":
            raise UserError("data/x.jsonl:3", "not JSON", "correct this line")
        if recipe.do == "bug":
            raise KeyError("oops")
        if recipe.do == "sleep":
            time.sleep(60)
"""

SITE = """
import data_prep.stages
import finetune.stages
data_prep.stages.__path__.append({data_prep!r})
finetune.stages.__path__.append({finetune!r})
"""


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A working folder in which the stages `letter` (no torch) and `novel` (on the floor of torch) exist."""
    import data_prep.stages
    import finetune.stages

    folders = {}
    for floor, name, package in (("data_prep", "letter", data_prep.stages), ("finetune", "novel", finetune.stages)):
        folder = tmp_path / "site" / floor
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(STAGE.replace("{name}", name))
        folders[floor] = str(folder)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.delitem(sys.modules, f"{floor}.stages.{name}", raising=False)
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE.format(**folders))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(ROOT)]))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return here


@pytest.fixture
def tuneloop(workplace):
    """Run `tuneloop ...` as a user does, in a process of its own."""

    def run(*arguments: str, **options):
        command = [sys.executable, "-m", "recipes.run", *arguments]
        return subprocess.run(command, cwd=workplace, capture_output=True, text=True, timeout=120, **options)

    return run


@pytest.fixture
def heed_interrupts():
    """What a child process does first so that SIGINT interrupts it, also when the tests run in the background.

    A shell starts background jobs with SIGINT ignored, children inherit that, and Python then leaves it so.
    """
    return lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
