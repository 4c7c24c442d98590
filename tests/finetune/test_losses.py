"""Losses against numbers worked by hand and against plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from finetune import losses


def test_next_token_loss_is_the_plain_sum() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 6, 11), torch.randint(0, 11, (3, 6))
    labels[0, :3] = -100
    labels[2, 5] = -100
    by_hand = sum(
        -float(logits[b, t - 1].log_softmax(-1)[labels[b, t]])
        for b in range(3)
        for t in range(1, 6)
        if labels[b, t] >= 0
    )
    assert float(losses.next_token_loss(logits, labels)) == pytest.approx(by_hand, rel=1e-5)


def test_sequence_log_probs_are_sums_per_row() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, 7), torch.tensor([[-100, -100, 3, 1, -100], [-100, 2, 0, 6, 5]])
    rows = [
        sum(float(logits[b, t - 1].log_softmax(-1)[labels[b, t]]) for t in range(1, 5) if labels[b, t] >= 0)
        for b in range(2)
    ]
    assert losses.sequence_log_probs(logits, labels).tolist() == pytest.approx(rows, rel=1e-5)


def test_dpo_is_ln2_when_policy_equals_reference() -> None:
    log_p = torch.tensor([[-3.0, -8.0], [-4.0, -1.0]])
    loss, margins = losses.dpo_loss(log_p, log_p, 0.1, torch.ones(2))
    assert float(loss) == pytest.approx(2 * math.log(2))
    assert margins.tolist() == [0.0, 0.0]


def test_dpo_by_hand() -> None:
    # log ratios: chosen +1.0, rejected -0.5; beta 0.2 -> margin 0.3; -log sigma(0.3) = 0.5543552
    policy, reference = torch.tensor([[-2.0], [-5.5]]), torch.tensor([[-3.0], [-5.0]])
    loss, margins = losses.dpo_loss(policy, reference, 0.2, torch.ones(1))
    assert float(margins) == pytest.approx(0.3)
    assert float(loss) == pytest.approx(0.5543552, abs=1e-6)


def test_disagreement_mixes_the_mirrored_loss() -> None:
    policy, reference = torch.tensor([[-2.0], [-5.5]]), torch.tensor([[-3.0], [-5.0]])
    loss, _ = losses.dpo_loss(policy, reference, 0.2, torch.tensor([0.75]))
    # -log sigma(-0.3) = 0.8543552
    assert float(loss) == pytest.approx(0.75 * 0.5543552 + 0.25 * 0.8543552, abs=1e-6)


def test_bradley_terry_by_hand() -> None:
    chosen, rejected = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])
    # -log sigma(1) = 0.3132617; with margin 1 on the second: -log sigma(-1) = 1.3132617
    loss = losses.bradley_terry_loss(chosen, rejected, torch.tensor([0.0, 1.0]), torch.ones(2))
    assert float(loss) == pytest.approx(0.3132617 + 1.3132617, abs=1e-6)
