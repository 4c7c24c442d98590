"""A list of texts that user and assistant say in turn: UltraChat's `data`, LIMA's `conversations`, DailyDialog."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "conversations", 12
NAMES = ("conversations", "conversation", "dialog", "dialogue", "turns", "utterances", "data")
NEEDS = tuple((name,) for name in NAMES)
SHOWN = ("turns",)
MAY = ("system",)
WHY = "it holds all the turns"


def fits(row: Row) -> bool:
    """Tell a list of texts."""
    value = turns.unpacked(next(row[name] for name in NAMES if name in row))
    return isinstance(value, list) and len(value) > 1 and all(isinstance(item, str) for item in value)


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation: the user speaks first."""
    value = turns.unpacked(next(row[name] for name in NAMES if name in row))
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refused("no messages", turns.kind_of(value))
    spoken = [{"role": ("user", "assistant")[index % 2], "content": item} for index, item in enumerate(value)]
    return [{"messages": [*turns.single(row, ("system", "system")), *spoken]}]
