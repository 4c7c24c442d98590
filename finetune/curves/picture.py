"""Learning curves as a PNG, with Pillow alone: no plotting library needs to be installed or imported.

It is drawn four times as large as its points say and halved, so lines are smooth and text is sharp on dense screens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.curves.panels import Line, Panel, written

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 46, 30
DRAWN, KEPT = 4, 2  # pixels a point while drawing, and in the file
INK, SOFT, RULE = "#1c2430", "#5d6875", "#dfe4ea"


def draw(panels: Sequence[Panel], runs: Sequence[str], file: Path) -> None:
    """Write the panels, two or three in a row."""
    from PIL import Image, ImageDraw

    across = min(len(panels), 2 if len(panels) <= 4 else 3)
    down = math.ceil(len(panels) / across)
    image = Image.new("RGB", (across * WIDTH * DRAWN, down * HEIGHT * DRAWN), "white")
    pen = Pen(ImageDraw.Draw(image))
    for index, panel in enumerate(panels):
        _panel(pen, panel, index % across * WIDTH, index // across * HEIGHT)
    size = (across * WIDTH * KEPT, down * HEIGHT * KEPT)
    colours = image.resize(size, Image.Resampling.LANCZOS).quantize(128, dither=Image.Dither.NONE)
    colours.save(file, optimize=True)


class Pen:
    """Draws in points of the page."""

    def __init__(self, canvas: Any) -> None:
        from PIL import ImageFont

        self.canvas = canvas
        self.fonts = {size: ImageFont.load_default(size * DRAWN) for size in (10, 11, 13)}

    def line(self, points: Sequence[tuple[float, float]], fill: str, width: float) -> None:
        """Draw a line through points."""
        if len(points) > 1:
            scaled = [(x * DRAWN, y * DRAWN) for x, y in points]
            self.canvas.line(scaled, fill=fill, width=round(width * DRAWN), joint="curve")

    def dot(self, x: float, y: float, radius: float, fill: str) -> None:
        """Draw a filled circle."""
        box = [(x - radius) * DRAWN, (y - radius) * DRAWN, (x + radius) * DRAWN, (y + radius) * DRAWN]
        self.canvas.ellipse(box, fill=fill)

    def text(self, x: float, y: float, said: str, fill: str, size: int, anchor: str) -> float:
        """Write a text; return its width."""
        self.canvas.text((x * DRAWN, y * DRAWN), said, fill=fill, font=self.fonts[size], anchor=anchor)
        return float(self.fonts[size].getlength(said)) / DRAWN


def place(panel: Panel, point: tuple[float, float], left: float = 0, top: float = 0) -> tuple[float, float]:
    """Return where a (step, value) of a panel lies on the page, in points."""
    x = (point[0] - panel.x[0]) / (panel.x[-1] - panel.x[0])
    y = (point[1] - panel.y[0]) / (panel.y[-1] - panel.y[0])
    return left + LEFT + x * (WIDTH - LEFT - RIGHT), top + HEIGHT - BOTTOM - y * (HEIGHT - TOP - BOTTOM)


def _panel(pen: Pen, panel: Panel, left: float, top: float) -> None:
    pen.text(left + LEFT, top + 14, panel.title, INK, 13, "lm")
    for value in panel.y:
        _, y = place(panel, (panel.x[0], value), left, top)
        pen.line([(left + LEFT, y), (left + WIDTH - RIGHT, y)], RULE, 1)
        pen.text(left + LEFT - 6, y, written(value), SOFT, 10, "rm")
    for value in panel.x:
        x, _ = place(panel, (value, panel.y[0]), left, top)
        pen.text(x, top + HEIGHT - BOTTOM + 12, written(value), SOFT, 10, "mm")
    for line in panel.lines:
        _curve(pen, panel, line, left, top)
    if len(panel.lines) > 1:
        _legend(pen, panel, left, top)


def _curve(pen: Pen, panel: Panel, line: Line, left: float, top: float) -> None:
    points = [place(panel, point, left, top) for point in line.points]
    pen.line(points, line.colour, 1.1 if line.validation else 1.7)
    if line.validation or len(points) == 1:
        every = max(1, len(points) // 40)
        for x, y in points[::every]:
            pen.dot(x, y, 2.6, line.colour)


def _legend(pen: Pen, panel: Panel, left: float, top: float) -> None:
    """Name the curves in one row; what has no room there is left to the page."""
    x = left + LEFT
    for line in panel.lines:
        if x > left + WIDTH - 70:
            pen.text(x, top + 32, "...", SOFT, 10, "lm")
            return
        pen.line([(x, top + 32), (x + 12, top + 32)], line.colour, 2)
        if line.validation:
            pen.dot(x + 6, top + 32, 2.6, line.colour)
        x += 16 + pen.text(x + 16, top + 32, line.name, SOFT, 10, "lm") + 12
