"""Everything that a run needs to go on as if it had never stopped, in one file that is there whole or not at all.

The order of prompts, sampling and minibatches follow from the seed and the iteration's number, so they need no state
of their own; the global random state is kept for reward functions that draw from it (the first process's).
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import torch

NAME = "ppo.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in place of the former one."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{NAME}.new"
    with new.open("wb") as stream:
        torch.save(state | {"random": (torch.get_rng_state(), random.getstate())}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(folder / NAME)


def load(folder: Path) -> dict[str, Any] | None:
    """Return the last checkpoint and set the global random state to what it was; None when there is none."""
    path = folder / NAME
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    torch_state, python_state = state.pop("random")
    torch.set_rng_state(torch_state)
    version, numbers, gauss = python_state
    random.setstate((version, tuple(numbers), gauss))
    return state
