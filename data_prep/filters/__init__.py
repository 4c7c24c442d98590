"""Filters: each keeps a document (perhaps with its text repaired) or drops it with a reason.

A filter is one file in this folder. It has

- `ORDER`, its place in the chain (repairs 10 to 39, judgements 40 to 79, redaction from 80 on);
- `Settings`, the section of the recipe under `filters:` that bears the file's name and switches it on;
- `build(settings) -> Check`.

A `Check` takes a document, may change its text, and returns None or a `Drop`. Nothing else has to be edited to add one.

A filter that must see the whole corpus first has, besides,

- `survey(settings, *models) -> Survey`, which looks at the documents of one shard and saves what it counted to a file;
- `reduce(settings, parts, target)`, which makes one model out of all shards' files, in bounded memory;
- `ROUNDS`, how often that is done (a later survey is given the models made so far);
- `build(settings, *models) -> Check`.
"""

from __future__ import annotations

import importlib
import pkgutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from data_prep.records import Document


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a document is dropped: a short reason that is counted, and what was seen."""

    reason: str
    detail: str = ""


Check = Callable[[Document], Drop | None]


class Survey(Protocol):
    """What a filter learns from the documents of a shard."""

    def see(self, document: Document) -> None:
        """Take a document into account; never changes it."""
        ...

    def save(self, path: Path) -> None:
        """Write what was learnt, whole or not at all."""
        ...


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


def chosen(settings: Any) -> list[str]:
    """Return the names of the filters that a recipe's section switches on, in the order of the chain."""
    return [name for name in modules() if getattr(settings, name) is not None]


def surveys(name: str) -> int:
    """Return how often a filter must see the whole corpus before it can judge."""
    module = modules()[name]
    return int(getattr(module, "ROUNDS", 1)) if hasattr(module, "survey") else 0


def fitted(name: str, settings: Any, documents: Iterable[Document]) -> Check:
    """Return the check of a filter for a collection that is in memory."""
    module, collection = modules()[name], list(documents)
    with tempfile.TemporaryDirectory() as folder:
        models: list[Path] = []
        for number in range(surveys(name)):
            survey = module.survey(settings, *models)
            for document in collection:
                survey.see(document)
            part, model = Path(folder, f"part-{number}.npy"), Path(folder, f"model-{number}.npy")
            survey.save(part)
            module.reduce(settings, [part], model)
            models.append(model)
        check: Check = module.build(settings, *models)
    return check
