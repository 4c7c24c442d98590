"""The only sampler: PPO, evaluation and the app all use it.

Prompts are padded on the left, keys and values are cached, and a row that has ended leaves the batch. One uniform
number for each row and step is drawn beforehand, and a token is found where it falls in the cumulated probabilities:
so a row's answer depends on the seed and on its own place in the list of prompts, not on which rows share its batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune import chat
from recipes.sections import Generation

if TYPE_CHECKING:
    import torch


@dataclass
class Answer:
    """One sampled answer: its ids without the prompt, log p of each in nats (at the sampling temperature), its text."""

    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finished: bool = False
    text: str = ""


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[list[int]],
    settings: Generation,
    *,
    seed: int,
    batch_size: int = 64,
) -> list[Answer]:
    """Sample one answer for each prompt (lists of ids that end with the generation prompt).

    `finished` tells that the answer ended itself; otherwise it was cut at `max_new_tokens`. The end token, where it
    was produced, is the last of `ids` and not in `text`.
    """
    import torch

    ends = chat.end_ids(tokenizer)
    answers = [Answer() for _ in prompts]
    draws = torch.rand(len(prompts), settings.max_new_tokens, generator=torch.Generator().manual_seed(seed))
    # Rows of like length share a batch, so little of it is padding.
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            _decode(model, [prompts[i] for i in chunk], draws[chunk], settings, ends, [answers[i] for i in chunk])
    model.train(was_training)
    for answer in answers:
        answer.text = tokenizer.decode(answer.ids, skip_special_tokens=True)
    return answers


def _decode(
    model: Any,
    prompts: list[list[int]],
    draws: torch.Tensor,
    settings: Generation,
    ends: list[int],
    answers: list[Answer],
) -> None:
    """Fill `answers` for one batch of prompts; draws (B, max_new_tokens) are uniform numbers in [0, 1)."""
    import torch
    from transformers import DynamicCache

    device = next(model.parameters()).device
    ids, mask = left_pad(prompts, device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    rows = list(range(len(prompts)))
    draws = draws.to(device)
    end_tensor = torch.tensor(ends, device=device)
    for step in range(settings.max_new_tokens):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens, logprobs = pick(out.logits[:, -1], draws[:, step], settings)
        ended = torch.isin(tokens, end_tensor)
        for row, token, logprob, end in zip(rows, tokens.tolist(), logprobs.tolist(), ended.tolist(), strict=True):
            answers[row].ids.append(token)
            answers[row].logprobs.append(logprob)
            answers[row].finished = end
        if ended.any():
            keep = (~ended).nonzero().squeeze(1)
            if not len(keep):
                return
            rows = [rows[index] for index in keep.tolist()]
            cache.batch_select_indices(keep)
            tokens, mask, positions, draws = tokens[keep], mask[keep], positions[keep], draws[keep]
        ids = tokens[:, None]
        positions = positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)


def left_pad(sequences: Sequence[list[int]], device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask (B, T), padded on the left with 0; mask is 1 at real tokens."""
    import torch

    width = max(map(len, sequences))
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence)
        mask[row, width - len(sequence) :] = 1
    return ids.to(device), mask.to(device)


def pick(logits: torch.Tensor, draw: torch.Tensor, settings: Generation) -> tuple[torch.Tensor, torch.Tensor]:
    """Choose a token for each row of logits (B, V); return tokens and log p (B,), both at the temperature.

    `draw` (B,) holds uniform numbers. log p is that of the full distribution, before top_k and top_p cut its tail.
    """
    import torch

    log_p = torch.log_softmax(logits.float() / (settings.temperature if settings.do_sample else 1.0), -1)
    if settings.do_sample:
        weights = _truncate(log_p.exp().double(), settings)
        cumulated = weights.cumsum(-1)
        target = draw.to(cumulated)[:, None] * cumulated[:, -1:]
        tokens = torch.searchsorted(cumulated, target, right=True).squeeze(1).clamp(max=log_p.shape[1] - 1)
    else:
        tokens = log_p.argmax(-1)
    return tokens, log_p.gather(1, tokens[:, None]).squeeze(1)


def _truncate(p: torch.Tensor, settings: Generation) -> torch.Tensor:
    """Set to zero what top_k and top_p leave out of probabilities p (B, V); at least the likeliest token stays."""
    import torch

    if 0 < settings.top_k < p.shape[1]:
        p = p.masked_fill(p < p.topk(settings.top_k).values[:, -1:], 0.0)
    if settings.top_p < 1:
        ordered, index = p.sort(descending=True)
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < settings.top_p * p.sum(-1, keepdim=True), ordered, 0.0)
        p = torch.zeros_like(p).scatter(1, index, kept)
    return p


def stream(model: Any, tokenizer: Any, prompt: list[int], settings: Generation, *, seed: int) -> Iterator[str]:
    """Yield the text so far, token after token, of one answer."""
    import torch
    from transformers import DynamicCache

    device = next(model.parameters()).device
    ends = set(chat.end_ids(tokenizer))
    draws = torch.rand(settings.max_new_tokens, generator=torch.Generator().manual_seed(seed)).to(device)
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([prompt], device=device)
    answer: list[int] = []
    for step in range(settings.max_new_tokens):
        # Not inference_mode around the whole generator: the caller's code runs between two yields.
        with torch.inference_mode():
            logits = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            ids = pick(logits, draws[step : step + 1], settings)[0][:, None]
        if int(ids) in ends:
            return
        answer.append(int(ids))
        yield tokenizer.decode(answer, skip_special_tokens=True)


def log_likelihoods(
    model: Any, requests: Sequence[tuple[list[int], list[int]]], *, batch_size: int = 64
) -> list[tuple[float, int, bool]]:
    """Return, for each (context ids, continuation ids), the continuation's summed log p in nats, its length in tokens,
    and whether every one of its tokens is the model's first choice."""
    import torch

    from finetune.models import right_pad

    device = next(model.parameters()).device
    order = sorted(range(len(requests)), key=lambda i: -len(requests[i][0]) - len(requests[i][1]))
    results: list[tuple[float, int, bool]] = [(0.0, 0, True)] * len(requests)
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            ids, _ = right_pad([requests[i][0] + requests[i][1] for i in chunk], device)
            logits = model(input_ids=ids, use_cache=False).logits
            for row, index in enumerate(chunk):
                context, continuation = requests[index]
                span = logits[row, len(context) - 1 : len(context) + len(continuation) - 1].float()
                wanted = torch.tensor(continuation, device=device)
                log_p = span.log_softmax(-1).gather(1, wanted[:, None]).sum()
                results[index] = (float(log_p), len(continuation), bool((span.argmax(-1) == wanted).all()))
    return results
