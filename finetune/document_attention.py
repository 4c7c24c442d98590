"""Attention over documents that stand one behind the other in a row, without padding and without a dense mask.

A batch without padding is one row of T tokens; `cu_seq_lens_q` says where its documents begin and end (the names are
those that transformers' models hand through to flash-attn). Registered with transformers' `AttentionInterface`, one
function serves them with what a plain installation has:
- on CUDA, `torch.nn.attention.varlen` (FlashAttention-2 inside torch), in bf16 or fp16;
- elsewhere, or where that kernel cannot go (float32, head dimensions, dropout), one SDPA call per document;
- logit soft-capping (Gemma 2) and attention sinks (gpt-oss), which SDPA has not, written out per document.
Rows without documents (padded on the right, or a cache) get causal or full attention, as transformers gives it.
Where the recipe names flash-attn itself, transformers hands it the same documents, and nothing is changed here.

No mask function is registered on purpose: transformers then makes no mask, and does not look at position ids for
packed documents, which costs a host synchronisation in every step.

Which models: attention.py. Leaves out: learned position biases (T5), ALiBi, tree masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAME = "documents_apart"

# Shapes: B rows, T tokens of a row, L tokens of a document, H query heads, G heads per key head, D head dimension.


def register() -> None:
    """Make the function known to transformers as `attn_implementation=NAME`."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention of query (B, H, T, D) over key and value (B, H / G, T, D) as (B, T, H, D), and no weights.

    Raises:
        ValueError: what is asked for cannot be served exactly.
    """
    if position_bias is not None:
        raise ValueError("attention with a position bias cannot be served without padding")
    kind = _Kind(
        causal=getattr(module, "is_causal", True) if is_causal is None else is_causal,
        window=sliding_window,
        softcap=softcap,
        sinks=s_aux,
        dropout=dropout,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
    )
    if value.dtype != query.dtype:  # under autocast rotary embeddings leave query and key in float32
        query, key = query.to(value.dtype), key.to(value.dtype)
    if cu_seq_lens_q is None:
        return kind.rows(query, key, value, attention_mask).transpose(1, 2).contiguous(), None
    if attention_mask is not None or query.shape[0] != 1:
        raise ValueError("a batch without padding is one row and has no attention mask")
    if kind.fits_varlen(query, value, len(cu_seq_lens_q) - 1):
        return _varlen(kind, query, key, value, cu_seq_lens_q, max_length_q), None
    return _by_document(kind, query, key, value, lengths_of(cu_seq_lens_q)), None


class _Kind:
    """What sort of attention a layer asks for, and how to compute it for rows that are one document each."""

    def __init__(
        self,
        causal: bool,
        window: int | None,
        softcap: float | None,
        sinks: Tensor | None,
        dropout: float,
        scale: float,
    ) -> None:
        self.causal, self.window, self.softcap = causal, window, softcap
        self.sinks, self.dropout, self.scale = sinks, dropout, scale

    def fits_varlen(self, query: Tensor, value: Tensor, documents: int) -> bool:
        """Return whether torch's kernel serves this exactly."""
        import torch

        size = query.shape[-1]
        # The backward kernel indexes its float32 buffer with 32 bits.
        buffer = (query.shape[2] + 128 * documents) * query.shape[1] * (-(-size // 32) * 32)
        return (
            query.is_cuda
            and query.dtype in (torch.bfloat16, torch.float16)
            and size % 8 == 0
            and size <= 256
            and value.shape[-1] == size
            and not self.dropout
            and self.softcap is None
            and self.sinks is None
            and buffer < 2**31
            and torch.cuda.get_device_capability(query.device) >= (8, 0)
        )

    def rows(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return attention (B, H, Tq, D) of rows over themselves, or over a cache that ends where they end."""
        key, value = _spread(key, query.shape[1]), _spread(value, query.shape[1])
        mask = self._mask(query, key, mask)
        if self.softcap is not None or self.sinks is not None:
            return self._written_out(query, key, value, mask)
        from torch.nn.functional import scaled_dot_product_attention

        causal = mask is None and self.causal and query.shape[2] > 1
        return scaled_dot_product_attention(
            query, key, value, mask, dropout_p=self.dropout, is_causal=causal, scale=self.scale
        )

    def _mask(self, query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor | None:
        """Return which key each query sees, true where it does; None where `is_causal` says it all."""
        if mask is not None:
            return mask
        here, there = query.shape[2], key.shape[2]
        narrow = self.window is not None and self.window < there
        square = here == there and self.softcap is None and self.sinks is None
        if not narrow and (not self.causal or square or here == 1):
            return None
        import torch

        at = torch.arange(there - here, there, device=query.device)[:, None]
        seen = torch.arange(there, device=query.device)[None]
        allowed = torch.ones(here, there, dtype=torch.bool, device=query.device)
        if self.causal:
            allowed &= seen <= at
        if narrow:
            allowed &= (at - seen).abs() < self.window
        return allowed

    def _written_out(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Return attention with soft-capped logits or with sinks, which SDPA has not."""
        import torch
        from torch.nn.functional import dropout

        scores = query @ key.transpose(-1, -2) * self.scale
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        if self.sinks is not None:
            sinks = self.sinks.to(scores.dtype).view(-1, scores.shape[1], 1, 1).expand(*scores.shape[:-1], 1)
            weights = torch.cat([scores, sinks], -1).softmax(-1, dtype=torch.float32)[..., :-1]
        else:
            weights = scores.softmax(-1, dtype=torch.float32)
        weights = dropout(weights.to(value.dtype), self.dropout, training=self.dropout > 0)
        return weights @ value


def _spread(heads: Tensor, wanted: int) -> Tensor:
    """Return keys or values with one head for each query head: (B, H / G, T, D) to (B, H, T, D)."""
    rows, own, tokens, size = heads.shape
    if own == wanted:
        return heads
    return heads[:, :, None].expand(rows, own, wanted // own, tokens, size).reshape(rows, wanted, tokens, size)


def _by_document(kind: _Kind, query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """Return attention (1, T, H, D) with one call per document.

    On CPUs this beats batches of documents of like length (their gathering costs more than calls) and, by far, one
    call with a block-diagonal mask: docs/training_speed.md.
    """
    import torch

    if key.shape[1] < query.shape[1]:
        # Each key head becomes a row, its query heads that row's heads; keys are repeated with stride 0, not copied.
        query = query[0].unflatten(0, (key.shape[1], -1))
        key, value = (heads[0][:, None].expand(-1, query.shape[1], -1, -1) for heads in (key, value))
    documents = zip(*(heads.split(lengths, 2) for heads in (query, key, value)), strict=True)
    return torch.cat([kind.rows(*one).permute(2, 0, 1, 3) for one in documents]).flatten(1, 2)[None]


def _varlen(kind: _Kind, query: Tensor, key: Tensor, value: Tensor, cumulative: Tensor, longest: int | None) -> Tensor:
    """Return attention (1, T, H, D) from torch's kernel for documents of unequal lengths."""
    from inspect import signature

    from torch.nn.attention.varlen import varlen_attn

    longest = max(lengths_of(cumulative)) if longest is None else longest
    more: dict[str, Any] = {}
    if "enable_gqa" in signature(varlen_attn).parameters:
        more["enable_gqa"] = key.shape[1] != query.shape[1]
    else:  # torch 2.11
        key, value = _spread(key, query.shape[1]), _spread(value, query.shape[1])
    back = -1 if kind.window is None or kind.window >= longest else kind.window - 1
    tokens = [heads[0].transpose(0, 1) for heads in (query, key, value)]
    window = (back, 0 if kind.causal else back)
    found = varlen_attn(*tokens, cumulative, cumulative, longest, longest, scale=kind.scale, window_size=window, **more)
    return found[None]


def lengths_of(cumulative: Tensor) -> list[int]:
    """Return the documents' lengths on the host; read once per batch, as all layers get the same tensor."""
    known = getattr(cumulative, "_lengths", None)
    if known is None:
        ends = cumulative.tolist()
        known = [end - start for start, end in zip(ends[:-1], ends[1:], strict=True)]
        cumulative._lengths = known
    return known
