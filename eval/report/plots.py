"""Plots as inline SVG: points with error bars, differences, training curves. No script, no font, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

# Okabe and Ito's colours, told apart with every kind of colour vision; the yellow, unreadable on white, is left out.
COLOURS = ("#5b6770", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00")
INK, SOFT, RULE = "#1c2430", "#5d6875", "#dfe4ea"
FONT = 'font-family="system-ui, sans-serif" font-size="11"'


@dataclass(frozen=True)
class Point:
    """A value with its interval; `parent` is the index of the point that a thin line comes from."""

    name: str
    value: float
    low: float
    high: float
    colour: str
    parent: int | None = None


def colour(index: int) -> str:
    """Return the colour of the index-th checkpoint."""
    return COLOURS[index % len(COLOURS)]


def ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers that cover low..high in about `wanted` steps."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / wanted))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if span / (power * factor) <= wanted)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def points(title: str, several: Sequence[Point], *, width: int = 330, height: int = 214) -> str:
    """Return a plot of values with error bars, one for each checkpoint, and lines from parent to child."""
    left, right, top, bottom = 46, 12, 34, 30
    marks = ticks(min(one.low for one in several), max(one.high for one in several))
    across = _scale(-0.5, len(several) - 0.5, left, width - right)
    up = _scale(marks[0], marks[-1], height - bottom, top)
    parts = [_text(left - 34, 16, title, weight=600, size=13), *_grid(marks, up, left, width - right)]
    for place, one in enumerate(several):
        if one.parent is not None:
            a, b = several[one.parent], one
            parts.append(_line(across(one.parent), up(a.value), across(place), up(b.value), "#b9c2cc", 1.5, dash="1 4"))
    for place, one in enumerate(several):
        x = across(place)
        parts.append(_line(x, up(one.low), x, up(one.high), one.colour, 2))
        parts += [_line(x - 5, up(end), x + 5, up(end), one.colour, 2) for end in (one.low, one.high)]
        parts.append(f'<circle cx="{x:.1f}" cy="{up(one.value):.1f}" r="4.5" fill="{one.colour}"/>')
        parts.append(_text(x, height - 10, _short(one.name, len(several)), anchor="middle", fill=INK))
    described = "; ".join(f"{one.name} {one.value:.3g} ({one.low:.3g} to {one.high:.3g})" for one in several)
    return _svg(width, height, parts, f"{title}: {described}")


def difference(low: float, value: float, high: float, limit: float, fill: str, *, width: int = 170) -> str:
    """Return a difference with its interval on an axis from -limit to limit, zero in the middle."""
    across = _scale(-limit, limit, 6, width - 6)
    ends = [across(max(-limit, min(limit, end))) for end in (low, high)]
    parts = [
        _line(across(0), 2, across(0), 20, "#8b96a3", 1),
        _line(ends[0], 11, ends[1], 11, fill, 2.5),
        f'<circle cx="{across(max(-limit, min(limit, value))):.1f}" cy="11" r="4" fill="{fill}"/>',
    ]
    return _svg(width, 22, parts, f"{value:+.3g}, {low:+.3g} to {high:+.3g}", fixed=True)


def curves(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], *, width: int = 330, height: int = 190
) -> str:
    """Return (step, value) lines with their names at the top."""
    left, right, top, bottom = 46, 12, 46, 26
    steps = [step for line in lines.values() for step, _ in line]
    values = [value for line in lines.values() for _, value in line if math.isfinite(value)]
    marks, below = ticks(min(values), max(values)), ticks(min(steps), max(steps), 4)
    across, up = _scale(min(steps), max(steps), left, width - right), _scale(marks[0], marks[-1], height - bottom, top)
    parts = [_text(left - 34, 16, title, weight=600, size=13), *_grid(marks, up, left, width - right)]
    parts += [
        _text(across(step), height - 9, f"{step:g}", anchor="middle")
        for step in below
        if min(steps) <= step <= max(steps)
    ]
    named = left - 34.0
    for index, (name, line) in enumerate(lines.items()):
        fill = COLOURS[(index + 1) % len(COLOURS)]
        path = " ".join(f"{across(step):.1f},{up(value):.1f}" for step, value in line if math.isfinite(value))
        if len(line) == 1:  # a value that was only taken at the end
            parts.append(f'<circle cx="{across(line[0][0]):.1f}" cy="{up(line[0][1]):.1f}" r="4" fill="{fill}"/>')
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{fill}" stroke-width="1.8" stroke-linejoin="round"/>'
        )
        parts += [_line(named, 29, named + 14, 29, fill, 2.5), _text(named + 18, 33, name)]
        named += 30 + 6.5 * len(name)
    return _svg(width, height, parts, f"{title} by training step")


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _grid(marks: Sequence[float], up: Callable[[float], float], left: float, right: float) -> list[str]:
    parts = []
    for mark in marks:
        parts += [
            _line(left, up(mark), right, up(mark), RULE, 1),
            _text(left - 6, up(mark) + 4, f"{mark:g}", anchor="end"),
        ]
    return parts


def _line(x1: float, y1: float, x2: float, y2: float, fill: str, thick: float, dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}" stroke-linecap="round"' if dash else ""
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{fill}" stroke-width="{thick}"{dashed}/>'


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", fill: str = SOFT, weight: int = 400, size: int = 11
) -> str:
    style = f'text-anchor="{anchor}" fill="{INK if weight > 400 else fill}" font-weight="{weight}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def _short(name: str, many: int) -> str:
    """Return a name cut so that it does not run into its neighbours."""
    room = max(4, 44 // many)
    return name if len(name) <= room else name[: room - 1] + "…"


def _svg(width: int, height: int, parts: Sequence[str], described: str, *, fixed: bool = False) -> str:
    size = f'width="{width}" height="{height}"' if fixed else 'width="100%"'
    label = escape(described, quote=True)
    return f'<svg viewBox="0 0 {width} {height}" {size} {FONT} role="img" aria-label="{label}">{"".join(parts)}</svg>'
