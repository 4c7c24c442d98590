"""How large a model is, from its files: config.json and the headers of its weights. Nothing is loaded."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes import provenance
from recipes.existence import same_or_inside


@dataclass(frozen=True)
class Shape:
    """A model's size: `queries` and `keys` are the widths of all query heads and of all key heads together."""

    parameters: int
    hidden: int
    layers: int
    vocabulary: int
    intermediate: int = 0
    queries: int = 0
    keys: int = 0
    tied: bool = True

    def __post_init__(self) -> None:
        for name, value in (("intermediate", 4 * self.hidden), ("queries", self.hidden)):
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        if not self.keys:
            object.__setattr__(self, "keys", self.queries)

    @property
    def embeddings(self) -> int:
        """Return the parameters of the input embeddings, and of the output's where they are others."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)


def shape_of(ref: str, made_from: dict[str, str]) -> Shape | None:
    """Return the size of a model on disk, or of the one that an earlier step starts from; None when unknown."""
    folder = provenance.local(ref)
    if folder is None:
        origin = next((base for output, base in made_from.items() if same_or_inside(ref, output)), None)
        return shape_of(origin, {key: base for key, base in made_from.items() if base != origin}) if origin else None
    adapter = folder / "adapter_config.json"
    if adapter.is_file() and not (folder / "config.json").is_file():
        return shape_of(str(json.loads(adapter.read_text("utf-8")).get("base_model_name_or_path") or ""), {})
    config = folder / "config.json"
    if not config.is_file():
        return None
    counted = sum(parameters_in(file) for file in folder.glob("*.safetensors"))
    return from_config(json.loads(config.read_text("utf-8")), counted)


def from_config(values: dict[str, Any], parameters: int = 0) -> Shape:
    """Return the size that a config.json describes; `parameters` as counted, else about those of a Llama."""
    hidden, layers = (
        _number(values, "hidden_size", "n_embd", "d_model"),
        _number(values, "num_hidden_layers", "n_layer"),
    )
    vocabulary = _number(values, "vocab_size")
    heads = _number(values, "num_attention_heads", "n_head", "num_heads")
    width = _number(values, "head_dim", "d_kv") or hidden // max(1, heads)
    return Shape(
        parameters or 12 * layers * hidden**2 + 2 * vocabulary * hidden,
        hidden,
        layers,
        vocabulary,
        _number(values, "intermediate_size", "n_inner", "d_ff"),
        heads * width,
        (_number(values, "num_key_value_heads") or heads) * width,
        bool(values.get("tie_word_embeddings", True)),
    )


def _number(values: dict[str, Any], *names: str) -> int:
    return next((int(value) for name in names if (value := values.get(name))), 0)


def parameters_in(file: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
