"""The shapes in which people keep supervised data. A shape is one file in this folder; adding one edits nothing else.

A shape's module has

- `KIND`: what its rows are: conversations, preferences, unpaired, classification or pairs;
- `NEEDS`: alternatives of columns that must all be there; `MAY`: columns that it also reads;
- perhaps `SHOWN`: the alternative that a message names, where that is not the first;
- `ORDER` and `WHY`: where several shapes fit, the smallest `ORDER` is taken, and `WHY` is what the user is told;
- `read(row, options)`: a list of rows of the kind (mostly one), each a dictionary of its parts; raises `Refused`;
- perhaps `fits(row)`: whether the values are of the right type, where the columns alone do not tell;
- perhaps `gather(rows)`: for shapes in which several rows make one; see `rated`.

Where no shape of the wanted kind fits, one of a kind that can be turned into it is taken (`TURNED`): a question with
its answer is also a pair of source and target, a pair of answers also two answers of which one is good.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from types import ModuleType
from typing import Any

from data_prep.supervised.turns import Options, Parts, Refused, Row, unlearnt

KINDS = ("conversations", "preferences", "unpaired", "classification", "pairs")
TURNED = {"pairs": "conversations", "conversations": "pairs", "unpaired": "preferences"}


@dataclass(frozen=True)
class Shape:
    """One way to write supervised data."""

    module: ModuleType
    kind: str

    @property
    def name(self) -> str:
        """Return the shape's name."""
        return self.module.__name__.rpartition(".")[2]

    @property
    def direct(self) -> bool:
        """Tell whether the shape's rows are of the wanted kind and need not be turned into it."""
        return kind_of(self.module) == self.kind

    def needed(self, row: Row) -> tuple[str, ...] | None:
        """Return the first alternative of columns that a row has."""
        return _needed(self.module, tuple(row))

    def fits(self, row: Row) -> bool:
        """Tell whether a row has the columns and, where that matters, the right types in them."""
        return self.needed(row) is not None and (not hasattr(self.module, "fits") or bool(self.module.fits(row)))

    def used(self, row: Row) -> list[str]:
        """Return the columns of a row that the shape reads."""
        needed = list(self.needed(row) or ())
        return needed + [name for name in self.module.MAY if name in row and name not in needed]

    def read(self, row: Row, options: Options) -> list[Parts]:
        """Return what a row says, in parts of the wanted kind.

        Raises: Refused.
        """
        needed = self.needed(row)
        if needed is None:
            raise Refused("missing column", f"found {', '.join(sorted(row)) or 'none'}")
        found: list[Parts] = self.module.read(row, options)
        return found if self.gathers else self._turned(found)

    @property
    def gathers(self) -> bool:
        """Tell whether it takes several rows to make one: `read` then gives what `gather` wants."""
        return hasattr(self.module, "gather")

    def gather(
        self, rows: Sequence[tuple[Any, Parts]], options: Options
    ) -> Iterator[tuple[Any, list[Parts] | Refused]]:
        """Yield a place and what the rows make together, or why they make nothing."""
        for place, found in self.module.gather(rows, options):
            yield place, found if isinstance(found, Refused) else self._turned(found)

    def _turned(self, found: list[Parts]) -> list[Parts]:
        return found if self.direct else [made for parts in found for made in turned(parts, self.kind)]


@lru_cache(maxsize=4096)  # the rows of a file have few sets of columns, and some shapes hundreds of alternatives
def _needed(module: ModuleType, columns: tuple[str, ...]) -> tuple[str, ...] | None:
    needs: Sequence[tuple[str, ...]] = module.NEEDS
    return next((names for names in needs if all(name in columns for name in names)), None)


@dataclass(frozen=True)
class Reading:
    """What a file's first rows were taken for, and which other shapes fit."""

    shape: Shape
    others: tuple[Shape, ...] = ()


@cache
def modules() -> tuple[ModuleType, ...]:
    """Return the module of every shape, in the order in which they are asked."""
    found = [importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)]
    return tuple(sorted(found, key=lambda module: (module.ORDER, module.__name__)))


