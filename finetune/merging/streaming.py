"""Whole checkpoints of one shape into one, tensor by tensor: memory holds one tensor of each and one shard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.merging import checkpoint, methods
from finetune.merging.checkpoint import Entry
from recipes.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Combination:
    """What is made of the models; `t` is SLERP's, `density` is TIES' and DARE's, `base` is there for task vectors."""

    method: str
    weights: Sequence[float]
    base: str | None = None
    density: float = 1.0
    t: float = 0.5
    seed: int = 0


def merge(folders: Sequence[str | Path], how: Combination, out: Path, dtype: str, limit: int) -> float:
    """Write the combination of the models' weights; return a tensor's largest rounding (of its norm).

    Raises:
        UserError: names or shapes do not fit.
    """
    import torch

    found = [checkpoint.entries(folder) for folder in folders]
    based = checkpoint.entries(how.base) if how.base else {}
    if wrong := next(iter(misfits(folders, found)), None):
        raise UserError(str(out), wrong, "merge models of one architecture and one vocabulary")
    if how.base:
        _require_base(how.base, based, found[0])
    kind: torch.dtype = getattr(torch, dtype)
    rounding = 0.0
    with ExitStack() as stack:
        readers = [stack.enter_context(checkpoint.reading(folder)) for folder in folders]
        base = stack.enter_context(checkpoint.reading(how.base)) if how.base else None

        def made(name: str) -> torch.Tensor:
            nonlocal rounding
            tensors = [read(name) for read in readers]
            if not found[0][name].floating:
                return _same(name, tensors, folders)
            whole = combine(name, tensors, base if name in based else None, how)
            lost = (whole - whole.to(kind).float()).norm() / whole.norm().clamp(min=1e-30)
            rounding = max(rounding, float(lost))
            return whole

        checkpoint.write(out, found[0], made, dtype, limit)
    return rounding


def combine(
    name: str,
    tensors: Sequence[torch.Tensor],
    base: Callable[[str], torch.Tensor] | None,
    how: Combination,
) -> torch.Tensor:
    """Return one merged tensor in float32; what the base has no weights for (a new head) is averaged."""
    if how.method == "slerp":
        return methods.slerp(tensors[0], tensors[1], how.t)
    if how.method == "linear":
        return methods.linear(tensors, how.weights)
    if base is None:
        total = sum(how.weights)
        return methods.linear(tensors, [weight / total for weight in how.weights])
    seed = methods.seed_of(name, how.seed)
    return methods.task_vectors(how.method, base(name), tensors, how.weights, how.density, seed)


def _require_base(base: str, based: Mapping[str, Entry], first: Mapping[str, Entry]) -> None:
    """Refuse a base of other shapes (a vocabulary that was extended since), or with other names."""
    write = "name the base that the models were trained from; models with a longer vocabulary need one as long"
    for name in sorted(first.keys() & based.keys()):
        if first[name].shape != based[name].shape:
            what = f"{name} is {list(based[name].shape)}, and {list(first[name].shape)} in the models"
            raise UserError(base, what, write)
    missing = sorted(first.keys() - based.keys())
    if 2 * len(missing) > len(first):
        raise UserError(base, f"has none of {len(missing)} of the models' weights, such as {missing[0]}", write)


def misfits(folders: Sequence[str | Path], found: Sequence[Mapping[str, Entry]]) -> list[str]:
    """Return what keeps models from being merged: names or shapes that differ from the first model's."""
    wrong = []
    for folder, other in zip(folders[1:], found[1:], strict=True):
        if missing := sorted(found[0].keys() ^ other.keys()):
            here = folders[0] if missing[0] in found[0] else folder
            wrong.append(f"only {here} has {missing[0]}" + (f" and {len(missing) - 1} more" if missing[1:] else ""))
            continue
        for name, entry in other.items():
            if entry.shape != found[0][name].shape:
                shapes = f"{list(entry.shape)} in {folder} and {list(found[0][name].shape)} in {folders[0]}"
                wrong.append(f"{name} is {shapes}")
                break
    return wrong


def _same(name: str, tensors: Sequence[torch.Tensor], folders: Sequence[str | Path]) -> torch.Tensor:
    """Return what holds no floating numbers (positions, say), which must be the same everywhere."""
    import torch

    for tensor, folder in zip(tensors[1:], folders[1:], strict=True):
        if not torch.equal(tensor, tensors[0]):
            raise UserError(str(folder), f"{name} holds whole numbers that differ", "merge models of one architecture")
    return tensors[0]
