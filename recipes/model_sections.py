"""Sections that say which weights are trained: the model, what of it is frozen, and the adapter on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from recipes.adapter_section import Adapter, Lora
from recipes.section_types import InputPath, ModelRef, Section

__all__ = ["Adapter", "Freeze", "Lora", "Model"]

TEMPLATES = Path(__file__).parents[1] / "finetune" / "templates"
RANGES = re.compile(r"\s*\d+(\s*-\s*\d+)?(\s*,\s*\d+(\s*-\s*\d+)?)*\s*")


def _pattern(text: str) -> str:
    """Refuse a text that is no regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        what = f"{text!r} is no regular expression ({error})"
        raise PydanticCustomError("mistake", "{what}", {"what": what, "write": "correct the pattern"}) from None
    return text


def _ranges(value: str | list[int]) -> str | list[int]:
    """Refuse layers that are neither numbers nor ranges of them."""
    if isinstance(value, str) and not RANGES.fullmatch(value):
        write = 'write "0-5", "0-3, 8" or a list of numbers'
        raise PydanticCustomError("mistake", "{what}", {"what": f"{value!r} names no layers", "write": write})
    return value


def _template(value: str | None) -> str | None:
    """Return a template file as a path, whose content counts as an input; refuse a name that none of ours has."""
    if value is None:
        return None
    if value.endswith(".jinja") or "/" in value:
        return InputPath(value)
    names = sorted(file.stem for file in TEMPLATES.glob("*.jinja"))
    if value not in names:
        from recipes.finding import nearest  # which needs sections itself

        guess = nearest(value, names)
        write = f"did you mean {guess}? Or" if guess else "write"
        what = {
            "what": f"no chat template is called {value!r}",
            "write": f"{write} one of {', '.join(names)}, or a file.jinja",
        }
        raise PydanticCustomError("mistake", "{what}", what)
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]


class Freeze(Section):
    """Weights of the base that stay as they are in full fine-tuning; the rest is trained."""

    layers: Annotated[str | list[int], AfterValidator(_ranges)] = Field(
        default_factory=list, description='Layers counted from 0: "0-5", or a list.'
    )
    modules: list[Pattern] = Field(default_factory=list, description="Regular expressions, found in parameter names.")
    embeddings: bool = Field(False, description="The input embeddings (and the output's, where tied).")
    unfreeze: list[Pattern] = Field(
        default_factory=list, description="Regular expressions of names that are trained nevertheless."
    )

    def layer_numbers(self) -> set[int]:
        """Return the numbers of the frozen layers."""
        if not isinstance(self.layers, str):
            return set(self.layers)
        ends = [[int(end) for end in part.split("-")] for part in self.layers.split(",")]
        return {number for first_last in ends for number in range(first_last[0], first_last[-1] + 1)}


class Model(Section):
    """Which weights to start from, and how they are held in memory."""

    model_name_or_path: ModelRef = Field(description="A local folder, a finished stage's folder, or a Hugging Face id.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="auto: bfloat16 on GPUs, float32 on CPUs; under LoRA bfloat16 also on CPUs that multiply in it. "
        "Adapters are always float32.",
    )
    attn_implementation: str = Field("sdpa", description="transformers' own names: sdpa, eager, flash_attention_2, ...")
    trust_remote_code: bool = False
    chat_template: Annotated[str | None, AfterValidator(_template)] = Field(
        None, description="A shipped template's name, or a file.jinja; without it the tokenizer's own is kept."
    )
    quantization: Literal["nf4", "fp4", "int8"] | None = Field(
        None, description="Hold the frozen base in 4 or 8 bits (QLoRA, https://arxiv.org/abs/2305.14314)."
    )
    bnb_4bit_use_double_quant: bool = Field(
        True, description="Quantise the quantisation's constants too (4 bits only)."
    )
    freeze: Freeze | None = Field(None, description="Train only the rest. Without an adapter.")
