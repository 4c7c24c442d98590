"""One batch of experience -> optimiser steps on the policy and the value function.

Every process holds the whole batch and takes its share of each minibatch; gradients are summed over processes and
divided by the number of tokens of the whole minibatch. So every token weighs the same, and a step is the same for any
number of processes and any micro-batch size, up to the order of float additions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from finetune.ppo import advantages as adv
from finetune.ppo import losses
from finetune.ppo import roles as ppo_roles
from finetune.ppo.prompts import derived_seed
from recipes.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from finetune.ppo.experience import Experience
    from finetune.ppo.roles import Roles
    from finetune.ppo.settings import Method, Optimisation

# What a step reports, each summed over tokens.
SUMS = ("policy_loss", "value_loss", "clip_share", "value_clip_share", "approx_kl", "drift")
# Largest |log ratio| before the first step, in nats: sampling and training see the same policy, or they do not.
DRIFT = 1e-3


@dataclass
class Updater:
    """Holds the optimiser; `update` trains on one batch of experience."""

    roles: Roles
    method: Method
    training: Optimisation
    temperature: float
    accelerator: Accelerator
    optimizer: torch.optim.AdamW = field(init=False)

    def __post_init__(self) -> None:
        rate = self.training.learning_rate
        groups: list[dict[str, Any]] = [
            {"params": self.roles.policy_parameters(), "rate": rate},
            {"params": self.roles.value_parameters(), "rate": self.training.value_learning_rate or rate},
        ]
        betas = (0.9, self.training.adam_beta2)
        decay, epsilon = self.training.weight_decay, self.training.adam_epsilon
        self.optimizer = torch.optim.AdamW(groups, lr=rate, betas=betas, eps=epsilon, weight_decay=decay)

    def update(self, experience: Experience, seed: int, scale: float) -> dict[str, float]:
        """Train for num_ppo_epochs and return what to report; `scale` (0 to 1) is the schedule's part of the rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * scale
        report = Report()
        for number, rows in enumerate(self._minibatches(len(experience.pairs), seed)):
            sums = self._gradients(experience, rows, first=number == 0)
            report.add(sums)
            if number == 0:
                self._check_drift(sums)
            if self.method.target_kl is not None and sums["approx_kl"] / sums["tokens"] > self.method.target_kl:
                self.optimizer.zero_grad()
                break
            report.norms.append([self._clip(group["params"]) for group in self.optimizer.param_groups])
            self.optimizer.step()
            self.optimizer.zero_grad()
        return report.means() | {"learning_rate": self.training.learning_rate * scale}

    def _minibatches(self, count: int, seed: int) -> Iterator[list[int]]:
        for epoch in range(self.method.num_ppo_epochs):
            generator = torch.Generator().manual_seed(derived_seed(seed, "epoch", epoch))
            order = torch.randperm(count, generator=generator)
            for rows in order.tensor_split(self.method.num_mini_batches):
                yield rows.tolist()

    def _gradients(self, experience: Experience, rows: Sequence[int], *, first: bool) -> dict[str, float]:
        """Put the gradient of the minibatch's mean loss into the parameters; return sums over its tokens."""
        # Rows of like length share a micro-batch, and long and short ones are dealt evenly to the processes.
        ordered = sorted(rows, key=lambda row: sum(map(len, experience.pairs[row])), reverse=True)
        count = sum(len(experience.pairs[row][1]) for row in rows)
        mine = ordered[self.accelerator.process_index :: self.accelerator.num_processes]
        size = self.training.per_device_train_batch_size
        sums = dict.fromkeys((*SUMS, "entropy", "counted", "largest_drift"), 0.0)
        for start in range(0, len(mine), size):
            found = self._backward(experience, mine[start : start + size], count, first=first)
            largest = max(sums["largest_drift"], found.pop("largest_drift"))
            sums = {name: sums[name] + found.get(name, 0.0) for name in sums} | {"largest_drift": largest}
        return self._over_processes(sums) | {"tokens": float(count)}

    def _backward(self, experience: Experience, rows: list[int], count: int, *, first: bool) -> dict[str, float]:
        """Add one micro-batch's share of the gradient; `count` is the number of tokens of the whole minibatch."""
        device = self.roles.device
        tokens = ppo_roles.arrange([experience.pairs[row] for row in rows], device)
        old_log_probs, reference, old_values, advantages, returns = (
            experience.flat(rows, getattr(experience, name)).to(device)
            for name in ("log_probs", "reference", "values", "advantages", "returns")
        )
        with self.roles.acting("policy"):
            states = self.roles.states(tokens)
            kind: ppo_roles.Entropy = "gradient" if self.method.entropy_coef > 0 else "number" if first else "none"
            log_probs, entropy = self.roles.log_probs(states, tokens.targets, self.temperature, kind)
            loss, clipped = losses.policy_loss(
                log_probs, old_log_probs, advantages, self.method.cliprange, self.method.dual_clip
            )
            total = loss - self.method.entropy_coef * entropy.sum()
            if experience.kl_weight:
                kl = adv.kl_estimate(log_probs - reference, self.method.kl_estimator)
                total = total + experience.kl_weight * kl.sum()
            if self.roles.shares_trunk:
                value, value_clipped = self._value(states, old_values, returns)
                total = total + self.method.vf_coef * value
            (total / count).backward()
        if not self.roles.shares_trunk:
            with self.roles.acting("value"):
                value, value_clipped = self._value(self.roles.states(tokens), old_values, returns)
                (self.method.vf_coef * value / count).backward()
        log_ratio = (log_probs - old_log_probs).detach()
        found = {
            "policy_loss": loss,
            "value_loss": value,
            "clip_share": clipped.sum(),
            "value_clip_share": value_clipped.sum(),
            # k3 with the roles of old and new swapped: samples are from the old policy.
            "approx_kl": (torch.expm1(log_ratio) - log_ratio).sum(),
            "drift": log_ratio.abs().sum(),
            "largest_drift": log_ratio.abs().max(),
        }
        if kind != "none":
            found |= {"entropy": entropy.sum(), "counted": torch.tensor(float(len(entropy)))}
        return {name: float(number.detach()) for name, number in found.items()}

    def _value(self, states: Tensor, old_values: Tensor, returns: Tensor) -> tuple[Tensor, Tensor]:
        return losses.value_loss(self.roles.values(states), old_values, returns, self.method.cliprange_value)

    def _over_processes(self, sums: dict[str, float]) -> dict[str, float]:
        """Sum gradients and reports over all processes."""
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        for parameter in parameters:
            if parameter.grad is None:  # a process whose share of a small minibatch is empty
                parameter.grad = torch.zeros_like(parameter)
        if self.accelerator.num_processes == 1:
            return sums
        gradients = torch.cat([parameter.grad.flatten().float() for parameter in parameters])
        parts = self.accelerator.reduce(gradients, reduction="sum").split([each.numel() for each in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad.copy_(part.view_as(parameter))
        mine = torch.tensor(list(sums.values()), dtype=torch.float64, device=self.roles.device)
        gathered = self.accelerator.gather(mine[None])
        return dict(zip(sums, gathered.sum(0).tolist(), strict=True)) | {"largest_drift": float(gathered[:, -1].max())}

    def _clip(self, parameters: list[nn.Parameter]) -> float:
        """Hold a gradient within max_grad_norm; return the norm that it had.

        Raises:
            UserError: it is not finite, so a step would ruin the weights.
        """
        norm = float(nn.utils.clip_grad_norm_(parameters, self.training.max_grad_norm))
        if not math.isfinite(norm):
            write = "lower learning_rate, or load the model in float32; the run goes on from its last checkpoint"
            raise UserError("training.learning_rate", f"a gradient is {norm}", write)
        return norm

    def _check_drift(self, sums: dict[str, float]) -> None:
        """Refuse to train when the ratio is not 1 before the first step.

        Half-precision weights round the cached and the whole forward pass differently; there the mean has to be small.

        Raises:
            UserError: the sampler's log-probs are not those of the training pass.
        """
        whole = next(self.roles.model.parameters()).dtype == torch.float32
        mean, largest = sums["drift"] / sums["tokens"], sums["largest_drift"]
        if not math.isfinite(largest) or (largest > DRIFT if whole else mean > 0.1):
            what = f"log-probs of sampling and training differ by {largest:.3g} nats (mean {mean:.3g}) before any step"
            write = "use a model whose output is its head on its last hidden state, or `attn_implementation: eager`"
            raise UserError("model", what, write)


@dataclass
class Report:
    """Gathers what the steps of one update report."""

    sums: list[dict[str, float]] = field(default_factory=list)
    norms: list[list[float]] = field(default_factory=list)

    def add(self, sums: dict[str, float]) -> None:
        """Take one minibatch's sums in."""
        self.sums.append(sums)

    def means(self) -> dict[str, float]:
        """Return means over the tokens of all steps; drift is that before the first one, entropy that where counted."""
        tokens = sum(each["tokens"] for each in self.sums)
        means = {name: sum(each[name] for each in self.sums) / tokens for name in SUMS if name != "drift"}
        counted = sum(each["counted"] for each in self.sums)
        norms = list(zip(*self.norms, strict=True)) or [(math.nan,), (math.nan,)]
        return means | {
            "entropy": sum(each["entropy"] for each in self.sums) / counted,
            "log_ratio_drift": self.sums[0]["largest_drift"],
            "policy_gradient_norm": sum(norms[0]) / len(norms[0]),
            "value_gradient_norm": sum(norms[1]) / len(norms[1]),
            "steps": float(len(self.norms)),
        }
