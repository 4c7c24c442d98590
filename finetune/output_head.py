"""The loss of a language model's output layer, without the logits of the whole vocabulary at once.

Only places whose next token counts go through the layer, a chunk of them at a time, so that few logits exist at once.
The loss is a sum, whose gradient is known up to a factor when it is computed: softmax minus one-hot. So each chunk's
gradient is taken at once, in the memory of its logits, and nothing is computed a second time (the idea of Liger
Kernel's fused linear cross-entropy, Hsu et al. 2024, https://arxiv.org/abs/2410.10989, without its Triton kernel).

It all happens inside the layer's own forward pass, called by the model itself: data parallelism, FSDP and ZeRO see the
module that they know. Leaves out: output layers that are adapters or have a bias, and models that change their logits
afterwards (Gemma 2's soft-capping, Cohere's scale); losses.py takes their logits as they are.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

CHUNK = 2**22  # logits at once: 16 MiB in float32; larger chunks gain nothing on CPUs
# A GPU reads the whole output weight for each chunk: some 500 rows of 128,000 words keep its units busy (256 MiB;
# reckoned from an H100's FLOPs for each byte it reads, not measured).
CHUNK_ON_GPU = 2**26


class SummedLoss(torch.autograd.Function):
    """Summed cross-entropy of hidden states (N, E) against targets (N,) under an output weight (V, E).

    Returns the loss and how many targets were the most likely token; only the loss has a gradient.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, differentiate: bool
    ) -> tuple[Tensor, Tensor]:
        """Go through the places chunk by chunk; keep their gradients if there will be a backward pass."""
        rows = max(1, (CHUNK_ON_GPU if hidden.is_cuda else CHUNK) // weight.shape[0])
        loss = hidden.new_zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32))
        of_hidden = torch.empty_like(hidden) if differentiate and ctx.needs_input_grad[0] else None
        # Added up chunk by chunk: bfloat16 would round each sum.
        of_weight = torch.zeros_like(weight, dtype=loss.dtype) if differentiate and ctx.needs_input_grad[1] else None
        right = torch.zeros((), dtype=torch.long, device=hidden.device)
        for start in range(0, len(targets), rows):
            part, wanted = hidden[start : start + rows], targets[start : start + rows, None]
            logits = (part @ weight.T).to(loss.dtype)
            if not differentiate:  # validation asks for the first choice, training does not
                right += (logits.argmax(1, keepdim=True) == wanted).sum()
            normalizer = logits.logsumexp(1, keepdim=True)
            loss += (normalizer - logits.gather(1, wanted)).sum()
            if of_hidden is None and of_weight is None:
                continue
            logits.sub_(normalizer).exp_()
            logits.scatter_add_(1, wanted, logits.new_full((1, 1), -1.0).expand_as(wanted))
            slope = logits.to(hidden.dtype)
            if of_hidden is not None:
                torch.mm(slope, weight, out=of_hidden[start : start + rows])
            if of_weight is not None:
                if of_weight.dtype == slope.dtype:
                    of_weight.addmm_(slope.T, part)
                else:
                    of_weight += slope.T @ part
        ctx.gradients = of_hidden, None if of_weight is None else of_weight.to(weight.dtype)
        ctx.mark_non_differentiable(right)
        return loss, right

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Scale the gradients that the forward pass has kept."""
        of_hidden, of_weight = ctx.gradients
        ctx.gradients = None, None
        return (
            None if of_hidden is None else of_hidden.mul_(upstream),
            None if of_weight is None else of_weight.mul_(upstream),
            None,
            None,
        )


@contextmanager
def summing(head: torch.nn.Linear, index: Tensor, targets: Tensor) -> Iterator[list[Tensor]]:
    """Let an output layer return the summed loss at places `index` (N,) of hidden states (B, T, E) in place of logits.

    The list that is yielded holds, afterwards, how many targets were the most likely token.
    """
    right: list[Tensor] = []

    def forward(hidden: Tensor) -> Tensor:
        places = hidden.flatten(0, -2).index_select(0, index)
        if torch.is_autocast_enabled(hidden.device.type):
            places = places.to(torch.get_autocast_dtype(hidden.device.type))
        weight = head.weight.to(places.dtype)
        loss, count = SummedLoss.apply(places, weight, targets, torch.is_grad_enabled())
        right.append(count)
        return loss

    head.forward = forward
    try:
        yield right
    finally:
        del head.forward


def plain_head(base: Any) -> torch.nn.Linear | None:
    """Return a model's output layer if what it returns are the logits, and it is an ordinary linear layer."""
    head = base.get_output_embeddings()
    return head if type(head) is torch.nn.Linear and head.bias is None and _logits_stay(base.__class__) else None


@cache
def _logits_stay(architecture: Any) -> bool:
    """Return whether a model's forward pass takes the output layer's result as logits and changes them no more."""
    try:
        source = inspect.getsource(inspect.unwrap(architecture.forward))
    except (OSError, TypeError):
        return False
    changed = re.findall(r"^\s*logits [-+*/]?= |\blogits\.\w+_\(", source, re.MULTILINE)
    return (
        len(changed) == 1
        and re.search(r"logits = self\.(lm_head|embed_out)\([^\n]*\)$", source, re.MULTILINE) is not None
    )
