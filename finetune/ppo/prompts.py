"""Prompts to answer: read, rendered, and dealt out to iterations in an order that only depends on the seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.records import Prompt, read
from finetune import chat


@dataclass(frozen=True)
class TokenPrompt:
    """A prompt as ids that end with the generation prompt, and as messages; `meta` goes to a reward function."""

    ids: list[int]
    messages: list[chat.Message]
    meta: dict[str, Any]


def read_prompts(path: Path | str, tokenizer: Any, max_length: int, left_out: Counter[str]) -> list[TokenPrompt]:
    """Render a file's prompts; count in `left_out` what is not used, and why.

    Raises:
        UserError: a row is not a prompt.
    """
    found = []
    for row in read(path, Prompt):
        if row.prompt[-1]["role"] == "assistant":
            left_out["ends with the assistant's turn"] += 1
            continue
        ids = chat.prompt_ids(tokenizer, row.prompt)
        if len(ids) > max_length:
            left_out["longer than max_prompt_length"] += 1
        else:
            found.append(TokenPrompt(ids, row.prompt, row.meta))
    return found


def derived_seed(seed: int, *names: object) -> int:
    """Return a seed of its own for each use, so that nothing hangs on how much randomness was used before it."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def deal(count: int, batch_size: int, iteration: int, seed: int) -> list[int]:
    """Return which of `count` prompts an iteration answers: reshuffled each time all have had their turn.

    The order is one endless row of shuffles cut into batches, so a file smaller than a batch works, and an
    interrupted run finds its place from the iteration's number alone.
    """
    places = range(iteration * batch_size, (iteration + 1) * batch_size)
    shuffles = {
        turn: torch.randperm(count, generator=torch.Generator().manual_seed(derived_seed(seed, "prompts", turn)))
        for turn in {place // count for place in places}
    }
    return [int(shuffles[place // count][place % count]) for place in places]
