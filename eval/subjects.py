"""What is measured: checkpoints that answer, with each base in memory once, and a reward model that scores.

Adapters on the same base share it: the base is loaded once, each adapter is put on, measured and taken off again.
Adapters stay unmerged, because merging rounds: what is measured is what the app runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from recipes.hashing import text_hash
from recipes.sections import Generation

if TYPE_CHECKING:
    from finetune.generate import Answer
    from finetune.models import Reward

Message = dict[str, str]
# A model whose configuration names no limit (ALiBi, state spaces) takes any length.
NO_LIMIT = 1 << 40
# Attention takes memory by the square of the length: long sequences are scored a few at a time.
SCORED_TOKENS = 4096


@dataclass
class Policy:
    """A checkpoint that answers. Answers are kept, so tasks that share prompts share them."""

    name: str
    model: Any
    tokenizer: Any
    settings: Generation
    seed: int
    batch_size: int
    reward: Reward | None = None
    _answers: dict[str, list[Answer | None]] = field(default_factory=dict)

    @property
    def context(self) -> int:
        """The longest sequence of tokens that the model takes."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or NO_LIMIT)

    def answers(self, prompts: Sequence[list[Message]]) -> list[Answer | None]:
        """Return one answer for each prompt; None where prompt and answer do not fit into the context."""
        key = text_hash(json.dumps(prompts))
        if key not in self._answers:
            self._answers[key] = self._generate(prompts)
        return self._answers[key]

    def _generate(self, prompts: Sequence[list[Message]]) -> list[Answer | None]:
        from finetune import chat
        from finetune.generate import generate

        ids = [chat.prompt_ids(self.tokenizer, prompt) for prompt in prompts]
        fits = [len(one) + self.settings.max_new_tokens <= self.context for one in ids]
        asked = [one for one, fit in zip(ids, fits, strict=True) if fit]
        given = iter(
            generate(self.model, self.tokenizer, asked, self.settings, seed=self.seed, batch_size=self.batch_size)
        )
        return [next(given) if fit else None for fit in fits]


def scores(reward: Reward, sequences: Sequence[list[int]]) -> list[float]:
    """Return the reward of each sequence of ids, in batches that hold fewer rows the longer they are."""
    longest = max(map(len, sequences), default=1)
    return reward.score(list(sequences), batch_size=max(1, min(64, SCORED_TOKENS // longest)))


@dataclass
class Scorer:
    """The reward model as a task measures it."""

    reward: Reward

    @property
    def context(self) -> int:
        """The longest sequence of tokens that the model takes."""
        return int(getattr(self.reward.model.config, "max_position_embeddings", None) or NO_LIMIT)


def policies(
    checkpoints: Sequence[tuple[str, str]],
    *,
    settings: Generation,
    seed: int,
    batch_size: int,
    reward: Reward | None,
    load: dict[str, Any],
) -> Iterator[Policy]:
    """Yield each (name, reference) as a policy, those on one base behind each other; the former is no longer usable."""
    from finetune import models

    found = [(name, models.shared_base(reference)) for name, reference in checkpoints]
    order = list(dict.fromkeys(base for _, (base, _) in found))
    found.sort(key=lambda one: (order.index(one[1][0]), one[1][1] is not None))
    for base, group in groupby(found, key=lambda one: one[1][0]):
        plain = models.load(base, **load)
        for name, (_, adapter) in group:
            model, tokenizer = plain.model, plain.tokenizer
            if adapter:
                from peft import PeftModel

                model = PeftModel.from_pretrained(plain.model, adapter).eval()
                tokenizer = models.load_tokenizer(adapter, trust_remote_code=bool(load.get("trust_remote_code")))
            yield Policy(name, model, tokenizer, settings, seed, batch_size, reward)
            if adapter:
                plain.model = model.unload()
