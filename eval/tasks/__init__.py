"""One file for each kind of task (what such a file has: see eval/task.py); put one here and recipes may name it."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Union, cast

from pydantic import Field

from eval.task import Item, Outcome, TaskSection

if TYPE_CHECKING:
    from collections.abc import Sequence


class Kind(Protocol):
    """What every module in this folder has."""

    SUBJECT: Literal["policy", "reward"]
    MAIN: tuple[str, ...]

    @staticmethod
    def parse(task: Any, row: dict[str, Any]) -> Item: ...

    @staticmethod
    def measure(task: Any, items: Sequence[Item], subject: Any) -> Outcome: ...


@cache
def names() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)])))


def kind(name: str) -> Kind:
    """Return a kind of task."""
    return cast(Kind, import_module(f"eval.tasks.{name}"))


if TYPE_CHECKING:
    AnyTask = TaskSection
else:
    AnyTask = Annotated[Union[tuple(kind(name).Task for name in names())], Field(discriminator="kind")]  # noqa: UP007
