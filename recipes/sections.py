"""The sections that recipes share, and the types of their values, in one place to import from.

Nothing here imports torch or transformers: a refused recipe must answer in a fraction of a second.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field

from recipes.model_sections import Adapter, Freeze, Lora, Model
from recipes.section_types import (
    NAMED,
    DatasetRef,
    Fault,
    InputPath,
    Key,
    ModelRef,
    Section,
    SourcePath,
    StageRecipe,
    shipped,
    walk,
)
from recipes.training_section import Training

__all__ = [
    "NAMED",
    "Adapter",
    "DatasetRef",
    "Fault",
    "Freeze",
    "Generation",
    "InputPath",
    "Key",
    "Launch",
    "Lora",
    "Model",
    "ModelRef",
    "Section",
    "SourcePath",
    "StageRecipe",
    "Training",
    "shipped",
    "walk",
]


class Launch(Section):
    """How many processes work on a stage (`accelerate launch`)."""

    num_processes: int = Field(1, ge=1)


class Generation(Section):
    """How answers are sampled; the names are those of transformers' `GenerationConfig`."""

    max_new_tokens: int = Field(64, ge=1)
    do_sample: bool = True
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0, description="0: no limit.")

    def greedy(self) -> Self:
        """Return these settings without sampling."""
        return self.model_copy(update={"do_sample": False})
