"""The callback of transformers' Trainer that passes the rows of log.jsonl on to trackers (trackers.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from finetune.trackers import History


class Passing(TrainerCallback):
    """Looks for new rows whenever something has been logged; in the first process alone."""

    def __init__(self, history: History) -> None:
        self.history = history

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pass the row on that has just been written."""
        if state.is_world_process_zero:
            self.history.forward()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Pass on what is left."""
        self.on_log(args, state, control)
