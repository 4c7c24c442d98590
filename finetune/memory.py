"""Whether a run needs gradient checkpointing, and activations in main memory while they wait for the backward pass.

`plan` decides `training.gradient_checkpointing: auto`: on only where the formulas of recipes/estimate/memory.py say
that a step does not fit into what the device has free now. Computing activations anew costs about a third more work, so
it is no default.

`offloading` is for `training.activation_offloading`: what autograd saves on a GPU is copied to pinned main memory, and
back when the backward pass comes to it. Weights, which autograd saves too, stay where they are. Copies are made on the
stream that computes, so their order is safe without waiting; left out: copying beside the computation.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recipes import launch
from recipes.estimate.memory import Setting, needed
from recipes.estimate.planning import USABLE
from recipes.estimate.shapes import Shape, from_config
from recipes.sections import Training

if TYPE_CHECKING:
    import torch

SMALLEST = 4096  # bytes: a smaller tensor costs more to move than it frees


@dataclass(frozen=True)
class Plan:
    """What `auto` comes to, and what to tell the user of it."""

    gradient_checkpointing: bool
    said: str | None = None


def plan(model: Any, training: Training, tokens_per_micro_batch: int, device: Any, processes: int) -> Plan:
    """Decide on gradient checkpointing; `tokens_per_micro_batch` counts padding, `processes` those of the whole run."""
    import torch

    device = torch.device(device)
    said = None
    if training.activation_offloading and device.type != "cuda":
        said = "activation_offloading does nothing on a CPU: activations are in main memory already"
    if training.gradient_checkpointing != "auto":
        return Plan(training.gradient_checkpointing, said)
    shape, setting = measured(model, training, tokens_per_micro_batch, device, processes)
    step, free = needed(shape, setting), USABLE * free_bytes(device)
    held = step.libraries + (step.weights if _is_on(model, device) else 0)
    if step.peak - held <= free:
        return Plan(False, said)
    less = needed(shape, replace(setting, checkpointing=True))
    told = (
        f"gradient checkpointing is on: a step needs {_gigabytes(step.peak - held)} more without it and "
        f"{_gigabytes(less.peak - held)} with it; each process has {_gigabytes(free)} free on {device}"
    )
    return Plan(True, told if said is None else f"{told}; {said}")


def measured(
    model: Any, training: Training, tokens: int, device: torch.device, processes: int
) -> tuple[Shape, Setting]:
    """Return a loaded model's size, and what of it and of the recipe decides about memory."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    frozen = [weight for weight in model.parameters() if not weight.requires_grad]
    config = model.config.get_text_config()
    kept = [weight for weight in frozen or trained if weight.is_floating_point()]
    width = max((weight.element_size() for weight in kept), default=4)
    adapter = getattr(model, "peft_config", None)
    base = frozen if adapter else [*frozen, *trained]
    setting = Setting(
        tokens=tokens,
        trained=sum(weight.numel() for weight in trained),
        width=width,
        trained_width=max((weight.element_size() for weight in trained), default=4),
        quantization=_quantization(model),
        rank=max((getattr(one, "r", 0) or 0 for one in adapter.values()), default=0) if adapter else 0,
        adapter=bool(adapter),
        optim=training.optim,
        accumulation=training.gradient_accumulation_steps,
        checkpointing=training.gradient_checkpointing is True,
        offloading=training.activation_offloading,
        processes=processes,
        shards=launch.shards(),
        on_gpu=device.type == "cuda",
    )
    return from_config(config.to_dict(), sum(map(_numbers, base))), setting


def _numbers(weight: Any) -> int:
    """Return how many numbers a weight stands for; 4 bits are packed two to a byte."""
    return weight.numel() * 2 if type(weight).__name__ == "Params4bit" else weight.numel()


def _quantization(model: Any) -> str | None:
    kinds = {type(weight).__name__ for weight in model.parameters()}
    return "nf4" if "Params4bit" in kinds else "int8" if "Int8Params" in kinds else None


def _is_on(model: Any, device: torch.device) -> bool:
    return bool(next(model.parameters()).device.type == device.type)


def free_bytes(device: torch.device) -> float:
    """Return what one process may still take: of a GPU's memory, or its share of the machine's."""
    import torch

    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return float(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    from recipes.doctor import memory

    # What libraries and weights take is taken in every process; what is free is shared.
    return memory()[1] / max(1, int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def offloading(model: Any, training: Training, device: Any) -> AbstractContextManager[Any]:
    """Return the context for a forward pass whose activations wait in main memory; it does nothing on CPUs."""
    import torch

    if not training.activation_offloading or torch.device(device).type != "cuda":
        return nullcontext()
    return moved(model, "cuda")


def moved(model: Any, kind: str, smallest: int = SMALLEST) -> AbstractContextManager[Any]:
    """Return a context in which what autograd saves on devices of this kind is kept in main memory."""
    import torch

    weights = {weight.untyped_storage().data_ptr() for weight in [*model.parameters(), *model.buffers()]}

    def away(tensor: torch.Tensor) -> tuple[torch.device, torch.Tensor] | torch.Tensor:
        size = tensor.numel() * tensor.element_size()
        if tensor.device.type != kind or size < smallest or tensor.untyped_storage().data_ptr() in weights:
            return tensor
        copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=kind == "cuda")
        return tensor.device, copy.copy_(tensor, non_blocking=True)

    def back(saved: tuple[torch.device, torch.Tensor] | torch.Tensor) -> torch.Tensor:
        if isinstance(saved, torch.Tensor):
            return saved
        device, tensor = saved
        return tensor.to(device, non_blocking=True)

    return torch.autograd.graph.saved_tensors_hooks(away, back)
