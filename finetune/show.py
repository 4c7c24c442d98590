"""`tuneloop show`: what the model will really read, token by token, with the tokens that the loss counts in colour.

Template and mask faults are seen here, before any GPU time is spent. Only the tokenizer is loaded.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from recipes.errors import UserError

GREEN, GREY, BOLD, OFF = "\033[32m", "\033[90m", "\033[1m", "\033[0m"
SHOWN = 3


def main(recipe: Any, path: str) -> None:
    """Print the first rendered samples of a training recipe.

    Raises:
        UserError: the stage has no rows to show, or none are left.
    """
    from finetune import models

    own = models.base_of(recipe.model.model_name_or_path)[1] or recipe.model.model_name_or_path
    tokenizer = models.load_tokenizer(getattr(recipe, "tokenizer", None) or own)
    left_out: Counter[str] = Counter()
    samples, total = collect(recipe, tokenizer, left_out)
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
    print(f"{total} rows, {tokens} tokens, {counted / max(1, tokens):.1%} of them learned (in [brackets] / green)")
    for reason, count in left_out.items():
        print(f"left out: {count} rows, {reason}")
    for warning in warnings(tokenizer, samples):
        print(paint.title(f"look here: {warning}"))


def collect(recipe: Any, tokenizer: Any, left_out: Counter[str]) -> tuple[list[tuple[str, list[int], list[int]]], int]:
    """Return all samples of a recipe as (title, ids, mask), and the number of rows."""
    samples: list[tuple[str, list[int], list[int]]] = []
    if recipe.stage == "cpt":
        from finetune.stages import cpt

        for number, row in enumerate(cpt.training_rows(recipe, tokenizer, left_out), 1):
            ids = row["input_ids"].tolist()
            samples.append((f"row {number}", ids, [0] + [1] * (len(ids) - 1)))
    elif recipe.stage == "sft":
        from finetune.stages import sft

        for number, row in enumerate(sft.rows(recipe.data, tokenizer, recipe.data.train_file, left_out), 1):
            samples.append((f"conversation {number}", row["input_ids"], row["mask"]))
    elif recipe.stage in ("reward", "dpo"):
        from finetune.stages import reward

        for number, pair in enumerate(reward.pairs(recipe.data, tokenizer, recipe.data.train_file, left_out), 1):
            for side in ("chosen", "rejected"):
                start, length = pair["prompt_length"], pair[f"{side}_length"]
                samples.append((f"pair {number}, {side}", pair[side][:length], [0] * start + [1] * (length - start)))
    elif recipe.stage == "ppo":
        from finetune.ppo.prompts import read_prompts

        prompts = read_prompts(recipe.data.train_file, tokenizer, recipe.data.max_prompt_length, left_out)
        for number, prompt in enumerate(prompts, 1):
            samples.append((f"prompt {number} (the answer is sampled)", prompt.ids, [0] * len(prompt.ids)))
    else:
        raise UserError(f"stage {recipe.stage}", "this stage has no rendered samples to show", "show a training recipe")
    return samples, len(samples)


def warnings(tokenizer: Any, samples: list[tuple[str, list[int], list[int]]]) -> list[str]:
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
