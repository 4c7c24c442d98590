"""What to ask next: which prompt, which checkpoints. Left out: active sampling, assignment, gold questions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from data_prep.feedback.store import prompt_hash
from data_prep.records import Prompt


def draw(checkpoints: Sequence[str], rng: random.Random) -> list[str]:
    """Return two different checkpoints, any two equally likely."""
    return rng.sample(list(checkpoints), 2)


def next_prompt(prompts: Sequence[Prompt], times_asked: Mapping[str, int], rng: random.Random) -> Prompt | None:
    """Return one of the prompts that have been asked least often."""
    if not prompts:
        return None
    times = [times_asked.get(prompt_hash(prompt.prompt), 0) for prompt in prompts]
    fewest = min(times)
    return rng.choice([prompt for prompt, count in zip(prompts, times, strict=True) if count == fewest])
