"""Which checkpoint is best, and when to stop: decided by the history of validations and nothing else.

The history is part of every checkpoint, so a run that goes on decides as the run that was never cut.
Metrics are those of `eval/metrics`: that floor is above this one, so its modules are loaded by name when a recipe
names them, as the command line loads a stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from recipes.finding import exists
from recipes.sections import Fault, Key, Training

METRICS = "eval.metrics"
LOWER_IS_BETTER = ("loss", "perplexity", "bits_per_byte", "error")  # ends of names that are no module there


@dataclass(frozen=True)
class Choice:
    """What makes a checkpoint the best: an entry of the validations, and which way it grows better."""

    key: str
    greater: bool
    patience: int = 0
    threshold: float = 0.0

    @classmethod
    def of(cls, training: Training) -> Choice:
        """Return what a recipe says."""
        name = training.metric_for_best_model.removeprefix("eval_")
        greater = training.greater_is_better
        return cls(
            key=f"eval_{name}",
            greater=higher_is_better(name) if greater is None else greater,
            patience=training.early_stopping_patience,
            threshold=training.early_stopping_threshold,
        )


def best(history: Iterable[dict[str, Any]], choice: Choice) -> tuple[int, float] | None:
    """Return step and value of the best validation; of equal ones the first, and never one that is no number."""
    found = [(int(row["step"]), float(row[choice.key])) for row in history if row.get(choice.key) is not None]
    numbers = [one for one in found if not math.isnan(one[1])]
    if not numbers:
        return None
    return max(numbers, key=lambda one: one[1]) if choice.greater else min(numbers, key=lambda one: one[1])


def waited(history: Iterable[dict[str, Any]], choice: Choice) -> int:
    """Return how many validations have passed since one was better by more than the threshold."""
    count, reached = 0, -math.inf
    for row in history:
        if row.get(choice.key) is not None:
            value = float(row[choice.key]) * (1 if choice.greater else -1)
            if value - reached > choice.threshold:  # never so for what is no number
                count, reached = 0, value
            else:
                count += 1
    return count


def should_stop(history: Iterable[dict[str, Any]], choice: Choice) -> bool:
    """Return whether the recipe's patience is at its end."""
    return bool(choice.patience) and waited(history, choice) >= choice.patience


def higher_is_better(name: str) -> bool:
    """Return which way an entry grows better: as its metric says, else by the end of its name."""
    if is_metric(name):
        return bool(import_module(f"{METRICS}.{name}").HIGHER_IS_BETTER)
    return not name.endswith(LOWER_IS_BETTER)


def is_metric(name: str) -> bool:
    """Return whether `eval/metrics` has a metric of that name."""
    return name.isidentifier() and exists(f"{METRICS}.{name}")


def compares_texts(name: str) -> bool:
    """Return whether a metric reads texts and the references of each."""
    columns = import_module(f"{METRICS}.{name}").COLUMNS
    return bool(columns.get("predictions") == "string" and isinstance(columns.get("references"), list))


def faults(key: Key, names: Sequence[str]) -> list[Fault]:
    """Return a fault for each name that no metric has."""
    metrics = import_module(METRICS) if names else None
    return [Fault(key, *mistake) for name in names if metrics and (mistake := metrics.unknown(name))]


def compute(name: str, **columns: Sequence[Any]) -> float:
    """Return a metric of `eval/metrics` over whole columns, such as predictions and references."""
    return float(import_module(METRICS).compute(name, **columns))
