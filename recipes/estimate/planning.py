"""What a recipe's sections come to as a `Setting` of the memory formulas, and how much memory a device has free."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import Any

from recipes import launching
from recipes.estimate.memory import Setting, lora_parameters, needed
from recipes.estimate.shapes import Shape
from recipes.sections import Launch, StageRecipe, Training

# Stages whose batch of N rows is 2 N sequences: a preferred answer and a rejected one.
PAIRS = ("dpo", "reward")
USABLE = 0.92  # of what is free: fragments and peaks of the libraries take the rest


def setting_of(recipe: StageRecipe, shape: Shape) -> Setting | None:
    """Return what of a training recipe decides about memory; None for recipes that do not train."""
    training, launch = getattr(recipe, "training", None), getattr(recipe, "launch", None)
    if not isinstance(training, Training):
        return None
    launch = launch if isinstance(launch, Launch) else Launch()
    model, adapter = getattr(recipe, "model", None), getattr(recipe, "adapter", None)
    on_gpu = bool(launching.gpus())
    dtype = getattr(model, "dtype", "auto")
    width = 4 if dtype == "float32" or (dtype == "auto" and not on_gpu) else 2
    setting = Setting(
        tokens=micro_batch(recipe, training) * length_of(recipe),
        trained=trained_parameters(shape, model, adapter),
        width=width,
        trained_width=4 if adapter else width,
        quantization=getattr(model, "quantization", None),
        rank=adapter.r if adapter and adapter.peft_type == "lora" else 0,
        adapter=adapter is not None,
        optim=training.optim,
        accumulation=training.gradient_accumulation_steps,
        checkpointing=training.gradient_checkpointing is True,
        offloading=training.activation_offloading,
        processes=launch.num_processes,
        shards=launching.read(launch.config).shards if launch.config else frozenset(),
        on_gpu=on_gpu,
    )
    if training.gradient_checkpointing == "auto" and (free := free_memory(launch)):
        return replace(setting, checkpointing=needed(shape, setting).peak > free)
    return setting


def micro_batch(recipe: StageRecipe, training: Training) -> int:
    """Return how many sequences a micro-batch has."""
    return training.per_device_train_batch_size * (2 if recipe.stage in PAIRS else 1)


def length_of(recipe: StageRecipe) -> int:
    """Return the tokens that a row has at most."""
    found = (getattr(section, "max_length", None) for section in (getattr(recipe, "data", None), recipe))
    return next((int(value) for value in found if value), 512)


def trained_parameters(shape: Shape, model: Any, adapter: Any) -> int:
    """Return how many numbers are trained: all, those of an adapter, or what freezing leaves."""
    if adapter is not None:
        if adapter.peft_type == "lora":
            return lora_parameters(shape, adapter.r)
        if adapter.peft_type == "ia3":
            return shape.layers * (2 * shape.keys + shape.intermediate)
        return int(adapter.num_virtual_tokens) * shape.hidden
    freeze = getattr(model, "freeze", None)
    if freeze is None:
        return shape.parameters
    a_layer = (shape.parameters - shape.embeddings) / max(1, shape.layers)
    frozen = a_layer * len([number for number in freeze.layer_numbers() if number < shape.layers])
    return int(shape.parameters - frozen - (shape.embeddings if freeze.embeddings else 0))


def free_memory(launch: Launch) -> float:
    """Return the bytes that each process may use on its device here; 0 where that cannot be told."""
    if launching.gpus():
        return USABLE * _free_on_gpu()
    from recipes.doctor import memory

    return USABLE * memory()[1] / (launch.num_processes // launch.num_machines)


def _free_on_gpu() -> float:
    """Return the free bytes of the fullest GPU, as the driver's own tool tells."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return 0.0
    question = [tool, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(question, capture_output=True, text=True, timeout=10, check=True).stdout
        return min(float(line) for line in said.split("\n") if line.strip()) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0.0
