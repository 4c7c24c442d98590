"""One batch of rollouts as what the update trains on: old log-probs, old values, advantages and returns.

Where the price on KL goes in:
- k1 is taken off each token's reward. Its policy gradient is that of KL(pi || ref) of the whole answer, so the optimum
  is pi_ref exp(r / kl_coef) / Z.
- k2 and k3 are a term of the loss, with their own gradient. As rewards they would push the policy away: both are also
  positive where a token has become *less* likely than under the reference, and a lower reward makes it less likely
  still (TRL's PPO had k3 there). As losses they see the token alone, not what it leads to; k2's gradient is that of
  KL(pi || ref) of the next token, k3's that of KL(ref || pi), as in GRPO (https://arxiv.org/abs/2402.03300).
See Liu et al. 2025, https://arxiv.org/abs/2510.01555; tests/finetune/test_ppo_optimum.py shows each optimum.
"""

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
    """B answers: `pairs` of prompt and answer ids; the rest is (B, T), padded on the right, real where `mask` is.

    `kl_weight` is the price on KL in the loss, in the units of the advantages (0 where it is in the rewards).
    """

    pairs: list[tuple[list[int], list[int]]]
    mask: Tensor
    log_probs: Tensor
    reference: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    kl_weight: float

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
    in_reward = method.kl_estimator == "k1"
    scores = final_scores(rollouts, method, scale)
    rewards = adv.token_rewards(scores, log_probs - reference, mask, kl_coef if in_reward else 0.0)
    if method.whiten_rewards:
        rewards = adv.whiten(rewards, mask, shift_mean=False)
    advantages, returns = adv.generalised_advantages(rewards, values, mask, gamma=method.gamma, lam=method.lam)
    unit = 1.0
    if method.whiten_advantages:
        unit = float(advantages[mask].std()) if int(mask.sum()) > 1 else 1.0
        advantages = adv.whiten(advantages, mask)
    return Experience(
        pairs=[(row.prompt.ids, row.answer.ids) for row in rollouts],
        mask=mask,
        log_probs=log_probs,
        reference=reference,
        values=values,
        advantages=advantages,
        returns=returns,
        kl_weight=0.0 if in_reward else kl_coef / max(unit, 1e-4),
    )
