"""One batch of rollouts as what the update trains on: old log-probs, old values, advantages and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from finetune.ppo import advantages as adv

if TYPE_CHECKING:
    from finetune.ppo.rollout import Rollout
    from finetune.ppo.settings import Method


@dataclass(frozen=True)
class Scale:
    """How a score is shifted and scaled before it becomes a reward."""

    mean: float = 0.0
    deviation: float = 1.0


@dataclass(frozen=True)
class Experience:
    """B answers: `pairs` of prompt and answer ids; the rest is (B, T), padded on the right, real where `mask` is."""

    pairs: list[tuple[list[int], list[int]]]
    mask: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor

    def flat(self, rows: Sequence[int], column: Tensor) -> Tensor:
        """Return the numbers (N,) of some answers' tokens, one answer after the other."""
        index = torch.tensor(rows)
        return column[index][self.mask[index]]


def final_scores(rollouts: Sequence[Rollout], method: Method, scale: Scale) -> Tensor:
    """Return the scores (B,): normalised, clipped, less the penalty for answers that were cut."""
    scores = (torch.tensor([row.score for row in rollouts]) - scale.mean) / scale.deviation
    if method.score_clip is not None:
        scores = scores.clamp(-method.score_clip, method.score_clip)
    cut = torch.tensor([not row.answer.finished for row in rollouts])
    return scores - method.missing_eos_penalty * cut


def from_rollouts(rollouts: Sequence[Rollout], method: Method, kl_coef: float, scale: Scale) -> Experience:
    """Turn rollouts into experience; all means and variances are over the tokens of the whole batch."""
    log_probs, mask = adv.pad([row.answer.logprobs for row in rollouts])
    reference, _ = adv.pad([row.reference for row in rollouts])
    values, _ = adv.pad([row.values for row in rollouts])
    kl = adv.kl_estimate(log_probs - reference, method.kl_estimator)
    rewards = adv.token_rewards(final_scores(rollouts, method, scale), kl, mask, kl_coef)
    if method.whiten_rewards:
        rewards = adv.whiten(rewards, mask, shift_mean=False)
    advantages, returns = adv.generalised_advantages(rewards, values, mask, gamma=method.gamma, lam=method.lam)
    if method.whiten_advantages:
        advantages = adv.whiten(advantages, mask)
    pairs = [(row.prompt.ids, row.answer.ids) for row in rollouts]
    return Experience(pairs, mask, log_probs, values, advantages, returns)
