"""`tuneloop show`: what the model will really read, token by token, with the tokens that the loss counts in colour.

Template and mask faults are seen here, before any GPU time is spent. Only the tokenizer is loaded.
"""

from __future__ import annotations

import sys
from collections import Counter
from importlib import import_module
from typing import Any

from recipes.errors import UserError

GREEN, GREY, BOLD, OFF = "\033[32m", "\033[90m", "\033[1m", "\033[0m"
SHOWN = 3
Sample = tuple[str, list[int], list[int]]  # title, ids, and 1 where the loss counts one


def main(recipe: Any, path: str) -> None:
    """Print the first rendered samples of a training recipe.

    Raises:
        UserError: the stage has no rows to show, or none are left.
    """
    from finetune import models

    if getattr(recipe, "tokenizer", None):
        tokenizer = models.load_tokenizer(recipe.tokenizer)
    elif hasattr(recipe, "model"):
        tokenizer = models.tokenizer_of(recipe.model)
    else:
        raise UserError(
            path, f"stage {recipe.stage} has no model whose tokens could be shown", "show a training recipe"
        )
    left_out: Counter[str] = Counter()
    samples = collect(recipe, tokenizer, left_out)
    if not samples:
        raise UserError(
            path, "no rows are left to train on", f"left out: {dict(left_out) or 'nothing; the file is empty'}"
        )
    paint = Paint(sys.stdout.isatty())
    for title, ids, mask in samples[:SHOWN]:
        print(paint.title(f"── {title} · {len(ids)} tokens, {sum(mask)} of them learned"))
        print(paint.tokens(tokenizer, ids, mask), end="\n\n")
    counted = sum(sum(mask) for _, _, mask in samples)
    tokens = sum(len(mask) for _, _, mask in samples)
    print(
        f"{len(samples)} rows, {tokens} tokens, {counted / max(1, tokens):.1%} of them learned (in [brackets] / green)"
    )
    for reason, count in left_out.items():
        print(f"left out: {count} rows, {reason}")
    for warning in warnings(tokenizer, samples):
        print(paint.title(f"look here: {warning}"))


def collect(recipe: Any, tokenizer: Any, left_out: Counter[str]) -> list[Sample]:
    """Return all samples of a recipe: what `samples(recipe, tokenizer, left_out)` of its stage says.

    Raises:
        UserError: the stage trains on no rows.
    """
    stage = import_module(type(recipe).__module__)
    if not hasattr(stage, "samples"):
        raise UserError(f"stage {recipe.stage}", "this stage has no rendered samples to show", "show a training recipe")
    found: list[Sample] = stage.samples(recipe, tokenizer, left_out)
    return found


def warnings(tokenizer: Any, samples: list[Sample]) -> list[str]:
    """Return what is suspicious about the rendered samples."""
    from finetune import chat

    found = []
    ends = set(chat.end_ids(tokenizer))
    # A continued-pretraining row is cut anywhere; only a masked row (an answer) must show its end to the loss.
    answers = [(ids, mask) for _, ids, mask in samples if any(mask) and not all(mask[1:])]
    unended = sum(not any(bit and token in ends for token, bit in zip(ids, mask, strict=True)) for ids, mask in answers)
    if unended:
        found.append(f"{unended} of {len(answers)} rows never learn an end of turn, so the model will not stop")
    begin = tokenizer.bos_token_id
    doubled = sum(ids[:2] == [begin, begin] for _, ids, _ in samples) if begin is not None else 0
    if doubled:
        found.append(f"{doubled} rows begin with two BOS tokens")
    return found


class Paint:
    """Colours for a terminal; brackets where there are no colours."""

    def __init__(self, colours: bool) -> None:
        self.colours = colours

    def title(self, text: str) -> str:
        """Return a headline."""
        return f"{BOLD}{text}{OFF}" if self.colours else text

    def tokens(self, tokenizer: Any, ids: list[int], mask: list[int]) -> str:
        """Return the text with a · between tokens, learned tokens in green (or brackets)."""
        parts: list[str] = []
        start = 0
        while start < len(ids):
            end = start
            while end < len(ids) and mask[end] == mask[start]:
                end += 1
            text = "·".join(tokenizer.decode([token]) for token in ids[start:end])
            if self.colours:
                parts.append(f"{GREEN if mask[start] else GREY}{text}{OFF}")
            else:
                parts.append(f"[{text}]" if mask[start] else text)
            start = end
        return "".join(parts)
