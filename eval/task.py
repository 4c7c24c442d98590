"""What a task is: a section of the recipe, items read from a file, and what a checkpoint did on them.

A kind of task is a module in eval/tasks with

    class Task(TaskSection)                         its keys; `kind` is the module's name
    SUBJECT = "policy" or "reward"                  what is measured: each checkpoint, or the recipe's reward model
    MAIN: tuple[str, ...]                           the measures that the terminal table shows by default
    WRITES = True                                   (optional) its answers are worth reading side by side
    def parse(task, row) -> Item                    one row of the file; ValueError says what is wrong with it
    def measure(task, items, subject) -> Outcome
    def against(task, outcome, baseline) -> dict[str, Measure]     (optional) measures that need the baseline's outcome
    def faults(task, recipe) -> list[Fault]         (optional) mistakes that one row does not show

Nothing here imports torch: recipes are checked with it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic import Field

from data_prep.records import check_messages, numbered_rows
from recipes.load import UserError
from recipes.sections import Fault, InputPath, Key, Section, shipped

Message = dict[str, str]
# A recipe's check reads this many rows of each file; the benchmark reads all of them before it loads a model.
FIRST_ROWS = 20
COLUMN = re.compile(r"\{([\w.]+)\}")


class TaskSection(Section):
    """The keys that all tasks have."""

    kind: str
    name: str = Field(min_length=1, description="How tables call it.")
    file: InputPath = Field(description="JSON lines, plain or gzipped.")
    limit: int = Field(0, ge=0, description="Only the first N rows; 0: all of them.")
    applies_to: list[str] = Field(default_factory=list, description="Names of checkpoints; empty: all of them.")
    cluster: str | None = Field(
        None, description="Column (`meta.fact`: within an object) whose equal values mark items of one source."
    )
    table: list[str] = Field(default_factory=list, description="Measures in the terminal table; empty: the main ones.")


@dataclass(frozen=True)
class Item:
    """One question: `probe` is the text that must not occur in training data, `shown` and `expected` are for people."""

    id: str
    probe: str
    shown: str
    expected: str
    data: dict[str, Any]
    cluster: str | None = None


@dataclass
class Measure:
    """What a metric counted: one additive row for each item, zeros for an item that was not asked."""

    metric: str
    label: str
    rows: list[tuple[float, ...]]


@dataclass
class Outcome:
    """What one checkpoint (or the reward model) did on one task; lists run parallel to the items."""

    measures: dict[str, Measure]
    asked: list[bool]
    answers: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def restore(cls, stored: dict[str, Any]) -> Outcome:
        """Return the outcome that `dataclasses.asdict` and JSON made `stored` of."""
        measures = {
            name: Measure(one["metric"], one["label"], [tuple(row) for row in one["rows"]])
            for name, one in stored["measures"].items()
        }
        return cls(**{**stored, "measures": measures})

    def stored(self) -> dict[str, Any]:
        """Return the outcome made of JSON's types."""
        return dataclasses.asdict(self)


def spread(rows: Sequence[tuple[float, ...]], asked: Sequence[bool]) -> list[tuple[float, ...]]:
    """Return the rows of the items that were asked with rows of zeros in the places of the others."""
    width = len(rows[0]) if rows else 1
    waiting = iter(rows)
    return [tuple(next(waiting)) if one else (0.0,) * width for one in asked]


def column(row: dict[str, Any], name: str) -> Any:
    """Return a column of a row; `meta.fact` is the key `fact` within the object `meta`.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    value: Any = row
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise ValueError(f"missing column {name}; found {', '.join(sorted(row)) or 'no column'}")
        value = value[part]
    return value


def text(row: dict[str, Any], name: str) -> str:
    """Return a column that holds text.

    Raises:
        ValueError: there is none, or it holds something else, or only white space.
    """
    value = column(row, name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r:.60}, not a text")
    return value


def messages(row: dict[str, Any], name: str, role: str) -> list[Message]:
    """Return a column as messages; a bare text is one message of `role`.

    Raises:
        ValueError: it is neither.
    """
    value = column(row, name)
    if isinstance(value, str):
        return [{"role": role, "content": text(row, name)}]
    check_messages(name, value)
    return [{"role": one["role"], "content": one["content"]} for one in value]


def filled(template: str, row: dict[str, Any]) -> str:
    """Return a template with each `{column}` replaced by the row's value.

    Raises:
        ValueError: a column is missing.
    """
    return COLUMN.sub(lambda match: str(column(row, match[1])), template)


def prompt_of(template: str | None, row: dict[str, Any]) -> list[Message]:
    """Return a row's question: made of columns, or without a template from the column `prompt`.

    Raises:
        ValueError: a column is missing, or `prompt` is neither text nor messages.
    """
    return messages(row, "prompt", "user") if template is None else [{"role": "user", "content": filled(template, row)}]


Parse = Callable[[Any, dict[str, Any]], Item]


def read(task: TaskSection, parse: Parse) -> list[Item]:
    """Return all items of a task.

    Raises:
        UserError: with `file:line`, for a row that does not fit; or the file has no rows.
    """
    items = list(_parsed(task, parse))
    if not items:
        raise UserError(str(task.file), f"no rows for the task {task.name!r}", "name a file with at least one row")
    return items


def _parsed(task: TaskSection, parse: Parse) -> Iterator[Item]:
    for number, row in islice(numbered_rows(shipped(task.file)), task.limit or None):
        try:
            item = parse(task, row)
            if task.cluster:
                item = dataclasses.replace(item, cluster=str(column(row, task.cluster)))
            yield dataclasses.replace(item, id=str(row.get("id") or number))
        except ValueError as error:
            what = f"{error} (task {task.name!r}, kind {task.kind})"
            raise UserError(
                f"{task.file}:{number}", what, "rows that the task can read, or other columns in it"
            ) from None


def first_rows_faults(task: TaskSection, parse: Parse, key: Key) -> list[Fault]:
    """Return what is wrong with the first rows of a task's file; a file that is not there yet is nobody's mistake."""
    if not shipped(task.file).is_file():
        return []
    try:
        if not list(islice(_parsed(task, parse), FIRST_ROWS)):
            return [Fault((*key, "file"), f"{task.file} has no rows", "name a file with at least one row")]
    except UserError as error:
        return [Fault((*key, "file"), f"{error.where}: {error.what}", error.write)]
    return []
