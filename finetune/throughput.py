"""How many operations a token takes in training, what a GPU can do, and the share of it that is used (MFU).

Counted as the hardware has to do them (Narayanan et al. 2021, https://arxiv.org/abs/2104.04473, without recomputation):
- a matrix of N numbers takes 2 N in the forward pass, 2 N for the gradient of its input, 2 N for its own; a frozen one
  has no gradient of its own, and where nothing below it is trained (the first layers of a partly frozen model), no
  gradient of its input either. LoRA therefore takes 4 N, not the 6 N that are often counted;
- attention over documents of S tokens takes 4 S/2 x heads x head dimension in each causal layer (4 S where every token
  sees every other one), and 2.5 times as much in the backward pass, as FlashAttention does it;
- looking up embeddings is free. A token's experts count as many times as it visits experts.
What is computed twice to save memory (gradient checkpointing) is no useful work and does not count.

Left out: norms, activations and rotations (memory-bound); encoder-decoder models are counted as if every token went
through both halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

BACKWARD_OF_ATTENTION = 2.5
# Dense bfloat16 operations a second as the makers state them; the first name that is in the device's counts.
PEAK_FLOPS = (
    ("GB200", 2500e12), ("B200", 2250e12), ("H200 NVL", 835e12), ("H200", 989e12), ("GH200", 989e12),
    ("H100 NVL", 835e12), ("H100 PCIe", 756e12), ("H100", 989e12), ("H800", 989e12), ("A100", 312e12),
    ("A800", 312e12), ("L40S", 362e12), ("L40", 181e12), ("L4", 121e12), ("A40", 150e12), ("A30", 165e12),
    ("A10G", 70e12), ("A10", 125e12), ("RTX 6000 Ada", 364e12), ("RTX A6000", 155e12), ("RTX 5090", 210e12),
    ("RTX 4090", 165e12), ("RTX 3090", 71e12), ("MI300X", 1307e12), ("MI250X", 383e12),
)  # fmt: skip


def flops_per_token(model: Any, mean_document_length: float, counted: float = 1.0) -> float:
    """Return the operations that one training step takes for each token.

    `mean_document_length` is the mean over tokens of the length of their document (sum of squares / sum of lengths):
    long documents hold more tokens, and each of theirs sees more. `counted` is the share of tokens that the loss
    counts, where the output layer is computed for these alone (output_head.py).
    """
    output = getattr(model, "get_output_embeddings", lambda: None)()
    head = next((name for name, module in model.named_modules() if module is output), None) if output else None
    parts = list(_matrices(model))
    first = next((at for at, (_, _, trained) in enumerate(parts) if trained), len(parts))
    total = 0.0
    for at, (name, size, trained) in enumerate(parts):
        share = counted if head is not None and name.startswith(head) else 1.0
        total += share * size * (6 if trained else 4 if at > first else 2)
    passes = 1 + BACKWARD_OF_ATTENTION if first < len(parts) else 1.0
    return total + passes * _attention(model, mean_document_length)


def _matrices(model: Any) -> Iterator[tuple[str, float, bool]]:
    """Yield each matrix that a token is multiplied with, in the order of the forward pass: name, size, trained or not.

    Of a layer with an adapter the adapter's matrices follow on the layer's own.
    """
    from torch import nn

    share = _share_of_experts(model.config)
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or ".original_module" in name:
            continue
        inner, outer = getattr(module, "in_features", None), getattr(module, "out_features", None)
        for key, weight in module.named_parameters(recurse=False):
            if weight.ndim == 3 and "expert" in name:  # (experts, in, out)
                yield f"{name}.{key}", weight.numel() * share, weight.requires_grad
            elif key == "weight" and isinstance(inner, int) and isinstance(outer, int):  # also packed in 4 bits
                part = share if "experts." in name else 1.0
                yield f"{name}.{key}", inner * outer * part, weight.requires_grad
            elif key == "weight" and weight.ndim == 2:
                yield f"{name}.{key}", weight.numel(), weight.requires_grad


def _share_of_experts(config: Any) -> float:
    """Return which part of all experts a token visits."""
    names = ("num_experts", "num_local_experts", "n_routed_experts")
    experts = next((value for name in names if (value := getattr(config, name, None))), None)
    visited = getattr(config, "num_experts_per_tok", None)
    return visited / experts if experts and visited else 1.0


def _attention(model: Any, length: float) -> float:
    """Return the operations of all layers' attention in the forward pass, for each token."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_attention_heads", 0) or 0
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // max(1, heads))
    layers = getattr(config, "num_hidden_layers", 0)
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * layers
    window = getattr(config, "sliding_window", None)
    seen = [_seen(length, window if kind == "sliding_attention" else None, _is_causal(model)) for kind in kinds]
    return 4 * width * sum(seen)


def _seen(length: float, window: int | None, causal: bool) -> float:
    """Return how many tokens a token of a document attends to, on average."""
    if not causal:
        return length
    if window is None or window >= length:
        return length / 2
    return window * (1 - window / (2 * length))


def _is_causal(model: Any) -> bool:
    """Return whether a token sees only those before it."""
    from torch import nn

    found = (getattr(module, "is_causal", None) for module in model.modules() if isinstance(module, nn.Module))
    return next((bool(value) for value in found if value is not None), False)


def peak_flops(device: Any) -> float | None:
    """Return how many dense bfloat16 operations a second a device can do, or None where that is not known."""
    import torch

    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    return peak_flops_of(torch.cuda.get_device_name(device))


def peak_flops_of(name: str) -> float | None:
    """Return the peak of the GPU with this name."""
    words = f" {name.replace('-', ' ')} "
    return next((peak for known, peak in PEAK_FLOPS if f" {known} " in words), None)


def mfu(tokens_per_second: float, flops: float, peak: float, devices: int = 1) -> float:
    """Return the share of the devices' peak that useful work takes (model FLOPs utilisation)."""
    return tokens_per_second * flops / (peak * devices)


def weighted_length(lengths: list[int]) -> float:
    """Return the mean over tokens of the length of their document."""
    return sum(length * length for length in lengths) / max(1, sum(lengths))
