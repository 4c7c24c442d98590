"""A look at the first row of each data file, so that a file of another shape is refused before a model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recipes.errors import UserError
from recipes.sections import Fault, shipped


def files_of(data: Any) -> dict[tuple[str, str], str | None]:
    """Return the files of a recipe's data section to train on and to validate with, by their keys."""
    return {("data", key): getattr(data, key) for key in ("train_file", "validation_file")}


def faults(files: Mapping[tuple[str, str], str | None], parse: Callable[[dict[str, Any], str], Any]) -> list[Fault]:
    """Return a fault for each file whose first row `parse` refuses; files that are not there (yet) are passed over."""
    from data_prep.records import numbered_rows

    found = []
    for key, path in files.items():
        if path is None or not shipped(path).is_file():
            continue
        try:
            number, row = next(iter(numbered_rows(path)), (0, None))
            if row is None:
                found.append(Fault(key, f"{path} has no rows", "name a file with rows"))
            else:
                parse(row, f"{path}:{number}")
        except UserError as error:
            found.append(Fault(key, f"{error.where}: {error.what}", error.write))
    return found
