"""PPO's losses as pure functions of one number for each token.

Shape (N,): the answer tokens of a micro-batch, one after the other, without padding. Every loss returns a sum, as in
finetune/losses.py: the update divides by the number of tokens of the whole minibatch, so that accumulation and several
processes weigh every token the same.
"""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantages: Tensor, cliprange: float, dual_clip: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return the summed clipped surrogate loss, and where (N,) the clip decided it.

    -min(rho A, clip(rho, 1 - eps, 1 + eps) A) with rho = pi / pi_old (Schulman et al. 2017, equation 7). With
    `dual_clip` c > 1 the loss of a token with A < 0 is at most -c A, whatever rho (Ye et al. 2020,
    https://arxiv.org/abs/1912.09729, equation 5).
    """
    ratio = (log_probs - old_log_probs).exp()
    plain = -ratio * advantages
    clipped = -ratio.clamp(1 - cliprange, 1 + cliprange) * advantages
    loss = torch.maximum(plain, clipped)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    return loss.sum(), clipped > plain


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, cliprange: float | None) -> tuple[Tensor, Tensor]:
    """Return half the summed squared error, and where (N,) the clip decided it.

    The larger of the errors of V and of V held within `cliprange` of the old V (Ziegler et al. 2019); None: no clip.
    """
    plain = (values - returns).square()
    if cliprange is None:
        return plain.sum() / 2, torch.zeros_like(plain, dtype=torch.bool)
    held = old_values + (values - old_values).clamp(-cliprange, cliprange)
    clipped = (held - returns).square()
    return torch.maximum(plain, clipped).sum() / 2, clipped > plain
