"""The one training loop of all stages but PPO: from rows to trained weights, however often it is cut short.

The trainer itself is in stage_trainer.py. Here: going on from the last whole checkpoint, what surrounds a run (progress
line, history, trackers), memory that does not do, and which weights are the result.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback

from finetune import curves, liger, memory, out_of_memory, trackers
from finetune.freezing import trainable_parameters
from finetune.training import saving, selection
from finetune.training.arguments import arguments, planned_steps
from finetune.training.progress import Progress
from finetune.training.sampling import Rows
from finetune.training.stage_trainer import Batch, Loss, Score, StageTrainer
from recipes.errors import UserError
from recipes.launch import expect_world, rank, world
from recipes.sections import Training

if TYPE_CHECKING:
    from recipes.artifact import Work


@dataclass(frozen=True)
class Job:
    """What `fit` was asked to do, besides the recipe's training section."""

    model: Any
    train: Sequence[dict[str, Any]]
    validation: Sequence[dict[str, Any]]
    loss: Loss
    collate: Callable[[Sequence[dict[str, Any]]], Batch]
    work: Work
    seed: int
    name: str
    processes: int
    by_length: bool
    score: Score | None

    def tokens_in(self, micro_batch: int, looked_at: int = 512) -> int:
        """Return how many tokens, padding among them, the largest of some micro-batches has."""
        rows = [self.train[at] for at in range(0, len(self.train), max(1, len(self.train) // looked_at))]
        longest = sorted(rows, key=lambda row: len(row["input_ids"]))[-micro_batch:]
        return int(self.collate(longest)["input_ids"].numel()) * micro_batch // len(longest)


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
    score: Score | None = None,
) -> dict[str, float]:
    """Train `model` in place, from the last whole checkpoint if the run was cut short; return the final metrics.

    Rows are whatever `collate` understands, with `input_ids` by whose length they are judged; a batch has `count`, the
    number of items that its summed loss covers, and may have `tokens`, the number of real ones. `by_length` puts rows
    of like length into one batch. `score(model)` gives further entries for each validation; all processes call it and
    must get the same.

    Raises:
        UserError: no training rows, fewer processes than asked for, a loss that is no number, no memory left.
    """
    if not train:
        raise UserError(
            name, "no training rows are left", "look at the data with `tuneloop show`, or allow longer rows"
        )
    job = Job(model, train, validation, loss, collate, work, seed, name, max(processes, world()), by_length, score)
    work.metrics["trainable_parameters"] = trainable_parameters(model)
    work.volatile.add("log.jsonl")  # it holds speeds
    while True:
        try:
            return _attempt(job, training)
        except Exception as error:
            if not out_of_memory.is_out_of_memory(error):
                raise
            training = _with_less_memory(job, training, error)
        # Out of the handler, whose error held the failed step's tensors.
        model.zero_grad(set_to_none=True)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _attempt(job: Job, training: Training) -> dict[str, float]:
    """Train to the end with these settings; return the final metrics."""
    trainer = _trainer(job, training)
    last = _last_checkpoint(trainer, job)
    followers = trackers.callbacks(training.report_to, job.work.path, job.name, saving.step_of(last) if last else 0)
    for callback in (_GoesOn(trainer, last), *followers):
        trainer.add_callback(callback)
    try:
        _train(trainer, last)
        metrics = _final(trainer, job.work) if job.validation else {}
    finally:
        job.work.volatile |= trackers.close(followers)
    job.work.metrics["steps"] = trainer.state.global_step
    if job.work.main:
        job.work.volatile |= curves.write(job.work.path / "log.jsonl", job.work.path, job.name)
    trainer.gather_weights()
    return metrics


def _trainer(job: Job, training: Training) -> StageTrainer:
    """Return the trainer for one attempt."""
    steps = planned_steps(training, len(job.train), job.processes)
    choice = selection.Choice.of(training)
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
    tokens = job.tokens_in(training.per_device_train_batch_size)
    plan = memory.plan(job.model, training, tokens, device, job.processes)
    if plan.said and rank() == 0:
        print(f"  {job.name}: {plan.said}", file=sys.stderr, flush=True)
    trainer = StageTrainer(
        model=job.model,
        loss=job.loss,
        score=job.score,
        choice=choice,
        training=training,
        args=arguments(
            training,
            job.work.scratch / "checkpoints",
            steps,
            job.seed,
            validate=bool(job.validation),
            by_length=job.by_length,
            checkpointing=plan.gradient_checkpointing,
            kernels=kernels(training, job.model, device),
        ),
        train_dataset=Rows(job.train),
        eval_dataset=Rows(job.validation) if job.validation else None,
        data_collator=job.collate,
        callbacks=[Progress(job.name, job.work.path / "log.jsonl", choice.key)],
    )
    expect_world(trainer.args.world_size, job.processes)
    trainer.remove_callback(PrinterCallback)
    return trainer


def kernels(training: Training, model: Any, device: torch.device) -> dict[str, Any]:
    """Return the arguments that put Liger's kernels into a model: on a GPU by default, where they are installed.

    Raises:
        UserError: the recipe wants them where they cannot be had.
    """
    found = {} if training.use_liger_kernel is False else liger.arguments(model, device.type)
    if training.use_liger_kernel and not found:
        what = "true, but Liger's kernels need a GPU, the package liger-kernel, and one of "
        write = "leave the key out: they are used where they can be"
        raise UserError("training.use_liger_kernel", what + ", ".join(liger.FAMILIES), write)
    return found


def _with_less_memory(job: Job, training: Training, error: Exception) -> Training:
    """Return the next smaller micro-batch, where the recipe allows it and the process works alone.

    Raises:
        UserError: what was held, and what to change.
    """
    smaller = out_of_memory.smaller(training) if training.auto_find_batch_size and job.processes == 1 else None
    if smaller is not None:
        size, steps = smaller.per_device_train_batch_size, smaller.gradient_accumulation_steps
        print(
            f"  {job.name}: out of memory; going on with {size} rows at a time, {steps} times a step", file=sys.stderr
        )
        job.work.metrics["per_device_train_batch_size"] = size
        return smaller
    device = next(job.model.parameters()).device
    raise out_of_memory.advice(
        training,
        job.model,
        out_of_memory.peak_bytes(device),
        tokens_per_micro_batch=job.tokens_in(training.per_device_train_batch_size),
        device=device,
        processes=job.processes,
        name=job.name,
    ) from error


class _GoesOn(TrainerCallback):
    """Gives a run that goes on what transformers' trainer has no place for."""

    def __init__(self, trainer: StageTrainer, checkpoint: Path | None) -> None:
        self.trainer, self.checkpoint = trainer, checkpoint

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take up the checkpoint's own state once the loop has set up its."""
        self.trainer.start_clock()
        if self.checkpoint is not None:
            self.trainer.take_up(self.checkpoint)
        elif self.trainer.training.auto_find_batch_size:
            self.trainer.saver.save(None)  # memory may run out before the first checkpoint


def _last_checkpoint(trainer: StageTrainer, job: Job) -> Path | None:
    """Return the checkpoint to go on from, the same in all processes."""
    last = saving.last_whole(Path(trainer.args.output_dir)) if trainer.is_world_process_zero() else None
    if trainer.args.world_size > 1:
        from accelerate.utils import broadcast_object_list

        last = broadcast_object_list([last])[0]
    if last and trainer.is_world_process_zero() and saving.step_of(last):
        print(f"  {job.name}: going on from step {saving.step_of(last)}", file=sys.stderr, flush=True)
    return last


def _train(trainer: StageTrainer, last: Path | None) -> None:
    """Train to the end; a run that was cut after its last step is not trained further."""
    if last:
        history = json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        if selection.should_stop(history, trainer.choice) or saving.step_of(last) >= trainer.args.max_steps:
            trainer._load_from_checkpoint(str(last))
            trainer.state.global_step = saving.step_of(last)
            trainer.state.max_steps = trainer.args.max_steps
            trainer.state.log_history = history
            return
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.saver.wait()


def _final(trainer: StageTrainer, work: Work) -> dict[str, float]:
    """Validate the last step if that was not done, choose the best if the recipe wants it; return its metrics."""
    history = trainer.state.log_history
    validated = [row for row in history if row.get("step") == trainer.state.global_step and "eval_loss" in row]
    row = validated[-1] if validated else trainer.evaluate()
    if trainer.keep_best:
        row = trainer.load_best() or row
        work.metrics["best_step"] = row.get("step", trainer.state.global_step)
    return {key: value for key, value in row.items() if key.startswith("eval_")}
