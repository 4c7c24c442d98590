"""Noise on the embeddings in training (NEFTune, Jain et al. 2023, https://arxiv.org/abs/2310.05914).

Uniform in [-1, 1] times alpha / sqrt(L d), where L is the length of the document and d the width of the embeddings.
transformers' own hook takes L from the shape of the batch, which is the padded width, or, where documents stand one
behind the other in one row, the length of them all together: noise a good deal weaker than meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextmanager
def on_embeddings(model: Any, alpha: float | None, batch: dict[str, Any]) -> Iterator[None]:
    """Put noise on the input embeddings for a forward pass in training; without `alpha` do nothing."""
    if not alpha or not model.training:
        yield
        return
    lengths = document_lengths(batch)

    def add(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        scale = alpha / (lengths * output.shape[-1]).sqrt()
        return output + (output.new_empty(output.shape).uniform_(-1, 1) * scale[..., None].to(output.dtype))

    hook = model.get_input_embeddings().register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def document_lengths(batch: dict[str, Any]) -> torch.Tensor:
    """Return for each position of `input_ids` (B, T) how long its document is: (B, T), or (B, 1) where rows are one."""
    import torch

    ids = batch["input_ids"]
    if "cu_seq_lens_q" in batch:
        ends = batch["cu_seq_lens_q"]
        own = ends.diff()
        return torch.repeat_interleave(own, own, output_size=ids.shape[1])[None].float()
    if "attention_mask" in batch:
        return batch["attention_mask"].sum(1, keepdim=True).float().clamp(min=1)
    return torch.full((ids.shape[0], 1), float(ids.shape[1]), device=ids.device)
