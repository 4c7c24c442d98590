"""What a benchmark found, in one object: everything that the tables, the report and results.json show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from eval.comparison import Comparison, Score
from eval.contamination import Hit

# The reward model's scores stand under this name, beside the checkpoints' own.
REWARD_MODEL = "reward model"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of the recipe; `parent` is the other one that it was trained from, if there is one."""

    name: str
    reference: str
    parent: str | None


@dataclass(frozen=True)
class TaskSummary:
    """One task: where its items come from, what the tables show of it, and how many items could not be asked."""

    name: str
    kind: str
    file: str
    items: int
    subject: str
    shown: tuple[str, ...]
    not_asked: dict[str, int]
    notes: dict[str, Any]


@dataclass(frozen=True)
class Said:
    """One checkpoint's answer to one item; `value` is the item's own score on the task's first measure."""

    text: str
    asked: bool
    value: float | None


@dataclass(frozen=True)
class Answered:
    """One item with the answers of all checkpoints side by side."""

    task: str
    id: str
    shown: str
    expected: str
    answers: dict[str, Said]


@dataclass(frozen=True)
class Step:
    """One stage in the past of the checkpoints, with its training curves as (step, value) points."""

    stage: str
    folder: str
    content: str
    seconds: float
    trained_on: tuple[str, ...]
    metrics: dict[str, Any]
    curves: dict[str, list[tuple[float, float]]]


@dataclass
class Results:
    """The whole benchmark."""

    checkpoints: list[Checkpoint]
    baseline: str | None
    tasks: list[TaskSummary]
    scores: list[Score]
    comparisons: list[Comparison]
    contamination: list[Hit]
    not_searched: list[str]
    chains: dict[str, list[str]]
    steps: list[Step]
    recipe: dict[str, Any]
    app: str | None
    samples: list[Answered] = field(default_factory=list)

    def score(self, checkpoint: str, task: str, measure: str) -> Score | None:
        """Return one score, if there is one."""
        wanted = (checkpoint, task, measure)
        return next((one for one in self.scores if (one.checkpoint, one.task, one.measure) == wanted), None)

    def columns(self) -> list[tuple[TaskSummary, str, list[Score]]]:
        """Return what the tables show of the checkpoints: task, measure, and the scores there are."""
        found = []
        for task in self.tasks:
            for measure in task.shown:
                scores = [self.score(one.name, task.name, measure) for one in self.checkpoints]
                there = [one for one in scores if one is not None]
                if there and task.subject == "policy":
                    found.append((task, measure, there))
        return found

    def reward_scores(self) -> list[Score]:
        """Return what was measured of the reward model itself."""
        return [one for one in self.scores if one.checkpoint == REWARD_MODEL]
