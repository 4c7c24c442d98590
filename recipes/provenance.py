"""What a result came from: its inputs' hashes, the code, the libraries and the machine.

Nothing is imported to find a version out; nothing here asks the network.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes import __version__, remote
from recipes.hashing import combined, file_hash, text_hash
from recipes.sections import NAMED, ModelRef, StageRecipe, shipped, walk

LIBRARIES = (
    "torch transformers peft trl accelerate bitsandbytes datasets evaluate gradio tokenizers safetensors numpy "
    "huggingface_hub pydantic SQLAlchemy sacrebleu ftfy resiliparse pypdfium2 fastwarc pyarrow pathspec"
).split()
FLOORS = ("recipes", "data_prep", "finetune", "eval")


@dataclass(frozen=True)
class Input:
    """One thing that a recipe reads, and where in the recipe it is named."""

    key: str
    path: str
    model: bool


def inputs_of(recipe: StageRecipe) -> list[Input]:
    """Return every file, folder and model that the recipe names."""
    return [
        Input(".".join(map(str, key)), str(value), isinstance(value, ModelRef))
        for key, value in walk(recipe)
        if isinstance(value, NAMED)
    ]


def resolved(recipe: StageRecipe) -> dict[str, Any]:
    """Return the recipe with every default filled in, as plain JSON values."""
    return recipe.model_dump(mode="json")


# Which machine this is and how rows are fetched: the same result, so a run may go on with other values.
PLACES = {"output_dir", "training.extra.dataloader_num_workers", "training.extra.dataloader_prefetch_factor"} | {
    f"launch.{name}" for name in ("machine_rank", "main_process_ip", "main_process_port")
}


def fingerprint(recipe: StageRecipe, hashes: dict[str, str]) -> str:
    """Return the hash of everything that decides the result: stage, recipe, the inputs' contents, our version."""
    deciding = resolved(recipe)
    for key in recipe.cosmetic | PLACES:
        _drop(deciding, key.split("."))
    whole = {"stage": recipe.stage, "recipe": deciding, "inputs": hashes, "version": __version__}
    return text_hash(json.dumps(whole, sort_keys=True))


def _drop(values: dict[str, Any], key: list[str]) -> None:
    for name in key[:-1]:
        values = values.get(name) or {}
    values.pop(key[-1], None)


def hub_revision(name: str, kind: str = "model") -> str | None:
    """Return the commit of a Hugging Face id in the local cache, or None when it is not there.

    `kind` is model or dataset.
    """
    if remote.is_url(name):
        return None
    folder = hub_folder(name, kind)
    reference = folder / "refs" / "main"
    if not reference.is_file():
        return None
    commit = reference.read_text(encoding="utf-8").strip()
    return commit if (folder / "snapshots" / commit).is_dir() else None


def hub_folder(name: str, kind: str) -> Path:
    """Return the folder in which huggingface_hub keeps the files of a model or a data set."""
    return hub_cache() / f"{kind}s--{name.replace('/', '--')}"


def absent_hash(path: str) -> str:
    """Return what stands for the content of an input that is not on this disk.

    A URL counts by its listing: names, sizes and the store's own marks (recipes/remote.py); a hub id by its name.
    """
    if not remote.is_url(path):
        return text_hash(f"hub:{path}")
    return combined({file.relative or file.url: f"{file.size} {file.mark}" for file in remote.files(path)})


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub keeps what it downloaded (its own rules, without importing it)."""
    if named := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def local(path: str) -> Path | None:
    """Return the file or folder that a path or model name stands for, or None for a hub id."""
    found = shipped(path)
    return found if found.exists() else None


@functools.cache
def source_digest() -> str:
    """Return a hash of our own source code, so that a manifest shows when an editable clone had been changed."""
    root = Path(__file__).resolve().parent.parent
    files = [file for floor in FLOORS for file in (root / floor).rglob("*.py")]
    return combined({file.relative_to(root).as_posix(): file_hash(file) for file in files})


def library_versions() -> dict[str, str]:
    """Return the installed version of each library that can change a result."""
    from importlib import metadata  # a tenth of what a refused recipe may take to answer

    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what is worth knowing of the machine, without its name."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def peak_memory() -> int:
    """Return the most memory (bytes) that this process, or one of its children, has held."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
