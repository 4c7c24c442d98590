"""Sections that say which weights are trained: the model, and the adapter on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recipes.section_types import ModelRef, Section


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
