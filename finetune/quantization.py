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


# Heads of all tasks, and what stands between a trunk and its head; they keep their precision.
HEADS = (
    *("lm_head", "embed_out", "output_layer", "cls", "predictions", "lm_predictions", "generator_lm_head"),
    *("generator_predictions", "vocab_transform", "vocab_projector", "score", "classifier", "pre_classifier", "pooler"),
    *("classification_head", "qa_outputs"),
)


def settings(model: Model) -> Settings | None:
    """Return how a recipe wants its base quantised, or None."""
    return Settings(model.quantization, model.bnb_4bit_use_double_quant) if model.quantization else None


def config(wanted: Settings, dtype: torch.dtype) -> Any:
    """Return transformers' BitsAndBytesConfig; products are computed in `dtype`."""
    from transformers import BitsAndBytesConfig

    # transformers by itself leaves the last layer alone only if it has no bias, and forgets poolers: both may be new,
    # without weights that could be quantised, and trained.
    skipped = [rf"(?:.*\.)?(?:{'|'.join(HEADS)})"]
    if wanted.kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    return BitsAndBytesConfig(
        llm_int8_skip_modules=skipped,
        load_in_4bit=True,
        bnb_4bit_quant_type=wanted.kind,
        bnb_4bit_use_double_quant=wanted.double_quant,
        bnb_4bit_compute_dtype=dtype,
    )


def steady(model: Any) -> None:
    """Keep the weights as they were quantised, on CPUs too, and bitsandbytes quiet about what it multiplies in.

    On CPUs with bfloat16 units bitsandbytes repacks 4-bit weights at the first evaluation: an error for narrow layers,
    and for a model in training other last digits from its first validation on.
    """
    import logging

    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def loftq(model: Any, base: str) -> None:
    """Set each A and B to what 4-bit quantisation took from the base's weights, as far as the rank allows.

    Li et al. 2023, https://arxiv.org/abs/2310.08659, algorithm 1 with one round, and the best rank r for the residual:
    B A = svd_r(W - Q(W)) / scaling. The full base is read once more, on the CPU. (peft's own needs a GPU and leaves the
    scaling out, so that alpha = 2r starts with twice the residual.)
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from peft.utils.integrations import dequantize_module_weight

    inner = model.get_base_model()
    full = type(inner).from_pretrained(base, config=_plain(inner.config))
    with torch.no_grad():
        for name, layer in inner.named_modules():
            if not isinstance(layer, LoraLayer) or not hasattr(layer.get_base_layer().weight, "quant_state"):
                continue
            weight = full.get_submodule(name).weight
            held = dequantize_module_weight(layer.get_base_layer())
            left, sizes, right = torch.linalg.svd(weight.to(held.device).float() - held.float(), full_matrices=False)
            rank = layer.r["default"]
            root = (sizes[:rank] / layer.scaling["default"]).sqrt()
            layer.lora_B["default"].weight.copy_(left[:, :rank] * root)
            layer.lora_A["default"].weight.copy_(root[:, None] * right[:rank])


def _plain(settings: Any) -> Any:
    """Return a model's config without its quantisation."""
    import copy

    plain = copy.deepcopy(settings)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    return plain
