"""What a run shows of itself: a row of numbers for each iteration, one line on the terminal, statistics of answers."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetune.ppo.advantages import explained_variance
from finetune.ppo.experience import Experience
from finetune.ppo.rollout import Rollout


def answer_statistics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Return mean score, KL to the reference (nats an answer), length (tokens), share that ended, distinct pairs."""
    numbers = {
        "reward": mean([row.score for row in rollouts]),
        "kl": mean([row.kl for row in rollouts]),
        "length": mean([len(row.answer.ids) for row in rollouts]),
        "eos_share": mean([row.answer.finished for row in rollouts]),
        "distinct_2": distinct(rollouts, 2),
    }
    if rollouts[0].gold is not None:
        numbers["gold"] = mean([row.gold or 0.0 for row in rollouts])
    return numbers


def distinct(rollouts: Sequence[Rollout], n: int) -> float:
    """Return the share of different ones among all runs of n tokens (Li et al. 2016, arXiv:1510.03055); 1 if none."""
    runs = [tuple(row.answer.ids[i : i + n]) for row in rollouts for i in range(len(row.answer.ids) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def experience_statistics(experience: Experience) -> dict[str, float]:
    """Return how well the value function foresaw the returns, and both means."""
    values, returns = experience.values[experience.mask], experience.returns[experience.mask]
    return {
        "explained_variance": explained_variance(values, returns),
        "value_mean": float(values.mean()),
        "return_mean": float(returns.mean()),
    }


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return math.fsum(values) / len(values)


def with_error(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return a mean and its standard error."""
    average = mean(values)
    spread = math.fsum((value - average) ** 2 for value in values) / max(1, len(values) - 1)
    return {name: average, f"{name}_stderr": math.sqrt(spread / len(values))}


class Log:
    """log.jsonl and the terminal; silent on all processes but the first."""

    def __init__(self, path: Path, name: str, total: int, every: int, first: int, *, main: bool) -> None:
        self.path, self.name, self.total, self.every, self.first, self.main = path, name, total, every, first, main
        self.began = self.shown = time.monotonic()
        if main:
            # Forget what was logged behind the checkpoint that the run goes on from.
            rows = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            path.write_text("".join(f"{row}\n" for row in rows[:first]), encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Append one iteration's row; show it when it is its turn and the last line is some seconds old."""
        if not self.main:
            return
        finite = {key: value if math.isfinite(value) else None for key, value in row.items()}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(finite) + "\n")
        now, step = time.monotonic(), int(row["step"])
        if step == self.total or (step % self.every == 0 and now - self.shown > 5):
            self.shown = now
            left = (now - self.began) / (step - self.first) * (self.total - step)
            what = "  ".join(f"{key} {row[key]:.2f}" for key in ("reward", "gold", "kl", "length") if key in row)
            self.say(f"{step:>4}/{self.total}  {what}  {left:.0f} s left")

    def say(self, text: str) -> None:
        """Show a line on the terminal."""
        if self.main:
            print(f"  {self.name} {text}", file=sys.stderr, flush=True)
