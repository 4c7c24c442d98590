"""Log-likelihoods: of choices behind a shared question, and of whole documents.

A question's keys and values are computed once and used for all its choices, which is where the time goes in multiple
choice. Batches hold sequences of like length up to a number of tokens, not a number of rows. All sums are in nats.

Leaves out: prefixes shared between questions (few-shot examples).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from recipes.load import UserError

if TYPE_CHECKING:
    import torch

# Logits of a batch take tokens x vocabulary x 4 bytes: at most this many numbers at once (64 MB).
LOGITS = 1 << 24
MOST_TOKENS = 4096


def choices(model: Any, questions: Sequence[tuple[list[int], Sequence[list[int]]]]) -> list[list[float]]:
    """Return the summed log p of every continuation of each (context ids, continuations)."""
    import torch

    sums: list[list[float]] = [[] for _ in questions]
    costs = [sum(len(one) for one in several) + len(context) for context, several in questions]
    model.eval()
    with torch.inference_mode():
        for batch in _batches(costs, _most_tokens(model)):
            for index, values in zip(batch, _choices_of(model, [questions[i] for i in batch]), strict=True):
                sums[index] = values
    return sums


def _choices_of(model: Any, questions: Sequence[tuple[list[int], Sequence[list[int]]]]) -> list[list[float]]:
    """Return log p of the continuations of one batch: one pass over contexts (Q, T), one over continuations (R, C)."""
    import torch
    from transformers import DynamicCache

    from finetune.generate import left_pad
    from finetune.models import right_pad

    device = next(model.parameters()).device
    ids, mask = left_pad([context for context, _ in questions], device)
    cache = DynamicCache(config=model.config)
    first = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]
    owner = [row for row, (_, several) in enumerate(questions) for _ in several]
    wanted = [one for _, several in questions for one in several]
    rows = torch.tensor(owner, device=device)
    starts = torch.tensor([one[0] for one in wanted], device=device)
    total = first.float().log_softmax(-1)[rows, starts]
    if max(map(len, wanted)) > 1:
        cache.reorder_cache(rows)
        total = total + _rest(model, cache, wanted, mask[rows], right_pad)
    values = iter(_finite(total.tolist()))
    return [[next(values) for _ in several] for _, several in questions]


def _rest(model: Any, cache: Any, wanted: list[list[int]], context: torch.Tensor, right_pad: Any) -> torch.Tensor:
    """Return log p (R,) of all tokens but the first, given the cache of the contexts and their mask (R, T)."""
    import torch

    inputs, _ = right_pad([one[:-1] or [0] for one in wanted], context.device)
    targets, _ = right_pad([one[1:] or [0] for one in wanted], context.device)
    lengths = torch.tensor([len(one) - 1 for one in wanted], device=context.device)
    steps = torch.arange(inputs.shape[1], device=context.device)
    logits = model(
        input_ids=inputs,
        # What stands to the right of a shorter continuation is never looked at from the left.
        attention_mask=torch.cat([context, torch.ones_like(inputs)], dim=1),
        position_ids=context.sum(1, keepdim=True) + steps,
        past_key_values=cache,
        use_cache=True,
    ).logits
    log_p = -_nll(logits, targets)
    return (log_p * (steps < lengths[:, None])).sum(1)


def documents(model: Any, sequences: Sequence[list[int]], *, window: int, stride: int) -> list[float]:
    """Return the summed negative log p of each sequence's tokens but the first, which only starts it.

    Windows of `window` tokens move on by `stride`; each token is counted once, in the first window that has it. With
    stride = window - 1 they do not overlap but for the one token that the next window starts from.
    """
    import torch

    pieces = [(row, *piece) for row, ids in enumerate(sequences) for piece in windows(len(ids), window, stride)]
    totals = [0.0] * len(sequences)
    model.eval()
    with torch.inference_mode():
        for batch in _batches([end - start for _, start, end, _ in pieces], _most_tokens(model)):
            chosen = [pieces[index] for index in batch]
            values = _windows_of(model, [(sequences[row][start:end], skip) for row, start, end, skip in chosen])
            for (row, *_), value in zip(chosen, _finite(values), strict=True):
                totals[row] += value
    return totals


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, end, skip): the tokens start + skip + 1 .. end - 1 of a sequence are counted in this window."""
    start, counted = 0, 1
    while counted < length:
        end = min(start + window, length)
        yield start, end, counted - start - 1
        counted = end
        start += stride


def _windows_of(model: Any, batch: Sequence[tuple[list[int], int]]) -> list[float]:
    import torch

    from finetune.models import right_pad

    ids, last = right_pad([ids for ids, _ in batch], next(model.parameters()).device)
    skip = torch.tensor([skip for _, skip in batch], device=ids.device)
    nll = _nll(model(input_ids=ids, use_cache=False).logits[:, :-1], ids[:, 1:])
    place = torch.arange(nll.shape[1], device=ids.device)
    counted = (place >= skip[:, None]) & (place < last[:, None])
    return [float(value) for value in torch.where(counted, nll, 0.0).double().sum(1)]


def _nll(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the negative log p (B, T) of targets (B, T) under logits (B, T, V)."""
    import torch.nn.functional as functional

    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def _finite(values: list[float]) -> list[float]:
    if any(value != value for value in values):
        raise UserError(
            "the checkpoint", "its logits are not numbers (NaN)", "evaluate a checkpoint from before training diverged"
        )
    return values


def _most_tokens(model: Any) -> int:
    return max(256, min(MOST_TOKENS, LOGITS // int(model.config.vocab_size)))


def _batches(costs: Sequence[int], most: int) -> Iterator[list[int]]:
    """Yield indices of sequences of like length, longest first, whose padded size stays below `most` tokens."""
    batch: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        if batch and (len(batch) + 1) * costs[batch[0]] > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