def kind_of(module: ModuleType) -> str:
    """Return the kind of a shape's rows."""
    return str(module.KIND)


def of_kind(kind: str) -> list[Shape]:
    """Return the shapes of a kind."""
    return [Shape(module, kind) for module in modules() if kind_of(module) == kind]


def readable(kind: str) -> list[Shape]:
    """Return the shapes of a kind and those that can be turned into it."""
    turning = TURNED.get(kind)
    return of_kind(kind) + [Shape(module, kind) for module in modules() if kind_of(module) == turning]


def recognise(row: Row, kind: str) -> Reading | None:
    """Return the shape of a row and the others that fit too."""
    fitting = [shape for shape in readable(kind) if shape.fits(row)]
    if not fitting:
        return None
    others = tuple(shape for shape in fitting[1:] if shape.direct == fitting[0].direct)
    return Reading(fitting[0], others)


def named(name: str, kind: str) -> Shape | None:
    """Return a shape by its name, if it can be read as the kind."""
    return next((shape for shape in readable(kind) if shape.name == name), None)


def known(kind: str) -> str:
    """Return the columns of every shape of a kind in words: of each shape the first alternative."""
    first = ["+".join(getattr(shape.module, "SHOWN", shape.module.NEEDS[0])) for shape in of_kind(kind)]
    return ", or ".join(dict.fromkeys(first))


def elsewhere(row: Row, kind: str) -> Shape | None:
    """Return a shape of another kind that fits."""
    fitting = (Shape(module, kind_of(module)) for module in modules() if kind_of(module) != kind)
    return next((shape for shape in fitting if shape.fits(row)), None)


def turned(parts: Parts, kind: str) -> Iterable[Parts]:
    """Yield parts of another kind.

    Raises: Refused for a conversation of more than one exchange where a pair is wanted.
    """
    if kind == "pairs":
        turns = parts["messages"]
        if [turn["role"] for turn in turns] != ["user", "assistant"]:
            raise Refused("not one exchange", " ".join(turn["role"] for turn in turns)[:120])
        if unlearnt(turns):
            raise Refused("turn of weight 0", "an answer that is not to be learnt")
        yield {"source": turns[0]["content"], "target": turns[1]["content"]}
    elif kind == "conversations":
        asked, said = parts["source"], parts["target"]
        yield {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
    else:
        for name in ("chosen", "rejected"):
            yield {"prompt": parts["prompt"], "completion": parts[name], "label": name == "chosen"}


def renamed(row: Row, columns: Mapping[str, str | list[str]]) -> dict[str, Any]:
    """Return a row with our column names where `columns` says which of theirs is meant.

    Several of theirs are joined: texts by an empty line; of labels those that are true. A name with dots looks into
    objects.
    """
    theirs = {name for value in columns.values() for name in _list(value)}
    kept = {name: value for name, value in row.items() if name not in theirs and name not in columns}
    return {**kept, **{ours: _joined(row, ours, _list(value)) for ours, value in columns.items() if _any(row, value)}}


def has(row: Row, name: str) -> bool:
    """Tell whether a row has a column, also one within an object."""
    return _look(row, name)[0]


def _any(row: Row, value: str | list[str]) -> bool:
    return any(has(row, name) for name in _list(value))


def _joined(row: Row, ours: str, names: list[str]) -> Any:
    values = {name: _look(row, name)[1] for name in names}
    if len(names) == 1:
        return values[names[0]]
    if ours == "labels":
        return [name for name, value in values.items() if value in (True, 1, "1", "true", "True")]
    return "\n\n".join(item for value in values.values() for item in _texts(value) if item.strip())


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in found):
        raise Refused("not text", "a column that is joined to others holds something else")
    return found


def _look(row: Row, name: str) -> tuple[bool, Any]:
    value: Any = row
    if name in row:
        return True, row[name]
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False, None
        value = value[part]
    return True, value


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
