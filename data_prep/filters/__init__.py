"""Filters: each keeps a document (perhaps with its text repaired) or drops it with a reason.

A filter is one file in this folder. It has

- `ORDER`, its place in the chain (repairs 10 to 39, judgements 40 to 79, redaction from 80 on);
- `Settings`, the section of the recipe under `filters:` that bears the file's name and switches it on;
- `build(settings) -> Check`, or, if it must see the whole corpus first, `fit(settings, documents) -> Check`.

A `Check` takes a document, may change its text, and returns None or a `Drop`. Nothing else has to be edited to add one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from data_prep.records import Document


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a document is dropped: a short reason that is counted, and what was seen."""

    reason: str
    detail: str = ""


Check = Callable[[Document], Drop | None]


@cache
def modules() -> dict[str, ModuleType]:
    """Return every filter by its name, in the order of the chain."""
    found = [
        importlib.import_module(f"{__name__}.{item.name}")
        for item in pkgutil.iter_modules(__path__)
        if not item.name.startswith("_")
    ]
    found.sort(key=lambda module: (module.ORDER, module.__name__))
    return {module.__name__.rpartition(".")[2]: module for module in found}


def chain(settings: dict[str, Any]) -> list[tuple[str, Callable[[Sequence[Document]], Check]]]:
    """Return name and maker of each filter that is switched on; the maker gets the documents that reach it."""
    return [
        (name, _maker(module, settings[name])) for name, module in modules().items() if settings.get(name) is not None
    ]


def _maker(module: ModuleType, settings: Any) -> Callable[[Sequence[Document]], Check]:
    if hasattr(module, "fit"):
        return lambda documents: module.fit(settings, documents)
    return lambda documents: module.build(settings)
