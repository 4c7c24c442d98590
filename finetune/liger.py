"""Liger's Triton kernels for norms, rotary embeddings and gated MLPs, on CUDA, where `liger-kernel` is installed.

(Hsu et al. 2024, https://arxiv.org/abs/2410.10989.) transformers' Trainer puts them into a model when its arguments say
so; this says when they should, and which: those that compute what the architecture computes, but in one kernel. Its
cross-entropy kernels are left out: output_head.py has the loss. On CPUs Triton has no kernels and nothing is changed.
A recipe turns them off with `training.use_liger_kernel: false`.

Unlike all else here this has not run on a GPU yet.
"""

from __future__ import annotations

from typing import Any

# Decoders whose patches replace norm, rotary embedding and gated MLP by the same mathematics, and nothing besides.
FAMILIES = ("gemma", "gemma3_text", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3")
KERNELS = {
    "rope": True,
    "rms_norm": True,
    "swiglu": True,
    "geglu": True,
    "cross_entropy": False,
    "fused_linear_cross_entropy": False,
}


def arguments(model: Any, device_type: str) -> dict[str, Any]:
    """Return what transformers' TrainingArguments need to train a model with Liger's kernels; nothing if it cannot."""
    from finetune.attention import base_of

    if device_type != "cuda" or base_of(model).config.model_type not in FAMILIES or not installed():
        return {}
    return {"use_liger_kernel": True, "liger_kernel_config": dict(KERNELS)}


def installed() -> bool:
    """Return whether the package is there, in a version that transformers takes."""
    from transformers.utils import is_liger_kernel_available

    return bool(is_liger_kernel_available())
