"""A GGUF file read back with gguf's reader, tensor by tensor, and as logits of a model that has its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.merging import checkpoint
from finetune.merging.llama_cpp import Plan, halved, rows
from recipes.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What rounding may change a weight by: of itself, and for q8_0 of the largest in its block of 32, whose scale is
# rounded to float16 too; what is smaller than float16 can say is lost.
BOUNDS = {"F32": 0.0, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 1 / 254 + 2**-10}
LEAST = 2**-24


def read_back(file: Path, plans: Sequence[Plan], folder: str | Path) -> float:
    """Hold each tensor of a GGUF file against the checkpoint; return the largest rounding of one (of its norm).

    Raises:
        UserError: a tensor is missing, or holds something else.
    """
    import numpy as np

    tensors = {tensor.name: tensor for tensor in _reader(file).tensors}
    rounding = 0.0
    with checkpoint.reading(folder) as read:
        for one in plans:
            wanted, found = rows(read, one), _numbers(tensors[one.name])
            if found.shape != wanted.shape or (np.abs(found - wanted) > _allowed(wanted, one.stored)).any():
                raise UserError(f"{file.name}: {one.name}", "does not hold what was written", "export again")
            norm = float(np.linalg.norm(wanted)) or 1.0
            rounding = max(rounding, float(np.linalg.norm(found - wanted)) / norm)
    return rounding


def _allowed(wanted: NDArray[np.float32], stored: str) -> NDArray[np.float32]:
    import numpy as np

    size = np.abs(wanted)
    if stored == "Q8_0":
        size = np.repeat(size.reshape(-1, 32).max(-1), 32).reshape(wanted.shape)
    return (BOUNDS[stored] * size + (LEAST if stored != "F32" else 0)).astype(np.float32)


def load_into(model: Any, file: Path, plans: Sequence[Plan]) -> None:
    """Give a model the weights of a GGUF file, its tied ones with them."""
    import torch

    tensors = {tensor.name: tensor for tensor in _reader(file).tensors}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for one in plans:
            value = _numbers(tensors[one.name])
            parameters[one.source].copy_(torch.from_numpy(halved(value, one.heads) if one.heads else value))


def _reader(file: Path) -> Any:
    import gguf

    return gguf.GGUFReader(file)


def _numbers(tensor: Any) -> NDArray[np.float32]:
    import gguf

    found: NDArray[np.float32] = gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy()
    return found
