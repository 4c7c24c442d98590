"""The loop: roll out, score, estimate advantages, update; again.

Before the first and after the last iteration the policy answers held-out prompts with the same random numbers, so the
manifest says what training did, and samples.jsonl shows it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from data_prep.records import write_rows
from finetune.ppo import checkpoint, monitor
from finetune.ppo.advantages import adapted_kl_coef
from finetune.ppo.experience import Scale, from_rollouts
from finetune.ppo.prompts import TokenPrompt, deal, derived_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from finetune.ppo.rollout import Rollout, Sampler
    from finetune.ppo.settings import Method, Optimisation
    from finetune.ppo.update import Updater
    from recipes.artifact import Work

SAMPLES = 40


@dataclass
class State:
    """What changes while a run goes on, beside weights and optimiser."""

    iteration: int = 0
    kl_coef: float = 0.0
    scale: Scale = field(default_factory=Scale)
    before: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Ppo:
    """One run of PPO; `train` is the whole of it."""

    method: Method
    training: Optimisation
    sampler: Sampler
    updater: Updater
    prompts: Sequence[TokenPrompt]
    held_out: Sequence[TokenPrompt]
    seed: int
    work: Work
    state: State = field(default_factory=State)
    clock: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("rollout", "update"), 0.0))

    def train(self) -> dict[str, Any]:
        """Train the policy, from the last checkpoint if the run was cut short; return the metrics."""
        if not self._resume():
            self._begin()
        log = monitor.Log(
            self.work.path / "log.jsonl",
            "ppo",
            self.method.iterations,
            self.training.logging_steps,
            self.state.iteration,
            main=self.work.main,
        )
        if self.state.iteration:
            log.say(f"going on from iteration {self.state.iteration}")
        while self.state.iteration < self.method.iterations:
            log.write(self._iterate())
            if self.state.iteration % self.training.save_steps == 0 or self.state.iteration == self.method.iterations:
                self._save()
        return self._judge()

    def _iterate(self) -> dict[str, float]:
        """Roll out, score, estimate advantages, update."""
        iteration, state = self.state.iteration, self.state
        chosen = deal(len(self.prompts), self.method.rollout_batch_size, iteration, self.seed)
        with self._timed("rollout"):
            rollouts = self.sampler.collect(
                [self.prompts[index] for index in chosen], derived_seed(self.seed, "rollout", iteration)
            )
        experience = from_rollouts(rollouts, self.method, state.kl_coef, state.scale)
        with self._timed("update"):
            report = self.updater.update(
                experience,
                derived_seed(self.seed, "update", iteration),
                rate_scale(iteration, self.method, self.training),
            )
        answers = monitor.answer_statistics(rollouts)
        row = {"step": iteration + 1, **answers, "kl_coef": state.kl_coef, **report}
        if self.method.adaptive_kl_target is not None:
            state.kl_coef = adapted_kl_coef(
                state.kl_coef,
                answers["kl"],
                target=self.method.adaptive_kl_target,
                horizon=self.method.adaptive_kl_horizon,
                episodes=len(rollouts),
            )
        state.iteration += 1
        return row | monitor.experience_statistics(experience)

    def _begin(self) -> None:
        """Set what a fresh run starts with: the KL coefficient, the scale of scores, the answers before training."""
        self.state.kl_coef = self.method.kl_coef
        if self.method.normalize_score:
            self.state.scale = self._scale()
            self._fit_value_head(self.state.scale)
        self.state.before = [_sample(row) for row in self._answer_held_out()]

    def _scale(self) -> Scale:
        """Measure the mean and deviation of the reference's scores, on training prompts (Ziegler et al. 2019)."""
        chosen = deal(len(self.prompts), self.method.rollout_batch_size, 0, derived_seed(self.seed, "scale"))
        seed = derived_seed(self.seed, "scale")
        rollouts = self.sampler.collect([self.prompts[index] for index in chosen], seed, values=False)
        scores = torch.tensor([row.score for row in rollouts], dtype=torch.float64)
        return Scale(float(scores.mean()), max(float(scores.std()), 1e-6))

    def _fit_value_head(self, scale: Scale) -> None:
        """Shift and scale a value head that came from the reward model as the scores are."""
        head = self.sampler.roles.value_head
        with torch.no_grad():
            if head.weight.any():
                head.bias.sub_(scale.mean).div_(scale.deviation)
                head.weight.div_(scale.deviation)

    def _answer_held_out(self) -> list[Rollout]:
        seed = derived_seed(self.seed, "held out")
        return self.sampler.collect(self.held_out, seed, values=False) if self.held_out else []

    def _judge(self) -> dict[str, Any]:
        """Answer the held-out prompts again; write samples.jsonl and return what training changed."""
        after = [_sample(row) for row in self._answer_held_out()]
        total = sum(self.clock.values()) or 1.0
        metrics: dict[str, Any] = {
            "iterations": self.state.iteration,
            "rollouts": self.state.iteration * self.method.rollout_batch_size,
            "kl_coef": self.state.kl_coef,
            "time_share": {name: round(seconds / total, 3) for name, seconds in self.clock.items()},
        }
        if after:
            metrics |= comparison(self.state.before, after)
            rows = [
                {"prompt": prompt.messages, "before": old, "after": new}
                for prompt, old, new in zip(self.held_out, self.state.before, after, strict=True)
            ]
            if self.work.main:
                write_rows(self.work.path / "samples.jsonl", rows[:SAMPLES])
        return metrics

    def _save(self) -> None:
        if self.work.main:
            state = {
                "iteration": self.state.iteration,
                "kl_coef": self.state.kl_coef,
                "scale": [self.state.scale.mean, self.state.scale.deviation],
                "before": self.state.before,
                "weights": self.sampler.roles.trained_state(),
                "optimizer": self.updater.optimizer.state_dict(),
            }
            checkpoint.save(self.work.scratch, state)
        self.sampler.accelerator.wait_for_everyone()

    def _resume(self) -> bool:
        stored = checkpoint.load(self.work.scratch)
        self.sampler.accelerator.wait_for_everyone()
        if stored is None:
            return False
        self.state = State(stored["iteration"], stored["kl_coef"], Scale(*stored["scale"]), stored["before"])
        self.sampler.roles.load_trained_state(stored["weights"])
        self.updater.optimizer.load_state_dict(stored["optimizer"])
        return True

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.clock[what] += time.monotonic() - began


