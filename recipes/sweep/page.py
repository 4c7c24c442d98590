"""The comparison as one HTML file: the table with its intervals drawn, and the metric over each key. No network."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from recipes.sweep.cells import cells, columns, number, shown, words

STYLE = """body{font:14px/1.5 system-ui,sans-serif;color:#1c2430;max-width:1000px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.25rem .6rem;border-bottom:1px solid #dfe4ea}
th{color:#5d6875;font-weight:600}td{white-space:nowrap}td:nth-child(2),th:nth-child(2){text-align:left}tr.best{background:#eef6ff}
tr.pruned,tr.fail,tr.running{color:#5d6875}.note{color:#5d6875}svg{vertical-align:middle}td.reason{text-align:left;white-space:normal}"""
COLOUR = "#0072b2"


def html(found: dict[str, Any]) -> str:
    """Return the table as one HTML file."""
    title = escape(f"{found['metric']} of {found['recipe']}")
    heads = "".join(f"<th>{escape(head)}</th>" for head in [*columns(found)[:-1], "", "remark"])
    rows = "".join(_html_row(row, found) for row in found["rows"])
    notes = "".join(f'<p class="note">{escape(line)}</p>' for line in words(found))
    plots = "".join(_scatter(key, found) for key in found["keys"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f"<h1>{title}</h1><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{notes}{plots}</html>\n"
    )


def _html_row(row: dict[str, Any], found: dict[str, Any]) -> str:
    *texts, remark = (escape(cell) for cell in cells(row, found))
    plain_cells = "".join(f"<td>{text}</td>" for text in texts)
    kind = "best" if row["trial"] == found["best"] else row["state"]
    return f'<tr class="{kind}">{plain_cells}<td>{_bar(row, found)}</td><td class="reason">{remark}</td></tr>'


def _span(found: dict[str, Any]) -> tuple[float, float]:
    """Return the least and the greatest value of the complete rows, intervals included."""
    ends = [
        row[key]
        for row in found["rows"]
        if row["state"] == "complete"
        for key in ("low", "mean", "high")
        if row[key] is not None
    ]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _bar(row: dict[str, Any], found: dict[str, Any]) -> str:
    """Return a mean with its interval, drawn on the axis that all rows share."""
    if row["state"] != "complete" or row["mean"] is None:
        return ""
    low, high = _span(found)
    x = {key: 6 + 148 * (row[key] - low) / (high - low) for key in ("low", "mean", "high") if row[key] is not None}
    line = f'<path d="M{x["low"]:.1f} 9H{x["high"]:.1f}" stroke="{COLOUR}" stroke-width="2"/>' if "low" in x else ""
    return f'<svg width="160" height="18">{line}<circle cx="{x["mean"]:.1f}" cy="9" r="4" fill="{COLOUR}"/></svg>'


def _scatter(key: str, found: dict[str, Any]) -> str:
    """Return a plot of the metric over one key; choices stand side by side."""
    rows = [
        row for row in found["rows"] if row["state"] == "complete" and key in row["values"] and row["mean"] is not None
    ]
    values = [row["values"][key] for row in rows]
    if len(rows) < 2:
        return ""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    names = sorted(set(values)) if numeric else sorted({shown(value) for value in values})
    places = [float(value) if numeric else float(names.index(shown(value))) for value in values]
    if numeric and min(places) > 0 and max(places) / min(places) > 20:
        places = [math.log(place) for place in places]
    low, high = _span(found)
    left, right = min(places), max(places)
    points = []
    for place, row, value in zip(places, rows, values, strict=True):
        x = 40 + 240 * (place - left) / ((right - left) or 1.0)
        y = 150 - 120 * (row["mean"] - low) / (high - low)
        said = f"trial {row['trial']}: {escape(shown(value))}, {number(row['mean'])}"
        place_and_size = f'cx="{x:.1f}" cy="{y:.1f}" r="4"'
        points.append(f'<circle {place_and_size} fill="{COLOUR}" fill-opacity=".7"><title>{said}</title></circle>')
    soft = 'font-size="11" fill="#5d6875"'
    return (
        f'<svg width="310" height="185" role="img" aria-label="{escape(found["metric"])} over {escape(key)}">'
        f'<text x="8" y="14" font-size="12" font-weight="600" fill="#1c2430">{escape(key)}</text>'
        f'<path d="M30 25V160H290" fill="none" stroke="#dfe4ea"/>{"".join(points)}'
        f'<text x="36" y="176" {soft}>{escape(shown(names[0]))}</text>'
        f'<text x="285" y="176" text-anchor="end" {soft}>{escape(shown(names[-1]))}</text>'
        f'<text x="34" y="33" {soft}>{number(high)}</text><text x="34" y="156" {soft}>{number(low)}</text></svg>'
    )
