"""The one training loop of all stages but PPO: a thin subclass of transformers' `Trainer`.

What it changes, and why:
- A stage's loss is a pure function that returns a *sum* over its items (tokens, pairs). It is divided by the number of
  items of the whole optimiser step, over all micro-batches and processes, so every item weighs the same.
- Validation is item-weighted too (Trainer's own eval_loss is a mean of batch means).
- A checkpoint counts only once it is whole: a marker with every file's size is written last, and a checkpoint without
  a matching marker is passed over when a run goes on after a kill.
- The terminal shows one line; the history goes to log.jsonl.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, TrainerCallback, TrainingArguments

from finetune.models import told
from recipes.errors import UserError
from recipes.launch import expect_world, world
from recipes.sections import Training

if TYPE_CHECKING:
    from recipes.artifact import Work

Batch = dict[str, Any]
# (model, batch) -> summed loss, and sums to report, each over the items of the batch
Loss = Callable[[Any, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
MARKER = "complete.json"


class StageTrainer(Trainer):
    """`Trainer` with a summed loss, exact item weighting, and validation by items."""

    loss_is_scaled_for_ga = True

    def __init__(self, *, loss: Loss, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.loss = loss

    def _get_num_items_in_batch(self, batch_samples: list[Batch], device: torch.device) -> torch.Tensor | None:
        """Count the items of one optimiser step over all its micro-batches and all processes."""
        if not batch_samples:
            return None
        count = torch.stack([batch["count"] for batch in batch_samples]).sum().to(device)
        return self.accelerator.gather(count).sum() if self.args.world_size > 1 else count

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the batch's share of the step's mean loss."""
        total, _ = self.loss(model, inputs)
        items = inputs["count"] if num_items_in_batch is None else num_items_in_batch
        # Data parallelism averages gradients over processes; the sum over all items is wanted.
        return total / items * self.args.world_size

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return `eval_loss`, and the mean of whatever else the loss reports, over all items of the validation rows.

        Each process takes its own rows, without the repeats with which a shared loader fills up uneven shares.
        """
        self.model.eval()
        rows = self.eval_dataset.rows[self.args.process_index :: self.args.world_size]
        size = self.args.per_device_eval_batch_size
        sums: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for start in range(0, len(rows), size):
                batch = self._prepare_inputs(self.data_collator(rows[start : start + size]))
                total, extra = self.loss(self.model, batch)
                for name, value in {"loss": total, "count": batch["count"], **extra}.items():
                    sums[name] = sums.get(name, torch.zeros((), device=value.device)) + value.detach().float()
        # A process may have had no row; all of them must take part in the sums.
        names = sorted(sums) if self.args.world_size == 1 else sorted(_union(sums))
        zero = torch.zeros((), device=self.args.device)
        gathered = {name: float(self.accelerator.gather(sums.get(name, zero)[None]).sum()) for name in names}
        count = gathered.pop("count")
        metrics = {f"eval_{name}": value / count for name, value in gathered.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)  # type: ignore[has-type]
        return metrics


def _union(names: Iterable[str]) -> set[str]:
    """Return the names that any process has."""
    from accelerate.utils import gather_object

    return set(gather_object(list(names)))


class Progress(TrainerCallback):
    """Writes log.jsonl and shows one line on the terminal."""

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log_file = name, log
        self.shown = self.began = time.monotonic()
        self.first = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forget what was logged behind the checkpoint that the run goes on from."""
        self.first, self.began = state.global_step, time.monotonic()
        rows = self.log_file.read_text(encoding="utf-8").splitlines() if self.log_file.exists() else []
        kept = [row for row in rows if json.loads(row)["step"] <= state.global_step]
        if state.is_world_process_zero:
            self.log_file.write_text("".join(f"{row}\n" for row in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Append one row of the history and show where the run is."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        row = {"step": state.global_step, **{key: float(value) for key, value in logs.items()}}
        with self.log_file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        now, done = time.monotonic(), state.global_step - self.first
        if done and (now - self.shown > 5 or state.global_step >= state.max_steps or "eval_loss" in row):
            self.shown = now
            left = (now - self.began) / done * (state.max_steps - state.global_step)
            what = "  ".join(f"{key} {row[key]:.3f}" for key in ("loss", "eval_loss", "eval_accuracy") if key in row)
            step = f"{state.global_step}/{state.max_steps}"
            print(f"  {self.name} {step:>9}  {what}  {left:.0f} s left", file=sys.stderr, flush=True)


class Marked(TrainerCallback):
    """Marks a checkpoint as whole once every file of it is on disk."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Write the marker last, when every process has written its own part (its random state)."""
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            mark(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def mark(folder: Path) -> None:
    """Write the marker of a whole checkpoint: every file's size, durably."""
    sizes = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != MARKER:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            sizes[str(file.relative_to(folder))] = file.stat().st_size
    temporary = folder / f"{MARKER}.new"
    temporary.write_text(json.dumps(sizes), encoding="utf-8")
    temporary.replace(folder / MARKER)


def last_whole_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole; say which ones are not, and remove them."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in found:
        marker = checkpoint / MARKER
        sizes = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None
        if sizes and all(
            (checkpoint / name).exists() and (checkpoint / name).stat().st_size == size for name, size in sizes.items()
        ):
            return checkpoint
        print(f"  {checkpoint.name} is not whole; going back to the one before", file=sys.stderr)
        shutil.rmtree(checkpoint)
    return None


def fit(
    model: Any,
    training: Training,
    train: Sequence[dict[str, Any]],
    validation: Sequence[dict[str, Any]],
    *,
    loss: Loss,
    collate: Callable[[Sequence[dict[str, Any]]], Batch],
    work: Work,
    seed: int,
    name: str,
    processes: int = 1,
    by_length: bool = False,
) -> dict[str, float]:
    """Train `model` in place, from the last whole checkpoint if the run was cut short; return the final metrics.

    Rows are whatever `collate` understands; a batch has `count`, the number of items that its summed loss covers.
    `by_length` puts rows of like length (of `input_ids`) into one batch.

    Raises:
        UserError: no training rows, or fewer processes than asked for.
    """
    if not train:
        raise UserError(
            name, "no training rows are left", "look at the data with `tuneloop show`, or allow longer rows"
        )
    steps = planned_steps(training, len(train), max(processes, world()))
    trainer = StageTrainer(
        model=model,
        loss=loss,
        args=arguments(training, work.scratch / "checkpoints", steps, seed, bool(validation), by_length),
        train_dataset=_Rows(train),
        eval_dataset=_Rows(validation) if validation else None,
        data_collator=collate,
        callbacks=[Progress(name, work.path / "log.jsonl"), Marked()],
    )
    # Its losses are means since the row before, which a resumed run counts from its checkpoint on.
    work.volatile.add("log.jsonl")
    expect_world(trainer.args.world_size, processes)
    processes = trainer.args.world_size
    _drop_default_printer(trainer)
    last = last_whole_checkpoint(work.scratch / "checkpoints") if trainer.is_world_process_zero() else None
    if processes > 1:
        from accelerate.utils import broadcast_object_list

        last = broadcast_object_list([last])[0]
    if last and trainer.is_world_process_zero():
        print(f"  {name}: going on from step {last.name.split('-')[1]}", file=sys.stderr)
    if last and int(last.name.split("-")[1]) >= steps:
        # Training was through, only what follows it was cut off: one more step would be one too many.
        trainer._load_from_checkpoint(str(last))
        trainer.state.global_step = trainer.state.max_steps = steps
    else:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    if not validation:
        return {}
    last_row = trainer.state.log_history[-1] if trainer.state.log_history else {}
    if "eval_loss" in last_row and last_row.get("step") == trainer.state.global_step:
        return {key: value for key, value in last_row.items() if key.startswith("eval_")}
    return {key: value for key, value in trainer.evaluate().items() if key.startswith("eval_")}


class _Rows(torch.utils.data.Dataset):
    """A list of rows as torch's Dataset."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]


def planned_steps(training: Training, rows: int, processes: int) -> int:
    """Return the number of optimiser steps."""
    if training.max_steps > 0:
        return training.max_steps
    a_step = training.per_device_train_batch_size * training.gradient_accumulation_steps * processes
    return max(1, round(training.num_train_epochs * rows / a_step))


def arguments(
    training: Training, folder: Path, steps: int, seed: int, validate: bool, by_length: bool
) -> TrainingArguments:
    """Return transformers' TrainingArguments for a recipe's training section."""
    on_cpu = not torch.cuda.is_available()
    values: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "seed": seed,
        "data_seed": seed,
        "learning_rate": training.learning_rate,
        "per_device_train_batch_size": training.per_device_train_batch_size,
        "per_device_eval_batch_size": training.per_device_eval_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "lr_scheduler_type": training.lr_scheduler_type,
        "warmup_steps": round(training.warmup_ratio * steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "adam_beta2": training.adam_beta2,
        "optim": training.optim,
        "activation_checkpointing": training.gradient_checkpointing,
        "logging_steps": training.logging_steps,
        "eval_strategy": "steps" if validate and training.eval_steps else "no",
        "eval_steps": training.eval_steps or None,
        "save_strategy": "steps",
        "save_steps": training.save_steps or max(1, steps // 10),
        "save_total_limit": training.save_total_limit,
        "train_sampling_strategy": "group_by_length" if by_length else "random",
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    values.update(training.extra)
    with told("training", "write a value that transformers' TrainingArguments takes"):
        return TrainingArguments(**values)


def _drop_default_printer(trainer: Trainer) -> None:
    """Take away the callback that prints dictionaries of strings."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
