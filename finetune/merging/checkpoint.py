"""A checkpoint's weights, tensor by tensor: read from safetensors (one file or shards) and written in shards.

Nothing here holds more than one tensor and one shard in memory. The headers are read without torch, so that names and
shapes that do not fit are found before any weight is. Leaves out: pickled checkpoints (.bin), which can run code.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError

if TYPE_CHECKING:
    import torch

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Entry:
    """What a file's header says of one tensor."""

    file: Path
    dtype: str
    shape: tuple[int, ...]

    @property
    def floating(self) -> bool:
        """Return whether the tensor holds numbers that can be averaged."""
        return self.dtype in ("F64", "F32", "BF16", "F16")


def entries(folder: str | Path) -> dict[str, Entry]:
    """Return the tensors of a model's folder by name.

    Raises:
        UserError: there are no safetensors, or a header is damaged.
    """
    place = Path(folder)
    index = place / INDEX
    if index.is_file():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    else:
        names = sorted(file.name for file in place.glob("*.safetensors") if file.name != "adapter_model.safetensors")
    if not names:
        write = "save it with safetensors (save_pretrained does): pickled weights can run code"
        raise UserError(str(folder), "there are no weights in safetensors here", write)
    found: dict[str, Entry] = {}
    for name in names:
        found |= _header(place / name)
    return found


def _header(file: Path) -> dict[str, Entry]:
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            values = json.loads(stream.read(size)) if size < 10**8 else None
        assert isinstance(values, dict)
    except (OSError, ValueError, AssertionError):
        raise UserError(str(file), "missing or damaged: its header cannot be read", "fetch the file again") from None
    values.pop("__metadata__", None)
    return {name: Entry(file, entry["dtype"], tuple(entry["shape"])) for name, entry in values.items()}


def stored_dtype(found: Mapping[str, Entry]) -> str:
    """Return the precision that most weights are stored in, as torch names it."""
    counted = Counter[str]()
    for entry in found.values():
        if entry.dtype in DTYPES:
            counted[DTYPES[entry.dtype]] += _count(entry.shape)
    return counted.most_common(1)[0][0] if counted else "float32"


@contextmanager
def reading(folder: str | Path) -> Iterator[Callable[[str], torch.Tensor]]:
    """Give a function that reads one tensor by its name."""
    from safetensors import safe_open

    found = entries(folder)
    with ExitStack() as stack:
        files: dict[Path, Any] = {}

        def get(name: str) -> torch.Tensor:
            file = found[name].file
            if file not in files:
                files[file] = stack.enter_context(safe_open(file, framework="pt"))
            tensor: torch.Tensor = files[file].get_tensor(name)
            return tensor

        yield get


def size_in_bytes(text: str) -> int:
    """Return the bytes of a size such as 5GB.

    Raises:
        ValueError: it is no size.
    """
    number, unit = text[:-2], text[-2:].upper()
    if unit not in UNITS or not number.strip().replace(".", "", 1).isdigit() or float(number) <= 0:
        raise ValueError(f"{text!r} is no size")
    return int(float(number) * UNITS[unit])


def shards(sizes: Mapping[str, int], limit: int) -> list[list[str]]:
    """Return the names in files of at most `limit` bytes each; a tensor that is larger gets a file of its own."""
    found: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if found[-1] and filled + size > limit:
            found.append([])
            filled = 0
        found[-1].append(name)
        filled += size
    return found


def write(
    folder: Path, shapes: Mapping[str, Entry], tensor: Callable[[str], torch.Tensor], dtype: str, limit: int
) -> None:
    """Write the tensors that `tensor` makes, one shard after the other; floating ones in `dtype`."""
    import torch
    from safetensors.torch import save_file

    kind: torch.dtype = getattr(torch, dtype)
    width = torch.empty(0, dtype=kind).element_size()
    sizes = {
        name: _count(entry.shape) * (width if entry.floating else BYTES[entry.dtype]) for name, entry in shapes.items()
    }
    plan = shards(sizes, limit)
    placed: dict[str, str] = {}
    for number, names in enumerate(plan, 1):
        file = SINGLE if len(plan) == 1 else f"model-{number:05}-of-{len(plan):05}.safetensors"
        made = {name: _as_stored(tensor(name), kind) for name in names}
        save_file(made, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(names, file)
    if len(plan) > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": placed}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _as_stored(value: torch.Tensor, kind: torch.dtype) -> torch.Tensor:
    return (value.to(kind) if value.is_floating_point() else value).contiguous()


def _count(shape: tuple[int, ...]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
