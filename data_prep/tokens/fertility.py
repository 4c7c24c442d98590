"""How well a tokenizer suits some texts: tokens a word, bytes a token, and how much it cannot write at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def measure(tokenizer: Any, batches: Iterable[list[str]]) -> dict[str, float]:
    """Return the counts and rates of a tokenizer (from `tokenization.plain`) over batches of texts."""
    from data_prep.tokens.tokenization import Encoder

    encoder = Encoder.of(tokenizer)
    counts: Counter[str] = Counter()
    for batch in batches:
        for text, ids in zip(batch, encoder.ids(batch), strict=True):
            counts["tokens"] += len(ids)
            counts["words"] += len(text.split())
            counts["bytes"] += len(text.encode("utf-8", "replace"))
            counts["unknown"] += encoder.unknowns(ids)
    tokens = max(1, counts["tokens"])
    return {
        **{name: counts[name] for name in ("tokens", "words", "bytes", "unknown")},
        "tokens_per_word": round(counts["tokens"] / max(1, counts["words"]), 4),
        "bytes_per_token": round(counts["bytes"] / tokens, 4),
        "unknown_rate": counts["unknown"] / tokens,
    }
