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
TOLD = ", told"
SECOND = (", written", TOLD, ", target")  # the other half of the row before
WITHOUT_ANSWERS = ("base", "classify", "cpt")  # stages in which no answer is to be ended
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
    of_row = rows_of(samples)
    for (title, ids, mask), row in zip(samples, of_row, strict=True):
        if row < SHOWN:
            learned = f", {sum(mask)} of them learned" if any(mask) else ""
            print(paint.title(f"── {title} · {len(ids)} tokens{learned}"))
            print(paint.tokens(tokenizer, ids, mask), end="\n\n")
    print(_summary(samples, of_row[-1] + 1))
    for reason, count in left_out.items():
        print(f"left out: {count} rows, {reason}")
    for warning in warnings(tokenizer, samples, answers=recipe.stage not in WITHOUT_ANSWERS):
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


def rows_of(samples: list[Sample]) -> list[int]:
    """Return each sample's row, counted from 0: what is read and what is written of a row stand in two samples."""
    found: list[int] = []
    for title, _, _ in samples:
        found.append(found[-1] + (not title.endswith(SECOND)) if found else 0)
    return found


def _summary(samples: list[Sample], rows: int) -> str:
    """Return one line on all rows; of whole texts the label alone is learned, of which no token is shown."""
    after = [title for title, _, _ in samples[1:]] + [""]
    # What is told of a row are its own tokens once more.
    tokens = sum(len(mask) for (_, _, mask), title in zip(samples, after, strict=True) if not title.endswith(TOLD))
    counted = sum(sum(mask) for _, _, mask in samples)
    learned = f"{counted / max(1, tokens):.1%} of them learned (in [brackets] / green)"
    return f"{rows} rows, {tokens} tokens, {learned if counted else 'learned is the label behind the arrow'}"


def warnings(tokenizer: Any, samples: list[Sample], *, answers: bool = True) -> list[str]:
    """Return what is suspicious about the rendered samples; `answers` are to be ended by the model itself."""
    from finetune import chat

    found = []
    ends = set(chat.end_ids(tokenizer))
    # A continued-pretraining row is cut anywhere; only a masked row (an answer) must show its end to the loss.
    masked = [(ids, mask) for _, ids, mask in samples if answers and any(mask) and not all(mask[1:])]
    unended = sum(not any(bit and token in ends for token, bit in zip(ids, mask, strict=True)) for ids, mask in masked)
    if unended:
        found.append(f"{unended} of {len(masked)} rows never learn an end of turn, so the model will not stop")
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
