"""Training losses as pure functions of tensors.

Shapes: B sequences or pairs, T positions, V vocabulary. Every loss returns a sum, not a mean: the trainer divides by
the number of items (tokens or pairs) of the whole optimiser step, so that gradient accumulation and several processes
weigh every item the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy (nats) of labels (B, T) under logits (B, T, V), shifted by one; -100: left out.

    Only rows of `logits` that have a target are turned to float32, so a masked prompt costs no vocabulary-wide work.
    """
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    counted = targets.ne(-100)
    return cross_entropy(logits[:, :-1][counted].float(), targets[counted], reduction="sum")


def sequence_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p of the labelled tokens of each sequence, summed: (B,) in nats; labels (B, T) as above."""
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    losses = cross_entropy(logits[:, :-1].transpose(1, 2).float(), targets, reduction="none", ignore_index=-100)
    return -losses.sum(1)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor, agreement: Tensor) -> Tensor:
    """Return the summed pairwise loss of rewards chosen, rejected (B,).

    -log sigma(r_c - r_r - m) (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, eq. 1; the margin m as in Llama 2,
    https://arxiv.org/abs/2307.09288, eq. 2), mixed with its mirror image where people disagreed: `agreement` (B,) is
    the share of raters who preferred the chosen answer.
    """
    from torch.nn.functional import logsigmoid

    difference = chosen - rejected - margin
    return -(agreement * logsigmoid(difference) + (1 - agreement) * logsigmoid(-difference)).sum()


def dpo_loss(policy: Tensor, reference: Tensor, beta: float, agreement: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed DPO loss and the implicit reward margins (B,).

    policy, reference (2, B): log p of the chosen (row 0) and rejected (row 1) answers under policy and reference.
    -log sigma(beta (log ratio_c - log ratio_r)) (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, eq. 7), mixed
    with its mirror image by 1 - agreement (conservative DPO, Mitchell 2023, https://ericmitchell.ai/cdpo.pdf).
    """
    from torch.nn.functional import logsigmoid

    log_ratio = policy - reference
    margins = beta * (log_ratio[0] - log_ratio[1])
    loss = -(agreement * logsigmoid(margins) + (1 - agreement) * logsigmoid(-margins)).sum()
    return loss, margins
