"""Learning curves of a run, or of several in one picture: curves.png, and curves.html with the values under the mouse.

They are drawn from log.jsonl alone, when a training ends and on demand (`tuneloop curves RUN [RUN ...]`). Both files
are for people: they hold no script or font from elsewhere, and nothing reads them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from finetune.curves import page, panels, picture
from recipes.errors import UserError

LOG = "log.jsonl"
FILES = frozenset({"curves.png", "curves.html"})


def write(log_file: Path, folder: Path, name: str) -> set[str]:
    """Draw one run's log into a folder; return the files written. What goes wrong is told and ends no training."""
    try:
        return draw({name: log_file}, folder)
    except Exception as error:
        print(f"  no learning curves ({type(error).__name__}: {error})", file=sys.stderr, flush=True)
        return set()


def draw(logs: dict[str, Path], folder: Path) -> set[str]:
    """Draw the logs of runs, by their names, into one picture and one page; nothing when they are empty."""
    found = panels.of({name: panels.read(log) for name, log in logs.items()})
    if not found:
        return set()
    picture.draw(found, list(logs), folder / "curves.png")
    (folder / "curves.html").write_text(page.html(found, list(logs)), encoding="utf-8")
    return set(FILES)


def report(runs: Sequence[str], output: str | None) -> int:
    """Draw the curves of results for a user; return the exit code.

    Raises:
        UserError: a folder has no history.
    """
    logs = {_name(run, runs): log_of(run) for run in runs}
    folder = Path(output or ".")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {output}", "this is a file", "name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    if not draw(logs, folder):
        raise UserError(runs[0], "its log.jsonl holds no numbers yet", "wait for the first rows")
    print(f"written: {folder / 'curves.png'}, {folder / 'curves.html'}")
    return 0


def log_of(run: str) -> Path:
    """Return the history of a result, or of the run that is making it.

    Raises:
        UserError: there is none.
    """
    folder = Path(run)
    places = [folder.with_name(folder.name + ".partial") / LOG, folder / LOG]
    found = [place for place in places if place.is_file()]
    if not found:
        raise UserError(run, f"there is no {LOG} here", "name the folder of a training stage's result")
    return max(found, key=lambda place: place.stat().st_mtime)


def _name(run: str, runs: Sequence[str]) -> str:
    """Return what a run is called in a legend: what differs from the other paths."""
    paths = [os.path.abspath(one) for one in runs]
    common = os.path.commonpath(paths) if len(paths) > 1 else os.path.dirname(paths[0])
    return os.path.relpath(os.path.abspath(run), common)
