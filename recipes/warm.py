"""Imported once by the fork server of a pipeline, so that each training step starts with its libraries in memory.

Importing transformers' Trainer, peft and their torch parts costs some four CPU seconds, a sixth of them for a garbage
collector that finds nothing. Nothing is computed here: a process that has run OpenMP threads must not be forked.
"""

import gc
import importlib

from recipes import surroundings

surroundings.quiet()
gc.disable()
for name in ("torch", "transformers", "transformers.trainer", "transformers.models.auto.modeling_auto", "peft"):
    importlib.import_module(name)
gc.freeze()  # no step looks at these objects again, nor copies the pages with the collector's marks on them
gc.enable()
