"""Prompts -> sampled answers, with all that the update needs to know about them.

The batch is cut into fixed pieces that are dealt to the processes; each piece is sampled with a seed of its own, and
all processes get all rollouts back. So the batch does not depend on how many processes there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from finetune.generate import Answer, generate
from finetune.ppo import roles as ppo_roles
from finetune.ppo.prompts import TokenPrompt, derived_seed
from finetune.ppo.rewards import Scorer, refuse_nan
from recipes.errors import UserError
from recipes.sections import Generation

if TYPE_CHECKING:
    from accelerate import Accelerator

    from finetune.ppo.roles import Roles
    from finetune.ppo.settings import Optimisation


@dataclass
class Rollout:
    """One prompt with its sampled answer; log p of its tokens (nats) and values, in the answer's length."""

    prompt: TokenPrompt
    answer: Answer
    score: float
    reference: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    gold: float | None = None

    @property
    def kl(self) -> float:
        """Return the estimate (k1) of the KL to the reference of the whole answer, in nats."""
        return sum(self.answer.logprobs) - sum(self.reference)


@dataclass
class Sampler:
    """Samples and measures answers with the current policy. `gold` judges answers but is never trained on."""

    roles: Roles
    tokenizer: Any
    generation: Generation
    training: Optimisation
    score: Scorer
    gold: Scorer | None
    accelerator: Accelerator

    def collect(self, prompts: Sequence[TokenPrompt], seed: int, *, values: bool = True) -> list[Rollout]:
        """Return a rollout for each prompt, in their order, on every process; values only where they are wanted."""
        size, world = self.training.generation_batch_size, self.accelerator.num_processes
        pieces = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        mine = {
            number: self._piece(piece, derived_seed(seed, "piece", number), values)
            for number, piece in enumerate(pieces)
            if number % world == self.accelerator.process_index
        }
        if world > 1:
            from accelerate.utils import gather_object

            mine = dict(gather_object(list(mine.items())))
        return [rollout for number in range(len(pieces)) for rollout in mine[number]]

    def _piece(self, prompts: Sequence[TokenPrompt], seed: int, values: bool) -> list[Rollout]:
        with self.roles.acting("policy"):
            answers = generate(
                self.roles.model,
                self.tokenizer,
                [prompt.ids for prompt in prompts],
                self.generation,
                seed=seed,
                batch_size=len(prompts),
            )
        scores = self.score(prompts, answers)
        refuse_nan(scores, prompts, answers)
        rollouts = [Rollout(*row) for row in zip(prompts, answers, scores, strict=True)]
        if self.gold:
            for rollout, value in zip(rollouts, self.gold(prompts, answers), strict=True):
                rollout.gold = value
        self._measure(rollouts, values)
        return rollouts

    def _measure(self, rollouts: Sequence[Rollout], with_values: bool) -> None:
        """Fill in log p under the reference, and values; rows of like length share a batch."""
        order = sorted(rollouts, key=lambda row: len(row.prompt.ids) + len(row.answer.ids))
        size = self.training.per_device_eval_batch_size
        for start in range(0, len(order), size):
            chunk = order[start : start + size]
            tokens = ppo_roles.arrange([(row.prompt.ids, row.answer.ids) for row in chunk], self.roles.device)
            with self.roles.acting("reference"), torch.no_grad():
                states = self.roles.states(tokens)
                reference, _ = self.roles.log_probs(states, tokens.targets, self.generation.temperature)
            lengths = [len(row.answer.ids) for row in chunk]
            for row, log_p in zip(chunk, reference.split(lengths), strict=True):
                row.reference = log_p.tolist()
            if with_values:
                with self.roles.acting("value"), torch.no_grad():
                    values = self.roles.values(self.roles.states(tokens))
                for row, value in zip(chunk, values.split(lengths), strict=True):
                    row.values = value.tolist()


def refuse_uneven(pieces: int, world: int) -> None:
    """Refuse a batch whose pieces cannot be dealt evenly: some processes would only wait.

    Raises:
        UserError: with what would fit.
    """
    if pieces % world:
        raise UserError(
            "training.generation_batch_size",
            f"the batch is sampled in {pieces} pieces, which {world} processes cannot share evenly",
            "write rollout_batch_size / processes, or a divisor of it",
        )
