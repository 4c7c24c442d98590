"""What validations of a stage report, known before it runs: a misspelt `metric_for_best_model` is told at check, not at
the first validation."""

from __future__ import annotations

from collections.abc import Iterable

from recipes.finding import nearest
from recipes.sections import Fault, Training


def faults(training: Training, entries: Iterable[str]) -> list[Fault]:
    """Return a fault for a metric to choose by that no validation reports."""
    written, known = training.metric_for_best_model.removeprefix("eval_"), sorted(set(entries))
    if written in known:
        return []
    guess = nearest(written, known)
    write = (f"did you mean {guess}? " if guess else "write ") + f"one of {', '.join(known)}"
    return [Fault(("training", "metric_for_best_model"), f"no validation reports {written!r}", write)]
