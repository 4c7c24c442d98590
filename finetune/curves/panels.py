"""What there is to draw: the numbers of a log by subject, and axes for them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, told apart with every kind of colour vision; the yellow, unreadable on white, is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#5b6770")
FIRST = ("loss", "learning_rate", "grad_norm", "tokens_per_second")
NOT_DRAWN = ("step", "epoch", "tokens")
MOST_POINTS = 1000
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve: (step, value) in order of steps."""

    run: str
    name: str
    colour: str
    points: list[Point]
    validation: bool


@dataclass(frozen=True)
class Panel:
    """One subject, with a curve for each run, and for the loss also that of validation."""

    title: str
    lines: list[Line]
    x: list[float]
    y: list[float]


def read(log: Path) -> list[dict[str, Any]]:
    """Return the whole rows of a log; a line that is being written is not one yet."""
    text = log.read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines() if line.strip()]


def of(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Panel]:
    """Return the panels for the rows of runs: training and validation loss together, each other number alone."""
    names = dict.fromkeys(key for rows in runs.values() for row in rows for key in row if key not in NOT_DRAWN)
    titles = dict.fromkeys(_title(name) for name in names)
    ordered = sorted(titles, key=lambda title: (_place(title), list(titles).index(title)))
    return [panel for title in ordered if (panel := _panel(title, list(names), runs))]


def _title(name: str) -> str:
    """Return the subject of a number: `eval_loss` belongs to `loss`, `eval_f1` is one of its own."""
    return "loss" if name == "eval_loss" else name


def _place(title: str) -> int:
    """Sort loss first, then validation metrics, then how the training went."""
    if title == "loss":
        return 0
    return 1 if title.startswith("eval_") else 2 + (FIRST.index(title) if title in FIRST else len(FIRST))


def _panel(title: str, names: list[str], runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Panel | None:
    lines = []
    for number, (run, rows) in enumerate(runs.items()):
        for name in (name for name in names if _title(name) == title):
            validation = name.startswith("eval_")
            if points := _points(rows, name):
                both = len(runs) == 1 and title == "loss" and validation
                colour = COLOURS[(number + both) % len(COLOURS)]
                lines.append(Line(run, _name(run, title, validation, len(runs)), colour, points, validation))
    if not lines:
        return None
    xs = [point[0] for line in lines for point in line.points]
    ys = [point[1] for line in lines for point in line.points]
    return Panel(title, lines, ticks(min(xs), max(xs)), ticks(min(ys), max(ys)))


def _name(run: str, title: str, validation: bool, runs: int) -> str:
    kind = ("validation" if validation else "training") if title == "loss" else title
    return kind if runs == 1 else f"{run}, {kind}" if title == "loss" else run


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    """Return the finite values of one number; where a step has two, the later one."""
    found: dict[float, float] = {}
    for row in rows:
        value = row.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            found[float(row["step"])] = float(value)
    return thinned(sorted(found.items()))


def thinned(points: list[Point], most: int = MOST_POINTS) -> list[Point]:
    """Return at most about `most` points: of each stretch the lowest and the highest, so that no spike is lost."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / (most / 2))
    kept = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        ends = {min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])}
        kept += sorted(ends)
    return [points[0], *kept[kept[0] == points[0] :], *([points[-1]] if kept[-1] != points[-1] else [])]


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers that cover low..high in about `wanted` steps."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= wanted)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, max(last, first + 1) + 1)]


def written(value: float) -> str:
    """Return a number as it stands at an axis."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1e4:
        return f"{value / 1e3:g}k"
    return f"{value:.1e}" if 0 < size < 1e-3 else f"{value:g}"
