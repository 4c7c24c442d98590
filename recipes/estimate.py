"""`tuneloop check`: what each step would read, and about how much memory and time it would take.

Simple formulas, said to be estimates. With N the base's parameters, T the trainable ones, and b bytes a number:
memory = b N + 12 T (gradient and Adam's two moments, 4 bytes each; the weights themselves are in N)
       + tokens of a batch x (34 b/2 x hidden x layers + 12 x vocabulary) + the libraries.
The 34 is Korthikanti et al. 2022 (https://arxiv.org/abs/2205.05198), equation 2 without the attention matrix, which
scaled-dot-product attention never holds; the 12 are logits, their gradient and the loss's copy in float32.
time = 6 N x tokens / speed for all weights, 4 N x tokens / speed for an adapter, tokens = bytes of text / 4.
Left out: generation (PPO, evaluation), and what a stage does besides training.
"""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from recipes import provenance
from recipes.load import Examined
from recipes.sections import ModelRef, StageRecipe, Training, walk

BYTES_PER_TOKEN = 4
LIBRARIES = 0.6e9  # bytes held after importing torch, transformers and peft
CPU_SPEED = 36e9  # floating point operations a second and core: 1,383 tokens/s of a 4.4 M Llama, float32, AVX-512
GPU_SPEED = 1e14  # a quarter of what a recent data-centre GPU can do in bfloat16
ACTIVATION_BYTES = 34
ADAM_BYTES = 12


@dataclass(frozen=True)
class Shape:
    """What a model's files say of its size."""

    parameters: int
    hidden: int
    layers: int
    vocabulary: int


def shape_of(ref: str, made_from: dict[str, str]) -> Shape | None:
    """Return the size of a model on disk, or of the one that an earlier step starts from; None when unknown."""
    folder = provenance.local(ref)
    if folder is None:
        origin = next((base for output, base in made_from.items() if _inside(ref, output)), None)
        return shape_of(origin, {key: base for key, base in made_from.items() if base != origin}) if origin else None
    adapter = folder / "adapter_config.json"
    if adapter.is_file() and not (folder / "config.json").is_file():
        return shape_of(str(json.loads(adapter.read_text("utf-8")).get("base_model_name_or_path") or ""), {})
    config = folder / "config.json"
    if not config.is_file():
        return None
    values = json.loads(config.read_text("utf-8"))
    names = ("hidden_size", "num_hidden_layers", "vocab_size")
    hidden, layers, vocabulary = (int(values.get(name) or 0) for name in names)
    counted = sum(parameters_in(file) for file in folder.glob("*.safetensors"))
    return Shape(counted or 12 * layers * hidden**2 + 2 * vocabulary * hidden, hidden, layers, vocabulary)


def parameters_in(file: Path) -> int:
    """Return how many numbers a safetensors file holds, from its header."""
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _inside(path: str, folder: str) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))


@dataclass(frozen=True)
class Cost:
    """An estimate: bytes, and seconds where they can be told."""

    memory: float | None
    seconds: float | None


def cost(recipe: StageRecipe, shape: Shape | None) -> Cost:
    """Return what training this recipe would take; unknown parts are None."""
    training = getattr(recipe, "training", None)
    if shape is None or not isinstance(training, Training):
        return Cost(None if shape is None else 4 * shape.parameters + LIBRARIES, None)
    gpu = has_gpu()
    adapter = getattr(recipe, "adapter", None)
    # all-linear LoRA: each of a Llama layer's seven matrices gets about r x (its two sides); 2 x 9 sides of `hidden`.
    trainable = 18 * adapter.r * shape.hidden * shape.layers if adapter else shape.parameters
    width = 2 if gpu and getattr(recipe.model, "dtype", "auto") != "float32" else 4  # type: ignore[attr-defined]
    length = _length(recipe)
    in_batch = training.per_device_train_batch_size * length
    activations = in_batch * (ACTIVATION_BYTES * width / 2 * shape.hidden * shape.layers + 12 * shape.vocabulary)
    if training.gradient_checkpointing:
        activations = in_batch * (2 * width * shape.hidden * shape.layers + 12 * shape.vocabulary)
    memory = width * shape.parameters + ADAM_BYTES * trainable + activations + LIBRARIES
    tokens = _tokens(recipe, training, in_batch)
    processes = getattr(getattr(recipe, "launch", None), "num_processes", 1)
    speed = processes * GPU_SPEED if gpu else CPU_SPEED * (os.cpu_count() or 1)
    work = (4 if adapter else 6) * shape.parameters
    return Cost(memory * (1 if gpu else processes), None if tokens is None else work * tokens / speed)


def _length(recipe: StageRecipe) -> int:
    found = (getattr(section, "max_length", None) for section in (getattr(recipe, "data", None), recipe))
    return next((int(value) for value in found if value), 512)


def _tokens(recipe: StageRecipe, training: Training, in_batch: int) -> float | None:
    """Return how many tokens would be trained on: from the number of steps, else from the size of the data."""
    if training.max_steps > 0:
        return float(training.max_steps * in_batch * training.gradient_accumulation_steps)
    named = getattr(getattr(recipe, "data", None), "train_file", None)
    file = provenance.local(named) if named else None
    return None if file is None else training.num_train_epochs * size_of(file) / BYTES_PER_TOKEN


def size_of(place: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def has_gpu() -> bool:
    """Return whether there is an NVIDIA GPU, without importing torch."""
    return Path("/dev/nvidia0").exists() and os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1")


def report(found: list[Examined]) -> None:
    """Print `ok` and a table with a line for each step."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("step", "stage", "reads", "parameters", "memory", "time"):
        table.add_column(title, justify="left" if title in ("step", "stage", "reads") else "right", overflow="fold")
    made_from: dict[str, str] = {}
    for examined in found:
        recipe = examined.recipe
        assert recipe is not None
        base = next((value for _, value in walk(recipe) if isinstance(value, ModelRef)), None)
        shape = shape_of(base, made_from) if base else None
        if base:
            made_from[recipe.output_dir] = base
        estimated = cost(recipe, shape) if base else Cost(None, None)
        table.add_row(
            Path(examined.path).stem,
            recipe.stage,
            _reads(recipe),
            _short(shape.parameters) if shape else "",
            f"~{estimated.memory / 1e9:.1f} GB" if estimated.memory else "",
            f"~{duration(estimated.seconds)}" if estimated.seconds else "?" if hasattr(recipe, "training") else "",
        )
    console = Console(highlight=False)
    console.print("[green]ok[/]")
    console.print(table)
    where = "a GPU at 100 TFLOP/s" if has_gpu() else f"{os.cpu_count()} cores at {CPU_SPEED / 1e9:.0f} GFLOP/s each"
    console.print(f"[dim]estimates of training alone: {BYTES_PER_TOKEN} bytes of text a token, {where}[/]")
    console.print("[dim]to come: made by an earlier step, or on the hub; ?: not to be told before its data is there[/]")


def _reads(recipe: StageRecipe) -> str:
    inputs = provenance.inputs_of(recipe)
    there = [place for item in inputs if (place := provenance.local(item.path))]
    later = len(inputs) - len(there)
    size = sum(size_of(place) for place in set(there))
    parts = [f"{len(there)} found ({_bytes(size)})"] if there else []
    return ", ".join(parts + ([f"{later} to come"] if later else [])) or "nothing"


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _short(number: float) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return str(int(number))


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{max(1.0, seconds):.0f} s"
