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
NEEDED = {"cosine_with_min_lr": {"min_lr", "min_lr_rate"}}
# What they take besides, under extra.lr_scheduler_kwargs.
TAKEN = {
    "cosine": {"num_cycles"},
    "cosine_with_min_lr": {"min_lr", "min_lr_rate", "num_cycles"},
    "warmup_stable_decay": {"num_decay_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles"},
}
Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


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
    decay_ratio: float = Field(0.1, gt=0, le=1, description="warmup_stable_decay: the share of all steps that decays.")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    adam_beta2: float = Field(0.99, gt=0, lt=1)
    optim: str = "adamw_torch_fused"
    gradient_checkpointing: bool | Literal["auto"] = Field(
        "auto", description="Compute activations anew in the backward pass; auto: only where memory would not do."
    )
    activation_offloading: bool = Field(False, description="Keep activations in main memory until the backward pass.")
    auto_find_batch_size: bool = Field(
        False,
        description="Out of memory: go on with half the micro-batch and twice the accumulation, the same batch in all.",
    )
    neftune_noise_alpha: float | None = Field(
        None, gt=0, description="Noise on the embeddings in training (NEFTune, https://arxiv.org/abs/2310.05914)."
    )
    use_liger_kernel: bool | None = Field(None, description="Absent: on GPUs, where the package is installed.")
    logging_steps: int = Field(10, ge=1)
    eval_steps: int = Field(0, ge=0, description="Validate each N optimiser steps; 0: only at the end.")
    save_steps: int = Field(
        0, ge=0, description="Checkpoint each N optimiser steps, to resume from; 0: about ten a run."
    )
    save_total_limit: int = Field(
        2, ge=1, description="Checkpoints kept to go on from; with load_best_model_at_end the best one besides."
    )
    metric_for_best_model: str = Field("loss", description="The eval_... entry of log.jsonl that decides what is best.")
    greater_is_better: bool | None = Field(None, description="Absent: as the metric is known.")
    load_best_model_at_end: bool = Field(False, description="The result is the best checkpoint, not the last.")
    early_stopping_patience: int = Field(
        0, ge=0, description="Stop after N validations without a better one; 0: never."
    )
    early_stopping_threshold: float = Field(0.0, ge=0, description="Smaller gains do not count as better.")
    report_to: list[Tracker] = Field(["tensorboard"], description="Where the history goes besides log.jsonl.")
    extra: dict[ExtraName, Any] = Field(
        default_factory=dict, description="Further arguments of transformers' TrainingArguments, checked by name."
    )

    @model_validator(mode="after")
    def _schedule_has_its_arguments(self) -> Self:
        given, name = self.extra.get("lr_scheduler_kwargs") or {}, self.lr_scheduler_type
        for needy, wanted in NEEDED.items():
            if name == needy and not wanted & set(given):
                one = sorted(wanted)[0]
                raise ValueError(f"{needy} needs an argument: write extra: {{lr_scheduler_kwargs: {{{one}: ...}}}}")
        if name == "constant" and "warmup_ratio" in self.model_fields_set and self.warmup_ratio:
            raise ValueError("constant has no warm-up: write constant_with_warmup, or leave warmup_ratio out")
        if name != "warmup_stable_decay":
            if "decay_ratio" in self.model_fields_set:
                raise ValueError(f"{name} has no decay_ratio: write warmup_stable_decay, or leave it out")
        elif self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError("warmup_ratio and decay_ratio are more than all steps: write smaller ones")
        return self

    @model_validator(mode="after")
    def _schedule_takes_them(self) -> Self:
        given, taken = self.extra.get("lr_scheduler_kwargs") or {}, TAKEN.get(self.lr_scheduler_type, set())
        if not isinstance(given, dict) or set(given) - taken:
            strange = ", ".join(map(str, set(given) - taken))
            write = f"write {', '.join(sorted(taken))}, or leave it out" if taken else "leave it out"
            name = self.lr_scheduler_type
            raise ValueError(f"extra.lr_scheduler_kwargs has {strange}, which {name} does not take: {write}")
        return self

    @model_validator(mode="after")
    def _order_is_known(self) -> Self:
        if self.extra.get("train_sampling_strategy", "random") not in ("random", "sequential", "group_by_length"):
            raise ValueError("extra.train_sampling_strategy: write random, sequential or group_by_length")
        return self

    @model_validator(mode="after")
    def _selection_has_validations(self) -> Self:
        if self.early_stopping_patience and not self.eval_steps:
            raise ValueError("early_stopping_patience needs validations: write eval_steps")
        if self.early_stopping_threshold and not self.early_stopping_patience:
            raise ValueError("early_stopping_threshold decides when to stop: write early_stopping_patience")
        if self.load_best_model_at_end and not self.eval_steps:
            raise ValueError("load_best_model_at_end needs validations to choose from: write eval_steps")
        return self
