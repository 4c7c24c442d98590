"""What is wrong with a model's folder, as far as its small files and the headers of its weights tell: half a download,
a pointer of Git LFS instead of weights, a shard that is missing.

Found before anything is loaded. Left out: whether the numbers in the weights are right; an adapter's base, which
finetune/bases.py looks for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HEADER_LIMIT = 100_000_000  # bytes; safetensors' own limit
AGAIN = "copy or download it again"
LFS = b"version https://git-lfs"


def damage(folder: Path) -> tuple[str, str] | None:
    """Return what is wrong with a model's folder and what to do, or None."""
    for name in ("config.json", "adapter_config.json"):
        file = folder / name
        if file.is_file() and _values(file) is None:
            return f"{file} is no JSON object", AGAIN
    return _missing_shard(folder) or _damaged_weights(folder)


def _values(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _missing_shard(folder: Path) -> tuple[str, str] | None:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return None
    places = (_values(index) or {}).get("weight_map")
    if not isinstance(places, dict):
        return f"{index} names no files of weights", AGAIN
    missing = sorted(name for name in set(places.values()) if not (folder / str(name)).is_file())
    return (f"{index} names {missing[0]}, which is not there", "copy the missing file in") if missing else None


def _damaged_weights(folder: Path) -> tuple[str, str] | None:
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as stream:
            start = stream.read(len(LFS))
            if start == LFS:
                return f"{file} is a pointer of Git LFS, not weights", "run `git lfs pull` in its folder"
            wanted = _whole_size(start[:8], stream, size)
        if wanted is None:
            return f"{file} has no header of safetensors", AGAIN
        if size != wanted:
            return f"{file} has {size:,} bytes, and {wanted:,} belong there", AGAIN
    return None


def _whole_size(length: bytes, stream: Any, size: int) -> int | None:
    """Return how many bytes a file of weights has by its header; None where there is no header."""
    count = int.from_bytes(length, "little")
    if not 0 < count < min(HEADER_LIMIT, size):
        return None
    stream.seek(8)
    try:
        entries = json.loads(stream.read(count))
        ends = [int(entry["data_offsets"][1]) for name, entry in entries.items() if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return 8 + count + max(ends, default=0)
