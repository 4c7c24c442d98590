"""From scores to advantages: KL penalties, rewards for each token, whitening, generalised advantage estimation.

Pure functions. Shapes: B answers, T tokens; answers are padded on the right, `mask` (B, T) is True at their tokens.
Index t of an answer is one step: the state is the prompt with the tokens before t, the action is token t.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

KlEstimator = Literal["k1", "k2", "k3"]


def pad(rows: Sequence[Sequence[float]]) -> tuple[Tensor, Tensor]:
    """Return rows of numbers as a tensor (B, T) padded with 0 on the right, and its mask (B, T)."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max()))[None, :] < lengths[:, None]
    padded = torch.zeros(mask.shape)
    padded[mask] = torch.tensor([value for row in rows for value in row], dtype=padded.dtype)
    return padded, mask


def kl_estimate(log_ratio: Tensor, kind: KlEstimator) -> Tensor:
    """Estimate KL(pi || ref) at each sampled token from log_ratio = log pi(a) - log ref(a), in nats.

    k1 is unbiased and may be negative; k2 is biased and of low variance; k3 is unbiased and never negative
    (Schulman 2020, http://joschu.net/blog/kl-approx.html). What estimates well need not train well: see experience.py.
    """
    if kind == "k1":
        return log_ratio
    if kind == "k2":
        return log_ratio.square() / 2
    return torch.expm1(-log_ratio) + log_ratio


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """Return rewards (B, T): -kl_coef * kl at every token, and the answer's score (B,) at its last token too.

    Ouyang et al. 2022, equation 2. The last token is the last real one, EOS or the one that the answer was cut at.
    """
    rewards = torch.where(mask, -kl_coef * kl, 0.0)
    last = mask.sum(1) - 1
    return rewards.scatter_add(1, last[:, None], scores[:, None])


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale values to variance 1 over the whole mask, and to mean 0 unless `shift_mean` is False; 0 elsewhere.

    The variance is the unbiased one; 1e-8 keeps equal values from blowing up.
    """
    inside = values[mask]
    mean = inside.mean()
    variance = (inside - mean).square().sum() / max(1, inside.numel() - 1)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    return torch.where(mask, whitened if shift_mean else whitened + mean, 0.0)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Return advantages and returns (B, T), 0 outside the mask.

    A_t = sum_l (gamma lam)^l delta_{t+l}, delta_t = r_t + gamma V_{t+1} - V_t (Schulman et al. 2016,
    https://arxiv.org/abs/1506.02438, equation 16). The end of an answer is terminal, also where it was cut: V is 0
    behind it. Returns are A + V, the targets of the value function.
    """
    values = torch.where(mask, values, 0.0)
    following = torch.cat([values[:, 1:], values.new_zeros(len(values), 1)], 1)
    deltas = torch.where(mask, rewards + gamma * following - values, 0.0)
    advantages = torch.zeros_like(values)
    running = values.new_zeros(len(values))
    for step in reversed(range(values.shape[1])):
        # Padding stands on the right, where deltas are 0, so the sum is still 0 when it reaches the last real token.
        running = deltas[:, step] + gamma * lam * running
        advantages[:, step] = running
    return advantages, advantages + values


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns): 1 is a perfect value function, 0 one that knows the mean."""
    spread = returns.var(correction=0)
    return float(1 - (returns - values).var(correction=0) / spread) if spread > 0 else float("nan")


def adapted_kl_coef(kl_coef: float, kl: float, *, target: float, horizon: float, episodes: int) -> float:
    """Return the next KL coefficient, given the mean KL of a batch of answers (nats an answer).

    Proportional control with the error clipped to 20 % (Ziegler et al. 2019, section 2.2); `horizon` is the number of
    answers over which the coefficient may change by a factor of about e^0.2.
    """
    error = min(0.2, max(-0.2, kl / target - 1))
    return kl_coef * (1 + error * episodes / horizon)
