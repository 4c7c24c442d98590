"""The trackers that `training.report_to` may name, and whether they are installed; at work in finetune/trackers.py."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from recipes.section_types import Fault, Key

NAMES = ("tensorboard", "wandb", "mlflow", "trackio")


def faults(key: Key, names: Sequence[str]) -> list[Fault]:
    """Return a fault for each tracker that is not installed."""
    missing = [name for name in names if name in NAMES and not _installed(name)]
    return [
        Fault(key, f"{name} is not installed", f"write: pip install {name}; or take it out of the list")
        for name in missing
    ]


def _installed(name: str) -> bool:
    found = importlib.util.find_spec(name)
    return found is not None and found.origin is not None  # a mere folder of that name is no package