def rate_scale(iteration: int, method: Method, training: Optimisation) -> float:
    """Return the schedule's factor of the learning rate: warm-up, then down to (nearly) 0 over all iterations."""
    warmup = training.warmup_ratio * method.iterations
    if iteration < warmup:
        return (iteration + 1) / (math.floor(warmup) + 1)
    progress = (iteration - warmup) / (method.iterations - warmup)
    if training.lr_scheduler_type == "linear":
        return 1 - progress
    return (1 + math.cos(math.pi * progress)) / 2 if training.lr_scheduler_type == "cosine" else 1.0


def _sample(row: Rollout) -> dict[str, Any]:
    """Return what is kept of a held-out answer."""
    kept = {"text": row.answer.text, "reward": row.score, "kl": row.kl, "length": len(row.answer.ids)}
    kept["finished"] = row.answer.finished
    return kept if row.gold is None else kept | {"gold": row.gold}


def comparison(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return means with standard errors before and after, and of the difference on the same prompts."""
    names = [name for name in ("reward", "gold", "kl", "length", "finished") if name in after[0]]
    found: dict[str, Any] = {"held_out": len(after), "before": {}, "after": {}, "change": {}}
    for name in names:
        old, new = [float(row[name]) for row in before], [float(row[name]) for row in after]
        found["before"] |= monitor.with_error(name, old)
        found["after"] |= monitor.with_error(name, new)
        if name in ("reward", "gold"):
            found["change"] |= monitor.with_error(name, [b - a for a, b in zip(old, new, strict=True)])
    return found
