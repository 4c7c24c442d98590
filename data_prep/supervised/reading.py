"""A file of supervised data -> rows in parts, with what the file was taken for.

The shape is decided on the first `PROBE` rows: the one that most of them have. A later row of another shape is refused
and counted, since two shapes in one file are mostly two files that somebody put together.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_prep.files import columnar, tables
from data_prep.supervised import shapes
from data_prep.supervised.shapes import Reading, Shape, translation
from data_prep.supervised.turns import ROLE_NAMES, Options, Parts, Refused
from recipes.errors import UserError

PROBE = 20
OUTER = ("id", "meta", "margin", "agreement", "raters")  # columns that have a place of their own in our rows
SHOWN = 160  # characters of each part of the first row


@dataclass(frozen=True)
class Wanted:
    """How a recipe wants its files read."""

    kind: str
    shape: str = ""
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    split: str = ""
    header: bool = True
    options: Options = field(default_factory=Options)
    group_column: str = ""


@dataclass
class Item:
    """One row as read: where it stands, its columns, and its parts, or why it cannot be used.

    `number` counts the rows of the kind that one row of the file gives, from 1; 0 where it gives one.
    """

    line: int
    row: Mapping[str, Any]
    parts: Parts | Refused
    number: int = 0


class File:
    """One file and its reading."""

    def __init__(self, path: Path, wanted: Wanted) -> None:
        """Read the first rows.

        Raises: UserError for a file that is no table, without rows, or of no shape of the kind.
        """
        self.path = path
        self._numbered = tables.rows_of(path, header=wanted.header, split=wanted.split)
        self._damage: UserError | None = None
        self._head = list(self._probed())
        found = [(line, row) for line, row in self._head if isinstance(row, dict)]
        if not found and self._damage:
            raise self._damage
        if not found:
            bad = next((f" ({row} in line {line})" for line, row in self._head if isinstance(row, ValueError)), "")
            raise UserError(str(path), f"has no row{bad}", "a file with at least one row that can be read")
        self.wanted = wanted
        self._not_a_row = "not a row" if tables.format_of(path) == tables.CSV else "not a JSON object"
        self.reading = _decided(path, found, wanted)
        self.options = _options(wanted, shapes.renamed(found[0][1], wanted.columns))
        self.columns = sorted({name for _, row in found for name in row})
        self._first = found[0][1]

    def _probed(self) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
        """Yield the first rows; a file that is damaged after some of them is told when the others are read."""
        try:
            yield from itertools.islice(self._numbered, PROBE)
        except UserError as error:
            self._damage = error

    @property
    def shape(self) -> Shape:
        """Return the shape that was taken."""
        return self.reading.shape

    def items(self) -> Iterator[Item]:
        """Yield every row as read.

        Raises: UserError for a file that is damaged further on.
        """
        held: list[tuple[Item, Parts]] = []
        for line, row in self._all():
            for item in self._read(line, row):
                if self.shape.gathers and not isinstance(item.parts, Refused):
                    held.append((item, item.parts))
                else:
                    yield item
        for item, made in self.shape.gather(held, self.options) if held else ():
            yield from _each(item.line, item.row, made)
        if self._damage:
            raise self._damage

    def _all(self) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
        """Yield every row that can be had; what ends them too early is kept for the end."""
        yield from self._head
        try:
            if not self._damage:
                yield from self._numbered
        except UserError as error:
            self._damage = error

    def _read(self, line: int, row: dict[str, Any] | ValueError) -> Iterator[Item]:
        if isinstance(row, ValueError):
            yield Item(line, {}, Refused(self._not_a_row, str(row)))
            return
        try:
            named = shapes.renamed(row, self.wanted.columns)
            found: list[Parts] | Refused = self._parts(named)
        except Refused as refused:
            named, found = row, refused
        yield from _each(line, named, found)

    def _parts(self, row: dict[str, Any]) -> list[Parts]:
        if self.shape.needed(row) is None and (other := shapes.recognise(row, self.wanted.kind)):
            raise Refused("another shape", f"reads as {other.shape.name}, the file as {self.shape.name}")
        return self.shape.read(row, self.options)

    def told(self) -> str:
        """Return in one line what the file was taken for and why."""
        row = shapes.renamed(self._first, self.wanted.columns)
        used = [_written(name, self.wanted.columns) for name in self.shape.used(row)]
        text = f"read as {self.shape.name} ({', '.join(used)})"
        if not self.shape.direct:
            text += f", {shapes.kind_of(self.shape.module)} turned into {self.wanted.kind}"
        if self.shape.name == "translation":
            text += f", from {self.options.languages[0]} to {self.options.languages[1]}"
        if left := [name for name in row if name not in {*self.shape.used(row), *OUTER}]:
            text += f"; kept in meta: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}"
        if self.reading.others and not self.wanted.shape:
            others = ", ".join(f"{one.name} ({'+'.join(one.needed(row) or ())})" for one in self.reading.others)
            text += f"; {others} would fit too: {self.shape.name} was taken because {self.shape.module.WHY}"
        if not self.wanted.split and len(names := columnar.splits(self.path)) > 1:
            text += f"; split train of {', '.join(names)}"
        return text

    def first(self) -> str:
        """Return the first row that can be used, as read, in one line."""
        for line, row in self._head:
            for item in self._read(line, row):
                if isinstance(item.parts, dict):
                    return " | ".join(_shown(name, value) for name, value in item.parts.items())
        return "none of the first rows can be used"


def mistake(path: Path, wanted: Wanted) -> tuple[str, str] | None:
    """Return what is wrong with the first rows of an input, if anything is: (what, what to write)."""
    files = tables.files(path)
    if not files:
        return f"{path} holds no table", f"a folder with files that end in {', '.join(tables.SUFFIXES)}"
    first = None
    for file in files:
        try:
            File(file, wanted)
            return None
        except UserError as error:
            first = first or (_told(error, path, alone=len(files) == 1), error.write)
    return first


def _told(error: UserError, path: Path, *, alone: bool) -> str:
    """Return a mistake for a recipe's line, which names the input already."""
    if alone and " fit no shape " in error.what:
        return error.what
    return f"{error.where} {error.what}" if error.what.startswith("has no") else f"{error.where}: {error.what}"


