"""Pieces of the report: sections, tables, bars and histograms as inline SVG. `text` escapes; whatever else is HTML."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A labelled bar: HTML of its label and number, parts of it by CSS class, and HTML below it."""

    label: str
    number: str
    parts: Sequence[tuple[str, float]]
    more: str = ""


def text(value: object) -> str:
    """Return a value as HTML text; half a surrogate pair cannot be written, and becomes a question mark."""
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"))


def section(title: str, *parts: str, lead: str = "", anchor: str = "") -> str:
    """Return a section, or nothing when it has no content."""
    body = "".join(part for part in parts if part)
    if not body:
        return ""
    mark = f' id="{anchor}"' if anchor else ""
    said = f'<p class="lead">{lead}</p>' if lead else ""
    return f"<section{mark}>{f'<h2>{title}</h2>' if title else ''}{said}{body}</section>\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Return a table; `numbers` are the columns that hold figures, columns of SVG are left out on narrow screens."""
    listed = list(rows)
    kinds = ["plot" if listed and listed[0][index].startswith("<svg") else "" for index in range(len(heads))]
    for index in numbers:
        kinds[index] = "n"

    def row(cells: Sequence[str], tag: str) -> str:
        marked = (f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in zip(kinds, cells, strict=True))
        return "<tr>" + "".join(marked).replace(' class=""', "") + "</tr>"

    body = "".join(row(cells, "td") for cells in listed)
    return f'<div class="wide"><table><thead>{row(heads, "th")}</thead><tbody>{body}</tbody></table></div>'


def excerpt(words: str) -> str:
    """Return the beginning of a text in a box, with a sign that it goes on where it was cut."""
    cut = "" if words.rstrip().endswith((".", "!", "?")) else " …"
    return f"<blockquote>{text(words.strip())}{cut}</blockquote>"


def bars(rows: Iterable[Bar], described: str) -> str:
    """Return horizontal bars under each other; the longest is as wide as there is room."""
    listed = list(rows)
    most = max((sum(value for _, value in row.parts) for row in listed), default=0)
    lines = (
        f'<div><span class="label">{row.label}</span><span class="plot">{line(row.parts, most)}</span>'
        f'<span class="number">{row.number}</span></div><span class="more">{row.more}</span>'
        for row in listed
    )
    return f'<div class="bars" role="img" aria-label="{text(described)}">{"".join(lines)}</div>' if listed else ""


def line(parts: Sequence[tuple[str, float]], most: float) -> str:
    """Return one bar, made of parts side by side."""
    drawn, place = [], 0.0
    for kind, value in parts:
        width = 100 * value / most if most else 0.0
        if value:
            drawn.append(f'<rect class="{kind}" x="{place:.2f}" width="{max(width, 0.25):.2f}" height="10"/>')
        place += width
    return (
        f'<svg class="line" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{"".join(drawn)}</svg>'
    )


def counts(numbers: Mapping[str, int], described: str, most: int = 20, unit: str = "") -> str:
    """Return bars for counts by name, the greatest first; beyond `most` the rest together."""
    order = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
    shown = [Bar(text(name), f"{count:,}", [("bar", count)]) for name, count in order[:most]]
    rest = sum(count for _, count in order[most:])
    if rest:
        shown.append(Bar(f"{len(order) - most:,} others {unit}".strip(), f"{rest:,}", [("pale", rest)]))
    return bars(shown, described)


def columns(values: Sequence[tuple[str, int, str]], described: str, *, width: int = 380, height: int = 190) -> str:
    """Return upright columns: tick label (may be empty), value, and what is shown when pointed at."""
    left, right, top, bottom = 44, 4, 8, 24
    most = max((value for _, value, _ in values), default=0)
    if not most:
        return ""
    marks = ticks(most)
    high = height - top - bottom
    step = (width - left - right) / len(values)
    parts = []
    for mark in marks:
        y = top + high * (1 - mark / marks[-1])
        parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    for index, (label, value, hint) in enumerate(values):
        x, tall = left + index * step, high * value / marks[-1]
        parts.append(
            f'<rect class="bar" x="{x + 1:.1f}" y="{top + high - tall:.1f}" width="{max(step - 2, 1):.1f}" '
            f'height="{tall:.1f}"><title>{text(hint)}</title></rect>'
        )
        if label:
            parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{text(label)}</text>')
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{text(described)}">'
        f"{''.join(parts)}</svg>"
    )


def interval(low: float, value: float, high: float, limits: tuple[float, float]) -> str:
    """Return a point with its interval on a line that all rows of a list share, with 0 marked."""

    def place(number: float) -> float:
        return 2 + 236 * (min(max(number, limits[0]), limits[1]) - limits[0]) / (limits[1] - limits[0])

    return (
        '<svg class="line" viewBox="0 0 240 12" style="height:14px" aria-hidden="true">'
        f'<line class="zero" x1="{place(0):.1f}" x2="{place(0):.1f}" y1="0" y2="12" stroke-dasharray="2 2"/>'
        f'<line class="whisker" x1="{place(low):.1f}" x2="{place(high):.1f}" y1="6" y2="6"/>'
        f'<circle class="bar" cx="{place(value):.1f}" cy="6" r="4.5"/></svg>'
    )


def ticks(most: float, wanted: int = 4) -> list[float]:
    """Return round numbers from 0 to at least `most`."""
    power = 10.0 ** math.floor(math.log10(most / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if most / (power * factor) <= wanted)
    step = math.ceil(step)
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1)]


def short(number: float) -> str:
    """Return a number in few characters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


def size(number: float) -> str:
    """Return bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit:
            return f"{number / unit:,.1f} {name}"
    return f"{number:,.0f} bytes"


def share(part: float, whole: float) -> str:
    """Return a share in per cent; what is not all is never written as 100 %, and what is not nothing never as 0 %."""
    if not whole or part in (0, whole):
        return "100 %" if whole and part else "0 %"
    percent = 100 * part / whole
    return (
        "&lt; 0.1 %"
        if percent < 0.1
        else "&gt; 99.9 %"
        if percent > 99.9
        else f"{percent:.{0 if 10 <= percent < 99 else 1}f} %"
    )
