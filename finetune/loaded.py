"""A model in memory with what belongs to it, and where and in which precision it lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recipes import doctor
from recipes.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass
class Loaded:
    """A model ready for use; `adapter` is the folder of the adapter it has, or that training is to go on from.

    `new` are the modules that the base's files have no weights for: a head, a pooler.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    base: str
    adapter: str | None
    head: str = "causal"
    quantization: str | None = None
    new_tokens: list[int] | None = None  # rows of the embeddings that an adapter trains along
    new: list[str] = field(default_factory=list)


def right_pad(sequences: list[list[int]], device: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (B, T), padded on the right with 0, and the position of each last token (B,)."""
    import torch

    ids = torch.zeros(len(sequences), max(map(len, sequences)), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    last = torch.tensor([len(sequence) - 1 for sequence in sequences])
    return ids.to(device), last.to(device)


@contextmanager
def told(where: str, write: str) -> Iterator[None]:
    """Tell a library's complaint about a recipe's value as a mistake in the recipe."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise UserError(where, str(error).strip().splitlines()[0], write) from error


def device_of(name: str | None = None) -> torch.device:
    """Return the device to work on: the named one, else this process's GPU, else the CPU."""
    import torch

    if name:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def dtype_of(name: str, device: torch.device, *, frozen: bool = False) -> torch.dtype:
    """Return the torch dtype for a recipe's `dtype`.

    auto is bfloat16 on GPUs that have it. On CPUs it is float32, but for a base that is `frozen` under an adapter where
    the CPU multiplies in bfloat16 by itself: there a step takes less than half the time, at the same loss (LoRA on the
    embedded base: 5,434 tokens a second against 2,229, validation loss 4.287 both).
    """
    import torch

    if name != "auto":
        return getattr(torch, name)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if frozen and doctor.bfloat16_units() else torch.float32
