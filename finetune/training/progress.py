"""What a run shows: one line on the terminal, and its history in log.jsonl."""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from recipes.errors import UserError

LINE_SECONDS = 5.0
SHOWN = ("loss", "eval_loss", "eval_accuracy")


class Progress(TrainerCallback):
    """Writes log.jsonl and shows one line on the terminal; in the first process alone."""

    def __init__(self, name: str, log: Path, key: str = "eval_loss") -> None:
        self.name, self.log_file = name, log
        self.shown_keys = (*SHOWN, *(() if key in SHOWN else (key,)))
        self.shown = self.began = time.monotonic()
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what was logged behind the checkpoint that the run goes on from."""
        self.first, self.began = state.global_step, time.monotonic()
        rows = self.log_file.read_text(encoding="utf-8").splitlines() if self.log_file.exists() else []
        kept = [row for row in rows if _step_of(row) <= state.global_step]
        if state.is_world_process_zero:
            self.log_file.write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Append one row of the history and show where the run is.

        Raises:
            UserError: the loss is no number any more.
        """
        if not logs or "train_runtime" in logs:
            return
        row = {"step": state.global_step, **{key: float(value) for key, value in logs.items()}}
        if state.is_world_process_zero:
            with self.log_file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            self._show(row, state)
        if not math.isfinite(row.get("loss", 0.0)):
            raise no_number(self.name, state.global_step, f"the loss is {row['loss']}")

    def _show(self, row: dict[str, float], state: Any) -> None:
        now, done = time.monotonic(), state.global_step - self.first
        last = state.global_step >= state.max_steps
        if not done or (now - self.shown <= LINE_SECONDS and not last and "eval_loss" not in row):
            return
        self.shown = now
        left = (now - self.began) / done * (state.max_steps - state.global_step)
        parts = [f"{key} {row[key]:.3f}" for key in self.shown_keys if key in row]
        if "tokens_per_second" in row:
            parts.append(f"{row['tokens_per_second']:,.0f} tokens/s")
        if "mfu" in row:
            parts.append(f"MFU {row['mfu']:.1%}")
        step = f"{state.global_step}/{state.max_steps}"
        print(f"  {self.name} {step:>9}  {'  '.join(parts)}  {left:.0f} s left", file=sys.stderr, flush=True)


def no_number(name: str, step: int, what: str) -> UserError:
    """Return what to tell when training has come to something that is no number."""
    write = "lower training.learning_rate, raise training.warmup_ratio, or write model.dtype: float32"
    return UserError(f"{name}, step {step}", what, write)


def _step_of(row: str) -> float:
    """Return the step of a line of the history; a line that a kill has cut in two counts as one to come."""
    try:
        return float(json.loads(row)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
