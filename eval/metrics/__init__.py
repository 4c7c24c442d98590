"""One file for each metric: additive statistics of every item, and a score of their sum.

A metric is a module in this folder with

    COLUMNS: dict[str, Any]           what it reads, as features of `evaluate`: {"predictions": "string", ...}
    LABEL: str                        what a table calls it
    HIGHER_IS_BETTER: bool
    PROPORTION: bool                  each item is right or wrong: Wilson's interval and McNemar's test apply
    def statistics(**columns) -> list[tuple[float, ...]]      one row for each item
    def score(sums: ndarray (..., K)) -> ndarray (...)        from the rows' sum over any set of items
    def signature() -> str            (optional) the settings that two equal scores must share

Because rows only add up, one definition serves the score, its bootstrap interval, the paired tests, items that were
not asked (rows of zeros) and several processes. Put a file here and recipes may name it: there is no list to edit.

`load(name)` gives the metric behind the API of `evaluate`, from a local module and never from a hub.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from recipes.load import UserError

if TYPE_CHECKING:
    import numpy as np


class Metric(Protocol):
    """What every module in this folder has; see above."""

    COLUMNS: dict[str, Any]
    LABEL: str
    HIGHER_IS_BETTER: bool
    PROPORTION: bool

    @staticmethod
    def statistics(**columns: Sequence[Any]) -> list[tuple[float, ...]]: ...

    @staticmethod
    def score(sums: np.ndarray) -> np.ndarray: ...


@cache
def names() -> tuple[str, ...]:
    """Return the names of all metrics."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])))


def unknown(name: str) -> tuple[str, str] | None:
    """Return what is wrong with a metric's name and what to write instead; None if there is such a metric."""
    if name in names():
        return None
    close = difflib.get_close_matches(name, names(), 1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"there is no metric {name!r}", f"{meant}one of {', '.join(names())}"


def named(name: str) -> Metric:
    """Return a metric.

    Raises:
        UserError: there is no metric of that name.
    """
    if mistake := unknown(name):
        raise UserError("metrics", *mistake)
    return cast(Metric, import_module(f"eval.metrics.{name}"))


def signature(name: str) -> str:
    """Return the settings of a metric, or its name where it has none."""
    described = getattr(named(name), "signature", None)
    return str(described()) if described else name


def compute(name: str, **columns: Sequence[Any]) -> float:
    """Return a metric over whole columns, without importing `evaluate`."""
    import numpy as np

    metric = named(name)
    return float(metric.score(np.asarray(metric.statistics(**columns), dtype=float).sum(axis=0)))


def load(name: str, **settings: Any) -> Any:
    """Return a metric as a module of `evaluate` (add, add_batch, compute, combine).

    `evaluate` takes 9 CPU seconds to import, so nothing on the way of a benchmark calls this. The path is absolute:
    a bare name would be looked for in the working folder and then on the hub.

    Raises:
        UserError: there is no metric of that name.
    """
    named(name)
    import evaluate

    path = Path(__file__).parent.parent / "evaluate_module.py"
    return evaluate.load(str(path.resolve()), name, **{"keep_in_memory": True, **settings})