def _decided(path: Path, found: Sequence[tuple[int, dict[str, Any]]], wanted: Wanted) -> Reading:
    """Return the shape of the first rows.

    Raises: UserError that names columns that are missing or that fit no shape.
    """
    rows = [row for _, row in found]
    theirs = [name for value in wanted.columns.values() for name in ([value] if isinstance(value, str) else value)]
    absent = [name for name in theirs if not any(shapes.has(row, name) for row in rows)]
    columns = sorted({name for row in rows for name in row})
    if absent:
        raise UserError(str(path), f"has no column {', '.join(absent)}", f"one of {', '.join(columns)}")
    renamed = [_renamed(row, wanted) for row in rows]
    names = {*columns, *(name for row in renamed for name in row)}
    if wanted.group_column and wanted.group_column not in names:
        what = f"has no column {wanted.group_column}, which group_column names"
        raise UserError(str(path), what, f"one of {', '.join(columns)}")
    if wanted.shape:
        return _asked_for(path, renamed, wanted)
    votes = Counter(reading for row in renamed if (reading := shapes.recognise(row, wanted.kind)))
    if not votes:
        what, write = _unknown(renamed[0], wanted.kind)
        if tables.format_of(path) == tables.CSV and wanted.header:
            write += "; if the first line is a row, write header: false and name the columns 1, 2, ..."
        raise UserError(f"{path}:{found[0][0]}", what, write)
    return votes.most_common(1)[0][0]


def _renamed(row: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    try:
        return shapes.renamed(row, wanted.columns)
    except Refused:
        return row


def _asked_for(path: Path, rows: Sequence[dict[str, Any]], wanted: Wanted) -> Reading:
    shape = shapes.named(wanted.shape, wanted.kind)
    if shape is None:
        what = f"there is no shape {wanted.shape} of kind {wanted.kind}"
        raise UserError(str(path), what, f"one of {', '.join(one.name for one in shapes.readable(wanted.kind))}")
    if not any(shape.needed(row) for row in rows):
        needs = ", or ".join("+".join(names) for names in shape.module.NEEDS[:4])
        what = f"columns {', '.join(sorted(rows[0]))} do not make the shape {shape.name}"
        raise UserError(str(path), what, f"name yours with `columns:`; it needs {needs}")
    return Reading(shape)


def _unknown(row: Mapping[str, Any], kind: str) -> tuple[str, str]:
    what = f"columns {', '.join(sorted(row)) or 'none'} fit no shape of {kind}"
    if other := shapes.elsewhere(row, kind):
        return what, f"write kind: {other.kind} (they fit {other.name}), or name yours with `columns:`"
    return what, f"{shapes.known(kind)}, or name yours with `columns:`"


def _options(wanted: Wanted, row: Mapping[str, Any]) -> Options:
    """Return the options with the languages that the first row settles."""
    options = replace(wanted.options, roles={**ROLE_NAMES, **wanted.roles})
    if wanted.kind != "pairs" or "translation" not in row:
        return options
    try:
        return replace(options, languages=translation.languages(row, options))
    except Refused:
        return options


def _each(line: int, row: Mapping[str, Any], found: list[Parts] | Refused) -> Iterator[Item]:
    if isinstance(found, Refused):
        yield Item(line, row, found)
        return
    for number, parts in enumerate(found, 1):
        yield Item(line, row, parts, number if len(found) > 1 else 0)


def _written(name: str, columns: Mapping[str, str | list[str]]) -> str:
    theirs = columns.get(name)
    if theirs is None or theirs == name:
        return name
    return f"{theirs if isinstance(theirs, str) else ' and '.join(theirs)} as {name}"


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        said = " / ".join(f"{turn['role']}: {_short(turn['content'])}" for turn in value[-2:])
        return said if name == "messages" else f"{name}: {_short(value[-1]['content'])}"
    if hasattr(value, "said"):
        return f"answer worth {value.worth:g}: {_short(value.said[-1]['content'])}"
    return f"{name}: {_short(value)}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(map(str, value)) or "none"
    # A file must not send control characters to a terminal.
    shown = "".join(one if one.isprintable() else " " for one in (value if isinstance(value, str) else str(value)))
    text = " ".join(shown.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
