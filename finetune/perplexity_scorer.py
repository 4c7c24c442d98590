"""Perplexity of documents under a causal language model, for the corpus stage's filter `perplexity`.

    filters:
      perplexity: {scorer: "finetune.perplexity_scorer:score", model: models/base, max_perplexity: 60}

One document at a time, in windows as long as the model's context that move on by half of it, so that each token but the
first window's is predicted from at least half a context (https://huggingface.co/docs/transformers/perplexity). The
first token, which nothing comes before, is predicted from the tokenizer's start token, if it has one, and not counted
otherwise. Left out: batches of documents, several GPUs; at that speed a sample or a small model is scored, not a crawl.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.models import Loaded

LONGEST = 2048  # tokens in a window, also where the model could read more


def score(text: str, model: str) -> float:
    """Return exp of the mean negative log-likelihood of a text's tokens; infinity where there is nothing to predict."""
    loaded = _loaded(model)
    ids = _ids(loaded, text)
    total, count = 0.0, 0
    for start, end, fresh in windows(len(ids), _context(loaded)):
        total += _negative_log_likelihood(loaded, ids[start:end], end - fresh)
        count += end - fresh
    # Far beyond any text, and a float cannot hold e to the power of more.
    return math.exp(min(total / count, 700.0)) if count else math.inf


def windows(length: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and first newly predicted token of each window; every token but the first is predicted once."""
    fresh, start = 1, 0
    while fresh < length:
        end = min(start + context, length)
        yield start, end, fresh
        fresh, start = end, end - context // 2


@cache
def _loaded(model: str) -> Loaded:
    from finetune import models

    return models.load(model)


def _ids(loaded: Loaded, text: str) -> list[int]:
    """Return the tokens of a text behind the start token."""
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    first = loaded.tokenizer.bos_token_id
    return ids if first is None else [first, *ids]


def _context(loaded: Loaded) -> int:
    return max(2, min(LONGEST, getattr(loaded.model.config, "max_position_embeddings", LONGEST)))


def _negative_log_likelihood(loaded: Loaded, ids: list[int], predicted: int) -> float:
    """Return the sum of -ln p over the last `predicted` tokens, nats."""
    import torch

    row = torch.tensor([ids], device=loaded.device)
    with torch.inference_mode():
        logits = loaded.model(row, use_cache=False).logits[0, -predicted - 1 : -1].float()
    return float(torch.nn.functional.cross_entropy(logits, row[0, -predicted:], reduction="sum"))
