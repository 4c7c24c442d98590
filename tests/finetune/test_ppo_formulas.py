"""PPO's pure functions against numbers worked by hand, plain double sums, and what must not matter."""

from __future__ import annotations

import math

import pytest
import torch

from finetune.ppo import advantages as adv
from finetune.ppo import losses

MASK = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.7), (1.0, 1.0), (0.99, 0.0)])
def test_advantages_are_the_plain_double_sum(gamma: float, lam: float) -> None:
    rewards, values = numbers(0, 3, 4), numbers(1, 3, 4)
    found, returns = adv.generalised_advantages(rewards, values, MASK, gamma=gamma, lam=lam)
    for row, length in enumerate(MASK.sum(1).tolist()):
        v = [*values[row, :length].tolist(), 0.0]
        deltas = [float(rewards[row, t]) + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            wanted = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length))
            assert float(found[row, t]) == pytest.approx(wanted, abs=1e-12)
            assert float(returns[row, t]) == pytest.approx(wanted + v[t], abs=1e-12)
    assert not found[~MASK].any()
    assert not returns[~MASK].any()


def test_with_lambda_one_returns_are_the_rewards_still_to_come() -> None:
    rewards, values = numbers(0, 3, 4), numbers(1, 3, 4)
    _, returns = adv.generalised_advantages(rewards, values, MASK, gamma=1.0, lam=1.0)
    to_come = (rewards * MASK).flip(1).cumsum(1).flip(1)
    assert torch.allclose(returns[MASK], to_come[MASK])


def test_padding_does_not_change_advantages() -> None:
    rewards, values = numbers(0, 3, 4), numbers(1, 3, 4)
    narrow = adv.generalised_advantages(rewards[:1, :3], values[:1, :3], MASK[:1, :3], gamma=0.9, lam=0.8)
    rewards[0, 3], values[0, 3] = 1e9, math.inf  # whatever stands in the padding
    wide = adv.generalised_advantages(rewards[:1], values[:1], MASK[:1], gamma=0.9, lam=0.8)
    assert torch.equal(wide[0][:, :3], narrow[0])
    assert torch.equal(wide[1][:, :3], narrow[1])


def test_score_lands_on_the_last_real_token() -> None:
    kl = torch.full((3, 4), 2.0)
    rewards = adv.token_rewards(torch.tensor([10.0, 20.0, 30.0]), kl, MASK, kl_coef=0.5)
    wanted = torch.tensor([[-1, -1, 9, 0], [19, 0, 0, 0], [-1, -1, -1, 29]], dtype=torch.float32)
    assert torch.equal(rewards, wanted)


def test_kl_estimators_by_hand() -> None:
    log_ratio = torch.tensor([0.0, math.log(2), -math.log(2)])
    assert torch.allclose(adv.kl_estimate(log_ratio, "k1"), log_ratio)
    assert torch.allclose(adv.kl_estimate(log_ratio, "k2"), log_ratio**2 / 2)
    # exp(-log 2) - 1 + log 2 and exp(log 2) - 1 - log 2
    assert torch.allclose(adv.kl_estimate(log_ratio, "k3"), torch.tensor([0.0, math.log(2) - 0.5, 1 - math.log(2)]))


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_unbiased_kl_estimators_have_the_right_mean(kind: adv.KlEstimator) -> None:
    p, q = numbers(0, 50).softmax(0), numbers(1, 50).softmax(0)
    mean = (p * adv.kl_estimate(p.log() - q.log(), kind)).sum()
    assert float(mean) == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-12)


def test_whitening_counts_only_the_mask() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0, 1e9], [4.0, -1e9, 7.0, 7.0], [5.0, 6.0, 7.0, 8.0]])
    white = adv.whiten(values, MASK)
    assert float(white[MASK].mean()) == pytest.approx(0, abs=1e-6)
    assert float(white[MASK].var()) == pytest.approx(1, abs=1e-6)
    assert not white[~MASK].any()
    # 1 ... 8: mean 4.5, unbiased variance 6
    assert float(white[0, 0]) == pytest.approx(-3.5 / math.sqrt(6))
    scaled = adv.whiten(values, MASK, shift_mean=False)
    assert torch.allclose(scaled[MASK], white[MASK] + 4.5)


