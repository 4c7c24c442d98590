"""When memory runs out: is that what an error says, what was held, what to change; and the next smaller micro-batch.

Linux ends a process that has taken all of the machine's memory with SIGKILL and without an error; recipes/steps.py
tells of that. Left out: going on by itself in several processes (one that fails leaves the others waiting in the middle
of an exchange, so all end, with the advice).
"""

from __future__ import annotations

import errno
from typing import Any

from recipes.errors import UserError
from recipes.estimate import changes
from recipes.estimate.memory import needed
from recipes.sections import Training

SIGNS = (
    "out of memory",  # CUDA, HIP, MPS
    "can't allocate memory",  # DefaultCPUAllocator
    "not enough memory",
    "bad_alloc",  # C++
    "bad allocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a memory object",  # oneDNN
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there was no memory left."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def peak_bytes(device: Any) -> int:
    """Return the most that this process has held: on a GPU what its tensors took, else of main memory."""
    import resource
    import sys

    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def advice(
    training: Training,
    model: Any,
    peak: int,
    *,
    tokens_per_micro_batch: int,
    device: Any,
    processes: int = 1,
    name: str = "training",
) -> UserError:
    """Return what to tell the user: what was held, and the three best changes with what a step would need then."""
    import torch

    from finetune.memory import measured

    device = torch.device(device)
    shape, setting = measured(model, training, tokens_per_micro_batch, device, processes)
    micro_batch = training.per_device_train_batch_size
    length = max(1, tokens_per_micro_batch // micro_batch)
    step = needed(shape, setting).peak
    # It did not fit into what was held, whatever the formulas say: changes are measured against the lower of the two.
    budget = 0.9 * min(float(peak), step)
    found = changes.best(changes.ranked(shape, setting, micro_batch, length, budget), budget)
    where = f"{name}, on {device}"
    what = f"out of memory; {peak / 1e9:.1f} GB were held at most, and a step needs ~{step / 1e9:.1f} GB"
    lines = [f"{change.write}: ~{change.memory.peak / 1e9:.1f} GB" for change in found]
    if smaller(training) and processes == 1 and not training.auto_find_batch_size:
        lines.append("training.auto_find_batch_size: true does the first by itself")
    error = UserError(
        where, what, "write " + "; or ".join(lines) if lines else "use a smaller model, or a larger device"
    )
    error.code = 1
    return error


def smaller(training: Training) -> Training | None:
    """Return the next smaller micro-batch with as much more accumulation, so that a step has the same rows.

    About half: the largest size below it that divides the rows of a step. None where one row is all there is.
    """
    size = training.per_device_train_batch_size
    whole = size * training.gradient_accumulation_steps
    less = next((part for part in range(size // 2, 0, -1) if whole % part == 0), None)
    if less is None:
        return None
    values = {"per_device_train_batch_size": less, "gradient_accumulation_steps": whole // less}
    return training.model_copy(update=values)
