"""What is set before any heavy library is imported: no telemetry, no needless network, no noise.

Values that the user has set in the environment are left as they are.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable

from recipes import provenance
from recipes.sections import DatasetRef, ModelRef, StageRecipe, walk

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
    """Set the environment for these stages; the hub is switched off when all they name lies on this disk."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if not from_hub(list(recipes)):
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    quiet()


def quiet() -> None:
    """Hide the libraries' warnings about their own future, and bitsandbytes' about kernels that only it misses."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def from_hub(recipes: list[StageRecipe]) -> list[str]:
    """Return the models and data sets that are neither a folder nor the result of one of these recipes."""
    made = {os.path.abspath(recipe.output_dir) for recipe in recipes}
    return [
        value
        for recipe in recipes
        for _, value in walk(recipe)
        if isinstance(value, ModelRef | DatasetRef)
        and not provenance.local(value)
        and os.path.abspath(value) not in made
    ]
