"""The names of a model's weights as its files have them, read from the safetensors headers: no torch, no weights.

A pattern or an ending in a recipe that no weight has is found before a model is loaded. Left out: bases that are not on
this disk, and those without safetensors; loading them tells.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from recipes.sections import shipped

# What stands before a name once a trunk's weights are loaded into a model with a head.
PREFIXES = ("", "model.", "transformer.", "bert.", "roberta.", "distilbert.", "electra.", "albert.", "deberta.")
LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")
HEADER_LIMIT = 100_000_000  # bytes; safetensors' own limit


def of(model: str) -> dict[str, int]:
    """Return each weight's name and number of dimensions; nothing when the base's files are not at hand."""
    folder = base_folder(model)
    found: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")) if folder else ():
        found |= _header(str(file), file.stat().st_mtime_ns)
    return found


def base_folder(model: str) -> Path | None:
    """Return the folder of the base behind a model reference, if it is on this disk."""
    folder = shipped(model)
    config = folder / "adapter_config.json"
    if config.is_file():
        try:
            named = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError):
            return None  # said when the adapter is read
        folder = shipped(str(named))
    return folder if (folder / "config.json").is_file() else None


@functools.cache
def _header(path: str, changed: int) -> dict[str, int]:
    """Return names and numbers of dimensions in one file; a damaged header has none."""
    with open(path, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if not 0 < size < HEADER_LIMIT:
            return {}
        try:
            values = json.loads(stream.read(size))
        except ValueError:
            return {}
    return {name: len(entry.get("shape", ())) for name, entry in values.items() if name != "__metadata__"}


def modules(names: dict[str, int]) -> list[str]:
    """Return the names of the modules with a matrix: what an adapter can be put on."""
    return sorted(
        name.removesuffix(".weight") for name, rank in names.items() if rank == 2 and name.endswith(".weight")
    )


def endings(names: list[str]) -> list[str]:
    """Return the last parts of module names, each once."""
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def layers(names: dict[str, int]) -> int:
    """Return how many layers the weights are numbered by."""
    return 1 + max((int(found[1]) for name in names if (found := LAYER.search(f".{name}"))), default=-1)


def searched(pattern: str, names: list[str], *, whole: bool = False) -> bool:
    """Return whether a pattern meets a name, as it is or as it will be behind a head."""
    meets = re.fullmatch if whole else re.search
    return any(meets(pattern, prefix + name) for name in names for prefix in PREFIXES)
