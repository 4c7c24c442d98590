"""An adapter into its base: in float32, held against the adapter on its base, and once more as it is stored.

The base's full-precision weights are used, also where the adapter was trained on a quantised one. Three figures say
what was lost: float32 arithmetic (merged against unmerged, in memory), storing (the files, read back, against the
unmerged), and what rounding alone does (the files against the merged weights before they were narrowed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.merging import agreement, checkpoint, heads, layout
from finetune.merging.agreement import Agreement
from finetune.models import adapter_settings, base_of
from recipes.errors import UserError


@dataclass(frozen=True)
class Merged:
    """What came of a merge: in memory, as stored, what rounding alone did, and the precision that was stored."""

    arithmetic: Agreement
    stored: Agreement
    rounding: Agreement
    dtype: str

    def metrics(self) -> dict[str, Any]:
        """Return the figures for a manifest."""
        parts = {"arithmetic": self.arithmetic, "stored": self.stored, "rounding": self.rounding}
        return {f"{name}_{key}": value for name, one in parts.items() for key, value in one.rounded().items()}


def merge(
    ref: str, out: Path, *, dtype: str, limit: int, texts: str | None = None, tolerance: float | None = None
) -> Merged:
    """Write the merged model into `out`, and say how it compares.

    Raises:
        UserError: the adapter cannot be merged, or the merged model says something else.
    """
    base, folder = base_of(ref)
    assert folder is not None
    refuse_virtual_tokens(folder)
    head = heads.of(ref)
    model, tokenizer = heads.load(ref, head)
    rows = agreement.sequences(tokenizer, texts, new_tokens(folder))
    before = agreement.logits(model, rows)
    model = model.merge_and_unload(safe_merge=True)
    merged = agreement.logits(model, rows)
    arithmetic = agreement.compare(before, merged)
    agreement.require(arithmetic, agreement.ARITHMETIC, ref, "logits of the merged and the unmerged model")
    dtype = checkpoint.stored_dtype(checkpoint.entries(base)) if dtype == "auto" else dtype
    write(model, tokenizer, head, out, dtype, limit)
    del model
    stored_logits = agreement.logits(heads.load(str(out), head)[0], rows)
    stored = agreement.compare(before, stored_logits)
    agreement.require(
        stored, tolerance or agreement.STORED[dtype], ref, f"logits of the model stored in {dtype} and the unmerged"
    )
    return Merged(arithmetic, stored, agreement.compare(merged, stored_logits), dtype)


def write(model: Any, tokenizer: Any, head: str, out: Path, dtype: str, limit: int) -> None:
    """Write a whole model from memory, narrowed to `dtype`, with its tokenizer and generation settings."""
    import torch

    model.to(getattr(torch, dtype))
    model.save_pretrained(out, max_shard_size=limit)
    layout.finish(out, tokenizer, writes_text=head in heads.WRITES_TEXT)


def new_tokens(folder: str) -> Sequence[int]:
    """Return the ids whose rows an adapter has learned."""
    found = adapter_settings(folder).get("trainable_token_indices") or []
    lists = found.values() if isinstance(found, dict) else [found]
    return sorted({int(token) for one in lists for token in one})


def refuse_virtual_tokens(folder: str) -> None:
    """Refuse an adapter that is no change of weights.

    Raises:
        UserError: it is a learned prompt.
    """
    kind = adapter_settings(folder).get("peft_type")
    if kind not in ("LORA", "IA3"):
        what = f"an adapter of type {kind} puts learned vectors before the text; no weights of the base could do that"
        if kind not in ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"):
            what = f"an adapter of type {kind}, which is not merged here"
        raise UserError(folder, what, "use the adapter as it is, or train LoRA")
