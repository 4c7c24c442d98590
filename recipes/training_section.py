"""The section that says how weights are trained; its names are those of transformers' `TrainingArguments`."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from recipes.section_types import Section
from recipes.training_arguments import DECIDED, FIELDS


def _extra_name(name: str) -> str:
    """Refuse a name under `training.extra` that is none of transformers', or that has a place of its own."""
    decided = dict(DECIDED) | {own: f"write `{own}` directly under `training:`" for own in Training.model_fields}
    if name in decided:
        raise PydanticCustomError("mistake", "`{name}` cannot be set here", {"name": name, "write": decided[name]})
    if name not in FIELDS:
        guess = difflib.get_close_matches(name, [*FIELDS, *decided], n=1)
        write = f"did you mean `{guess[0]}`?" if guess else "write a name that transformers documents"
        what = "transformers' TrainingArguments has no argument `{name}`"
        raise PydanticCustomError("mistake", what, {"name": name, "write": write})
    return name


ExtraName = Annotated[str, AfterValidator(_extra_name)]


# Without these transformers' schedules end in an error once the model is loaded.
NEEDED = {"warmup_stable_decay": {"num_decay_steps"}, "cosine_with_min_lr": {"min_lr", "min_lr_rate"}}


class Training(Section):
    """Optimisation; the names are those of transformers' `TrainingArguments`."""

    learning_rate: float = Field(gt=0, le=1)
    num_train_epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, ge=-1, description="Number of optimiser steps; -1: as many as num_train_epochs gives.")
    per_device_train_batch_size: int = Field(8, ge=1)
    per_device_eval_batch_size: int = Field(16, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "cosine_with_min_lr", "warmup_stable_decay"
    ] = "cosine"
    warmup_ratio: float = Field(0.05, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    adam_beta2: float = Field(0.99, gt=0, lt=1)
    optim: str = "adamw_torch_fused"
    gradient_checkpointing: bool = False
    logging_steps: int = Field(10, ge=1)
    eval_steps: int = Field(0, ge=0, description="Validate each N optimiser steps; 0: only at the end.")
    save_steps: int = Field(
        0, ge=0, description="Checkpoint each N optimiser steps, to resume from; 0: about ten a run."
    )
    save_total_limit: int = Field(2, ge=1)
    extra: dict[ExtraName, Any] = Field(
        default_factory=dict, description="Further arguments of transformers' TrainingArguments, checked by name."
    )

    @model_validator(mode="after")
    def _schedule_has_its_arguments(self) -> Self:
        given = self.extra.get("lr_scheduler_kwargs") or {}
        for name, wanted in NEEDED.items():
            if self.lr_scheduler_type == name and not wanted & set(given):
                one = sorted(wanted)[0]
                raise ValueError(f"{name} needs an argument: write extra: {{lr_scheduler_kwargs: {{{one}: ...}}}}")
        return self
