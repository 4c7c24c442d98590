"""Phases of tasks with marks on disk: what is finished is not done again, whatever ended the run before.

`Phases.run` gives the results in the order of the tasks, not in that of their ends, so that whatever is summed or
listed from them is the same for any number of workers.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.engine.progress import Progress
    from data_prep.engine.workers import Workers

Result = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One piece of work: `name` is unique within its phase and stays the same from run to run; `size` is in bytes.

    `makes` is a file that is part of the result: where it is gone, the task is not finished, whatever its mark says.
    """

    name: str
    function: Callable[..., Result]
    arguments: tuple[Any, ...]
    size: int = 0
    makes: str = ""


class Phases:
    """Runs phases one after the other in a folder that survives a kill."""

    def __init__(self, folder: Path, workers: Workers, progress: Progress) -> None:
        self.folder = folder
        self.skipped = 0  # tasks that an earlier run had finished
        self._workers = workers
        self._progress = progress

    def run(self, name: str, tasks: Sequence[Task], title: str = "") -> list[Result]:
        """Return the result of each task, in order; tasks with a mark are not run again.

        Raises: whatever a task raised; finished tasks keep their marks.
        """
        marks = self.folder / "marks" / name
        marks.mkdir(parents=True, exist_ok=True)
        results = [_finished(task, marks / f"{task.name}.json") for task in tasks]
        todo = [index for index, result in enumerate(results) if result is None]
        self.skipped += len(tasks) - len(todo)
        with self._progress.phase(title or name, [task.size for task in tasks], set(todo)) as done:
            calls = [(perform, (tasks[index], str(marks / f"{tasks[index].name}.json"))) for index in todo]
            for position, result in self._workers.map(calls, sum(tasks[index].size for index in todo)):
                results[todo[position]] = result
                done(todo[position])
        finished = [result for result in results if result is not None]
        assert len(finished) == len(tasks)
        return finished


def perform(task: Task, mark: str) -> Result:
    """Run a task and leave its mark, unless one is there: a cluster may ask for a task twice."""
    if finished := _finished(task, Path(mark)):
        return finished
    result = task.function(*task.arguments)
    with replacing(Path(mark)) as stream:
        stream.write(json.dumps(result, sort_keys=True).encode("utf-8", "surrogatepass"))
    # As a resumed run will read it: tuples as lists, keys as texts.
    return _finished(task, Path(mark)) or {}


def _finished(task: Task, mark: Path) -> Result | None:
    """Return the result that a task's mark holds; a damaged mark is none."""
    if task.makes and not Path(task.makes).is_file():
        return None
    try:
        found = json.loads(mark.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[IO[bytes]]:
    """Yield a stream whose bytes become `target` in one step when the block ends without an error.

    The temporary name is this call's alone: two workers may do one task at a time, when one was given up too early.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def begin(folder: Path, layout: str) -> None:
    """Empty `folder` unless it was begun with the same layout: marks tell tasks apart by their numbers only."""
    known = folder / "layout"
    if not (known.is_file() and known.read_bytes() == layout.encode()):
        shutil.rmtree(folder, ignore_errors=True)
        with replacing(known) as stream:
            stream.write(layout.encode())
    for left in folder.rglob(".*.partial"):
        left.unlink(missing_ok=True)
