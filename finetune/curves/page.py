"""Learning curves as one HTML file: SVG that shows without a script, and a script that tells values under the mouse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from finetune.curves.panels import Panel, written
from finetune.curves.picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, place

HERE = Path(__file__).parent


def html(panels: Sequence[Panel], runs: Sequence[str]) -> str:
    """Return the page."""
    title = escape(", ".join(runs))
    style, script = ((HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    figures = "".join(_figure(index, panel) for index, panel in enumerate(panels))
    frame = {"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
    data = json.dumps({"frame": frame, "panels": [_data(panel) for panel in panels]}).replace("<", "\\u003c")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{style}</style></head>"
        f'<body><h1>{title}</h1><main>{figures}</main><script type="application/json" id="data">{data}</script>'
        f"<script>{script}</script></body></html>\n"
    )


def _data(panel: Panel) -> dict[str, object]:
    lines = [{"name": line.name, "colour": line.colour, "points": line.points} for line in panel.lines]
    return {"x": [panel.x[0], panel.x[-1]], "y": [panel.y[0], panel.y[-1]], "lines": lines}


def _figure(index: int, panel: Panel) -> str:
    parts = [f'<text x="{LEFT}" y="18" class="title">{escape(panel.title)}</text>']
    for value in panel.y:
        _, y = place(panel, (panel.x[0], value))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="rule"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{written(value)}</text>')
    for value in panel.x:
        x, _ = place(panel, (value, panel.y[0]))
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{written(value)}</text>')
    for line in panel.lines:
        spots = [place(panel, point) for point in line.points]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        width = 1.2 if line.validation else 1.8
        parts.append(f'<polyline points="{way}" fill="none" stroke="{line.colour}" stroke-width="{width}"/>')
        if line.validation or len(spots) == 1:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{line.colour}"/>' for x, y in spots]
    legend = "".join(f'<li><b style="background:{line.colour}"></b>{escape(line.name)}</li>' for line in panel.lines)
    label = escape(f"{panel.title} over steps")
    return (
        f'<figure data-panel="{index}"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg><ul>{legend if len(panel.lines) > 1 else ''}</ul><output></output></figure>"
    )
