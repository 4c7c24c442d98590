"""What is set before any heavy library is imported: no telemetry, no needless network, no noise.

Values that the user has set in the environment are left as they are.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

from recipes import provenance
from recipes.sections import ModelRef, StageRecipe, walk

SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_EVALUATE_OFFLINE": "1",  # evaluate else asks the hub even for local metrics
    "GRADIO_ANALYTICS_ENABLED": "False",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "BITSANDBYTES_NOWELCOME": "1",
}


def prepare(recipes: Iterable[StageRecipe]) -> None:
    """Set the environment for stages; the hub is switched off when all models lie on this disk."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if not any(needs_hub(recipe) for recipe in recipes):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    quiet()


def quiet() -> None:
    """Hide the libraries' warnings about their own future."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def needs_hub(recipe: StageRecipe) -> bool:
    """Return whether a recipe names a model that is neither a folder nor the promise of one."""
    return any(
        isinstance(value, ModelRef) and provenance.local(value) is None and not value.startswith("runs/")
        for _, value in walk(recipe)
    )
