"""What to change where memory does not do, the gentlest first, each with the memory it would leave.

First what computes the same (a smaller micro-batch with more accumulation, gradient checkpointing, shares on several
devices), then what is about as good (states and bases in fewer bits), last what changes the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from recipes.estimate.memory import EIGHT_BIT_ADAM, STATE, Memory, Setting, needed, with_adapter
from recipes.estimate.shapes import Shape

RANK = 16
WORTH = 0.97  # of the peak: what saves less is not named


@dataclass(frozen=True)
class Change:
    """One thing to write into a recipe, and the memory of a step with it."""

    write: str
    setting: Setting
    memory: Memory


def ranked(shape: Shape, setting: Setting, micro_batch: int, length: int, budget: float) -> list[Change]:
    """Return what would save memory, the gentlest first; the smaller micro-batch is the first that fits `budget`."""
    now = needed(shape, setting).peak
    found = [
        Change(write, other, needed(shape, other))
        for write, other in _changes(shape, setting, micro_batch, length, budget)
    ]
    return [change for change in found if change.memory.peak < WORTH * now]


def best(changes: list[Change], budget: float, most: int = 3) -> list[Change]:
    """Return the changes to tell: those that would fit, then those that save most, in the order of `ranked`."""
    fitting = [change for change in changes if change.memory.peak <= budget]
    others = sorted((change for change in changes if change not in fitting), key=lambda change: change.memory.peak)
    chosen = [*fitting, *others][:most]
    return [change for change in changes if change in chosen]


def _changes(
    shape: Shape, setting: Setting, micro_batch: int, length: int, budget: float
) -> Iterator[tuple[str, Setting]]:
    if smaller := _smaller(shape, setting, micro_batch, budget):
        size, other = smaller
        steps = f"gradient_accumulation_steps: {other.accumulation}"
        yield f"training: per_device_train_batch_size: {size}, {steps} (the same batch in all)", other
    if not setting.checkpointing:
        yield "training.gradient_checkpointing: true (a third more work)", replace(setting, checkpointing=True)
    if setting.on_gpu and not setting.offloading:
        yield "training.activation_offloading: true (slower)", replace(setting, offloading=True)
    if setting.processes > 1 and "weights" not in setting.shards:
        shards = frozenset({"weights", "gradients", "optimizer"})
        yield "launch.config: fsdp2 (shares of all on each GPU)", replace(setting, shards=shards)
    if not setting.adapter and STATE.get(setting.optim, 8.0) > STATE[EIGHT_BIT_ADAM]:
        yield f"training.optim: {EIGHT_BIT_ADAM}", replace(setting, optim=EIGHT_BIT_ADAM)
    if setting.quantization is None:
        base = setting if setting.adapter else with_adapter(shape, setting, RANK)
        words = "model.quantization: nf4" + ("" if setting.adapter else f", with adapter: {{r: {RANK}}}") + " (QLoRA)"
        yield words, replace(base, quantization="nf4")
    if length >= 64:
        yield f"data.max_length: {length // 2}", replace(setting, tokens=max(1, setting.tokens // 2))


def _smaller(shape: Shape, setting: Setting, micro_batch: int, budget: float) -> tuple[int, Setting] | None:
    """Return the largest smaller micro-batch that fits, else the smallest, at the same effective batch."""
    whole = micro_batch * setting.accumulation
    found = None
    for size in range(micro_batch - 1, 0, -1):
        if whole % size == 0:
            tokens = max(1, setting.tokens * size // micro_batch)
            found = size, replace(setting, tokens=tokens, accumulation=whole // size)
            if needed(shape, found[1]).peak <= budget:
                break
    return found
