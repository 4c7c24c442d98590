"""The heavy libraries imported before a stage begins, without what the stage will not use.

Importing transformers' Trainer and peft takes some 3.6 CPU seconds. A good part of that goes to Python's garbage
collector, which looks through a growing heap again and again and finds nothing (0.6 s), to bitsandbytes, which peft
imports for every run (0.5 s), to `datasets`, whose rows Trainer would know (0.3 s), and to scipy, which losses for
object detection want (0.2 s). For a process that runs one stage and then ends:

- the collector rests while modules load, and never again looks at what they have left (`gc.freeze`);
- `datasets` and scipy cannot be found while transformers loads, and can afterwards;
- bitsandbytes cannot be found at all, unless the recipe or the model it names might want it.

Where torch is in memory already (a step of a pipeline, a test) nothing is done.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from finetune import families
from recipes.sections import ModelRef, StageRecipe, shipped, walk

LIBRARIES = ("torch", "transformers.trainer", "transformers.models.auto.modeling_auto", "peft")
ONLY_WHILE_LOADING = ("datasets", "scipy")
BITSANDBYTES = "bitsandbytes"
PLAIN = frozenset({"adamw_torch", "adamw_torch_fused", "sgd", "adafactor"})  # optimisers that are not bitsandbytes'


def prepare(recipe: StageRecipe) -> None:
    """Import what training stages need, as far as nothing of it is there yet."""
    if "torch" in sys.modules:
        return
    if not wants_bitsandbytes(recipe):
        hide([BITSANDBYTES])
    hidden = hide(ONLY_WHILE_LOADING)
    with collector_at_rest():
        for name in LIBRARIES:
            importlib.import_module(name)
    for name in hidden:
        del sys.modules[name]


def hide(names: Iterable[str]) -> list[str]:
    """Let modules that are not loaded look as if they were not installed; return which ones that concerns."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    return hidden


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Keep the garbage collector from looking for rubbish while modules load, and from looking at them later."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def wants_bitsandbytes(recipe: StageRecipe) -> bool:
    """Return whether a recipe might need bitsandbytes: all that is not plainly without it does."""
    model, training = getattr(recipe, "model", None), getattr(recipe, "training", None)
    if model is None or training is None:
        return True
    if getattr(model, "quantization", None) or getattr(training, "optim", "adamw_torch") not in PLAIN:
        return True
    if getattr(getattr(recipe, "adapter", None), "init_lora_weights", None) == "loftq":
        return True
    return any(_may_be_quantised(value) for _, value in walk(recipe) if isinstance(value, ModelRef))


def _may_be_quantised(ref: Any) -> bool:
    """Return whether a model's weights lie quantised on disk, or are not there to be looked at."""
    config = families.config_of(str(ref)) if shipped(str(ref)).is_dir() else None
    return config is None or "quantization_config" in config
