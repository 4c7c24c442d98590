"""A frozen base held in 4 or 8 bits by bitsandbytes, with an adapter trained on it.

QLoRA (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314; NF4 or FP4, constants quantised again) and LLM.int8()
(https://arxiv.org/abs/2208.07339). Linear layers are quantised, but not the output layer; embeddings and norms stay.
The base on disk is never changed, so the adapter that comes out loads on the full-precision base as well, and merging
goes into that one. Left out: GPTQ, AWQ and other formats that need calibration data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from recipes.sections import Model


@dataclass(frozen=True)
class Settings:
    """How a base is quantised: kind is nf4, fp4 or int8."""

    kind: str
    double_quant: bool = True


def settings(model: Model) -> Settings | None:
    """Return how a recipe wants its base quantised, or None."""
    return Settings(model.quantization, model.bnb_4bit_use_double_quant) if model.quantization else None


def config(wanted: Settings, dtype: torch.dtype) -> Any:
    """Return transformers' BitsAndBytesConfig; products are computed in `dtype`."""
    from transformers import BitsAndBytesConfig

    if wanted.kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=wanted.kind,
        bnb_4bit_use_double_quant=wanted.double_quant,
        bnb_4bit_compute_dtype=dtype,
    )