def test_whitening_one_token_or_equal_tokens_stays_finite() -> None:
    one = torch.tensor([[3.0]])
    assert adv.whiten(one, torch.ones_like(one, dtype=torch.bool)).tolist() == [[0.0]]
    equal = torch.full((2, 2), 3.0)
    assert not adv.whiten(equal, torch.ones_like(equal, dtype=torch.bool)).any()


def test_explained_variance() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0])
    assert adv.explained_variance(returns, returns) == 1
    assert adv.explained_variance(torch.full((3,), 9.0), returns) == 0
    assert math.isnan(adv.explained_variance(returns, torch.ones(3)))


def test_adaptive_kl_coefficient_goes_towards_the_target_and_is_clipped() -> None:
    def new(kl: float) -> float:
        return adv.adapted_kl_coef(0.1, kl, target=6, horizon=1000, episodes=100)

    assert new(6) == 0.1
    assert new(6.6) == pytest.approx(0.1 * 1.01)
    assert new(60) == pytest.approx(0.1 * 1.02)
    assert new(0) == pytest.approx(0.1 * 0.98)


def test_pad() -> None:
    padded, mask = adv.pad([[1.0, 2.0], [3.0]])
    assert padded.tolist() == [[1, 2], [3, 0]]
    assert mask.tolist() == [[True, True], [True, False]]


def test_policy_loss_by_hand() -> None:
    ratio = torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5], dtype=torch.float64)
    advantages = torch.tensor([2.0, 1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    old = numbers(0, 5)
    loss, clipped = losses.policy_loss(old + ratio.log(), old, advantages, cliprange=0.2)
    # -2, then -1.2 (clipped), 1.5, -0.5, 0.8 (clipped)
    assert float(loss) == pytest.approx(-2 - 1.2 + 1.5 - 0.5 + 0.8)
    assert clipped.tolist() == [False, True, False, False, True]


def test_policy_gradient_at_ratio_one_is_that_of_reinforce() -> None:
    log_probs = numbers(0, 6).requires_grad_()
    advantages = numbers(1, 6)
    losses.policy_loss(log_probs, log_probs.detach(), advantages, cliprange=0.2)[0].backward()
    assert torch.equal(log_probs.grad, -advantages)


def test_a_clipped_token_has_no_gradient() -> None:
    log_probs = torch.tensor([0.5, -0.5], requires_grad=True)
    losses.policy_loss(log_probs, torch.zeros(2), torch.tensor([1.0, -1.0]), cliprange=0.2)[0].backward()
    assert log_probs.grad.tolist() == [0, 0]


def test_dual_clip_bounds_the_loss_of_bad_tokens_only() -> None:
    log_ratio = torch.tensor([10.0, 10.0]).log()
    advantages = torch.tensor([-1.0, 1.0])
    without, _ = losses.policy_loss(log_ratio, torch.zeros(2), advantages, cliprange=0.2)
    with_it, _ = losses.policy_loss(log_ratio, torch.zeros(2), advantages, cliprange=0.2, dual_clip=3.0)
    assert float(without) == pytest.approx(10 - 1.2)
    assert float(with_it) == pytest.approx(3 - 1.2)


def test_value_loss_by_hand() -> None:
    values, old = torch.tensor([1.0, 1.0, 0.1]), torch.zeros(3)
    returns = torch.tensor([2.0, 0.9, 1.0])
    loss, clipped = losses.value_loss(values, old, returns, cliprange=0.2)
    # (0.2 - 2)^2 beats (1 - 2)^2; (0.2 - 0.9)^2 beats (1 - 0.9)^2; within the range both are equal
    assert float(loss) == pytest.approx((1.8**2 + 0.7**2 + 0.9**2) / 2)
    assert clipped.tolist() == [True, True, False]
    assert float(losses.value_loss(values, old, returns, cliprange=None)[0]) == pytest.approx((1 + 0.01 + 0.81) / 2)
