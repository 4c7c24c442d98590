"""Rules that find a question and its answer in a passage, without a model. One file a rule; adding one edits nothing.

A rule's module has `find(passage)`, which yields `Pair`s. The answer is always text of the passage, word for word;
only the question is made. Rules are for English. They say nothing where they are not sure: a passage without a clear
statement about a named thing gives no pair.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from data_prep.synthesis.question_answers.passages import Pair, Passage


@cache
def modules() -> dict[str, ModuleType]:
    """Return every rule by its name."""
    return {item.name: importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)}


def find(passage: Passage, names: list[str] | None = None) -> Iterator[Pair]:
    """Yield the pairs of a passage; `names` picks rules, in a fixed order all the same."""
    for name, module in sorted(modules().items()):
        if not names or name in names:
            for pair in module.find(passage):
                pair.maker = name
                yield pair
