"""The comparison on the terminal, as Markdown, HTML (page.py), JSON; the best recipe as YAML; lines at work."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes import steps
from recipes.errors import UserError
from recipes.manifest import plain, write_json
from recipes.stages.sweep import Recipe
from recipes.sweep import page, space, student
from recipes.sweep.cells import cells, columns, number, shown, words

JSON, MARKDOWN, HTML, BEST = "sweep.json", "table.md", "table.html", "best.yaml"


def outcome(recipe: Recipe, values: Sequence[float]) -> str:
    """Return what came out of a trial, in words."""
    limits = student.interval(values)
    around = f" ± {(limits[1] - limits[0]) / 2:.2g} ({len(values)} seeds)" if limits else ""
    return f"{recipe.metric} {number(sum(values) / len(values))}{around}"


def write(found: dict[str, Any], folder: Path, recipe: Recipe) -> None:
    """Write all forms of the table and the best recipe, and print it."""
    best = next((row for row in found["rows"] if row["state"] == "complete"), None)
    found["best"] = best["trial"] if best else None
    if best:
        (folder / BEST).write_text(best_recipe(recipe, best), encoding="utf-8")
    write_json(folder / JSON, plain(found))
    (folder / MARKDOWN).write_text(markdown(found), encoding="utf-8")
    (folder / HTML).write_text(page.html(found), encoding="utf-8")
    show(found, folder)


def read(folder: str) -> dict[str, Any]:
    """Return the comparison that a sweep left.

    Raises:
        UserError: there is none.
    """
    file = Path(folder) / JSON
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        what = "there is no table of a sweep here"
        raise UserError(f"--table {folder}", what, "name the output_dir of a sweep that has come to its end") from None
    return found


def best_recipe(recipe: Recipe, best: dict[str, Any]) -> str:
    """Return the best configuration as a recipe that can be run as it stands."""
    import yaml

    own = {"seed": recipe.seeds[0]} if recipe.seeds else {}
    values = space.target(recipe, best["values"], **own).source.values
    name = Path(recipe.output_dir) / BEST
    heading = (
        f"# The best of {recipe.recipe} that a sweep found: trial {best['trial']}, {recipe.metric} "
        f"{number(best['mean'])}.\n# tuneloop run {name}\n"
    )
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)
    return heading + text


def show(found: dict[str, Any], folder: Path) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    heads = columns(found)
    for index, head in enumerate(heads):
        left = index == 1 or head == "remark"
        table.add_column(head, justify="left" if left else "right", overflow="fold", max_width=50 if left else None)
    for row in found["rows"]:
        table.add_row(*cells(row, found), style="bold" if row["trial"] == found["best"] else None)
    console = Console(highlight=False)
    console.print(table)
    for line in words(found):
        console.print(f"[dim]{line}[/]")
    if found["best"] is not None:
        print(f"best recipe: {folder / BEST}; its result: {folder / 'trials'}; table: {folder / HTML}")


def markdown(found: dict[str, Any]) -> str:
    """Return the table as Markdown."""
    heads = columns(found)
    lines = [f"# {found['metric']} of {found['recipe']}", "", "| " + " | ".join(heads) + " |"]
    lines.append(
        "|" + "|".join(":--" if index == 1 or head == "remark" else "--:" for index, head in enumerate(heads)) + "|"
    )
    escaped = ([cell.replace("|", "\\|") for cell in cells(row, found)] for row in found["rows"])
    lines += ["| " + " | ".join(row) + " |" for row in escaped]
    return "\n".join([*lines, "", *(f"{line}\n" for line in words(found))])


class Line:
    """What the terminal shows of a sweep: a line for each trial that has ended, and what the running ones say."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.live = recipe, sys.stdout.isatty()
        self.started = time.monotonic()

    def show(self, logs: Sequence[Path]) -> None:
        """Show what the running trials say, where the terminal can overwrite a line."""
        if self.live:
            width = os.get_terminal_size().columns - 1
            said = "  |  ".join(f"{log.stem} {steps.last_line(log)}" for log in logs)
            print(f"\r\033[K{f'{time.monotonic() - self.started:.0f} s  {said}'[:width]}", end="", flush=True)

    def tell(self, count: str, trial: int, values: dict[str, Any], seed: int, said: str, began: float) -> None:
        """Print how a trial ended."""
        tried = ", ".join(f"{key.split('.')[-1]} {shown(value)}" for key, value in values.items())
        parts = [f"{count} trial {trial:03d}", *([tried] if tried else []), said, f"{time.monotonic() - began:.0f} s"]
        clear = "\r\033[K" if self.live else ""
        print(clear + "  ".join(parts), flush=True)
