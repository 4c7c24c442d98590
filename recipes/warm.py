"""Imported once by the fork server of a pipeline, so that each training step starts with its libraries in memory.

Importing transformers' Trainer, peft and their torch parts costs some ten CPU seconds. Nothing is computed here: a
process that has run OpenMP threads must not be forked.
"""

import importlib

from recipes import surroundings

surroundings.quiet()
for name in ("torch", "transformers", "transformers.trainer", "transformers.models.auto.modeling_auto", "peft"):
    importlib.import_module(name)
