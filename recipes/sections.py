"""The sections that recipes share, and the types of their values.

A stage's recipe is a pydantic model made of these sections. Keys are Hugging Face's own names wherever one exists.
Values that name something on disk have types of their own (`InputPath`, `ModelRef`), so that existence checks, content
hashes and lineage need no list to be kept by hand: whatever a recipe reads is found by walking its values.

Nothing here imports torch or transformers: a refused recipe must answer in a fraction of a second.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from recipes.training_arguments import DECIDED, FIELDS

Key = tuple[str | int, ...]


class InputPath(str):
    """A file or folder that the stage reads; relative to the working folder."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


class SourcePath(InputPath):
    """A file or folder that the stage reads, or a URL that fsspec has a protocol for (recipes/remote.py)."""


class ModelRef(str):
    """A local model folder, a finished stage's folder, or a Hugging Face id such as `org/name`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


class DatasetRef(str):
    """A local folder with a data set, or a data set's name on the Hugging Face hub such as `org/name`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema(min_length=1))


NAMED = (InputPath, SourcePath, ModelRef, DatasetRef)  # all types of values that name what a stage reads


@dataclass(frozen=True)
class Fault:
    """One mistake in a recipe: `key` says where, `what` is wrong with which value, `write` what to write instead."""

    key: Key
    what: str
    write: str


class Section(BaseModel):
    """A part of a recipe; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False)


class StageRecipe(Section):
    """What every recipe has; a stage adds its own sections."""

    stage: str
    output_dir: str = Field(min_length=1, description="The folder that the stage writes, whole or not at all.")
    seed: int = Field(42, ge=0, le=2**32 - 1)

    # Keys that change how a run looks or where it runs, never what comes out: they are left out of the fingerprint.
    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"})

    def faults(self) -> list[Fault]:
        """Return mistakes that no single value shows (pairs of values that exclude each other, wrong columns, ...).

        Called only when every value on its own is right. Must not import torch and must not read whole data sets:
        the first rows of a file are enough. Files may not exist yet when an earlier pipeline step makes them.
        """
        return []


def walk(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every leaf of a recipe with its key path."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from walk(getattr(value, name), (*key, name))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from walk(item, (*key, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from walk(item, (*key, index))
    else:
        yield key, value


def shipped(path: str) -> Path:
    """Return where `path` lies: in the working folder or, for `recipes/...`, in the installed package."""
    here = Path(path)
    if not here.exists() and here.parts[:1] == ("recipes",):
        inside = Path(__file__).parent.joinpath(*here.parts[1:])
        if inside.exists():
            return inside
    return here


class Model(Section):
    """Which weights to start from."""

    model_name_or_path: ModelRef = Field(description="A local folder, a finished stage's folder, or a Hugging Face id.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="auto: float32 on CPUs, bfloat16 on GPUs that have it."
    )
    attn_implementation: str = Field("sdpa", description="transformers' own names: sdpa, eager, flash_attention_2, ...")
    trust_remote_code: bool = False


class Lora(Section):
    """A LoRA adapter (Hu et al. 2021, https://arxiv.org/abs/2106.09685). Absent: all weights are trained."""

    r: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = "all-linear"
    use_rslora: bool = False


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
