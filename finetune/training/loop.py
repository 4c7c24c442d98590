"""The one training loop of all stages but PPO: a thin subclass of transformers' `Trainer`.

What it changes, and why:
- A stage's loss is a pure function that returns a *sum* over its items (tokens, pairs). It is divided by the number of
  items of the whole optimiser step, over all micro-batches and processes, so every item weighs the same.
- Validation is item-weighted too (Trainer's own eval_loss is a mean of batch means).
- Nothing in a step waits for the device: sums stay there until a row of the history is written.
- Checkpoints are whole or not at all (saving.py); the best one is chosen by the history alone (selection.py).
- The terminal shows one line; the history goes to log.jsonl (progress.py).
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, Trainer, TrainerCallback

from finetune import optimizers, throughput, trackers
from finetune.freezing import trainable_parameters
from finetune.training import sampling, saving, selection
from finetune.training.arguments import arguments, planned_steps
from finetune.training.progress import Progress
from recipes.errors import UserError
from recipes.launch import expect_world, world
from recipes.sections import Training

if TYPE_CHECKING:
    from recipes.artifact import Work

Batch = dict[str, Any]
# (model, batch) -> summed loss, and sums to report, each over the items of the batch
Loss = Callable[[Any, Batch], tuple[torch.Tensor, dict[str, torch.Tensor]]]
Score = Callable[[Any], dict[str, float]]


class StageTrainer(Trainer):
    """`Trainer` with a summed loss, exact item weighting, validation by items, and checkpoints of our own."""

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        loss: Loss,
        score: Score | None,
        choice: selection.Choice,
        keep_best: bool,
        keep: int,
        optim: str,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.loss, self.score, self.choice, self.keep_best, self.optim = loss, score, choice, keep_best, optim
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        background = self.args.device.type == "cuda" and not sharded
        self.saver = saving.Saver(self, Path(self.args.output_dir), keep, background=background)
        self._tokens = torch.zeros((), dtype=torch.long, device=self.args.device)
        self._tokens_logged, self._logged_at, self._aside = 0, time.monotonic(), 0.0
        self.peak = throughput.peak_flops(self.args.device)
        self.flops = (
            throughput.flops_per_token(self.model, document_length(self.train_dataset.rows)) if self.peak else 0
        )

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the recipe's optimiser: with float32 masters, and with those that transformers does not have."""
        if self.optimizer is None:  # type: ignore[has-type]
            sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
            self.optimizer = optimizers.create(model or self.model, self.optim, self.args, sharded=sharded)
        return self.optimizer

    def floating_point_ops(self, inputs: Batch) -> int:
        """Return nothing: Trainer would count the model's parameters anew in each micro-batch."""
        return 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return the order of the rows; where like lengths share a batch, one that an epoch alone decides."""
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        lengths = [len(row["input_ids"]) for row in self.train_dataset.rows]
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return sampling.ByLength(lengths, batch, self.args.data_seed)

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
        self._tokens += inputs["tokens"] if "tokens" in inputs else inputs["input_ids"].numel()
        items = inputs["count"] if num_items_in_batch is None else num_items_in_batch
        # Data parallelism averages gradients over processes; the sum over all items is wanted.
        return total / items * self.args.world_size

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a row of the history; one of training with the tokens so far and the speed since the row before."""
        if "loss" in logs:
            tokens = int(self.accelerator.gather(self._tokens[None]).sum())
            seconds = time.monotonic() - self._logged_at - self._aside
            logs["tokens"] = tokens
            speed = logs["tokens_per_second"] = (tokens - self._tokens_logged) / max(seconds, 1e-9)
            if self.peak:
                logs["mfu"] = throughput.mfu(speed, self.flops, self.peak, self.args.world_size)
            self._tokens_logged, self._logged_at, self._aside = tokens, time.monotonic(), 0.0
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return `eval_loss`, and the mean of whatever else the loss reports, over all items of the validation rows.

        Each process takes its own rows, without the repeats with which a shared loader fills up uneven shares.
        """
        began, was_training = time.monotonic(), self.model.training
        self.model.eval()
        with torch.no_grad():
            sums = self._sums_of_validation()
        count = sums.pop("count")
        metrics = {f"eval_{name}": value / count for name, value in sums.items()}
        if self.score is not None:
            metrics |= {f"eval_{name}": float(value) for name, value in self.score(self.model).items()}
        self.model.train(was_training)
        self._aside += time.monotonic() - began
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)  # type: ignore[has-type]
        return metrics

    def _sums_of_validation(self) -> dict[str, float]:
        """Return the loss, the number of items and what else the loss reports, summed over all processes."""
        every = self.eval_dataset.rows
        rows, size = every[self.args.process_index :: self.args.world_size], self.args.per_device_eval_batch_size
        sums: dict[str, torch.Tensor] = {}
        # As many forward passes as the process with most rows has: sharded weights are gathered by all at once.
        for start in range(0, math.ceil(len(every) / self.args.world_size), size):
            own = rows[start : start + size]
            batch = self._prepare_inputs(self.data_collator(own or every[:1]))
            total, extra = self.loss(self.model, batch)
            for name, value in {"loss": total, "count": batch["count"], **extra}.items():
                value = value.detach().double() if own else torch.zeros((), dtype=torch.double, device=value.device)
                sums[name] = sums[name] + value if name in sums else value
        if self.args.world_size == 1:
            return {name: float(value) for name, value in sums.items()}
        zero = torch.zeros((), dtype=torch.double, device=self.args.device)
        gather = self.accelerator.gather
        return {name: float(gather(sums.get(name, zero)[None]).sum()) for name in sorted(_union(sums))}

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Say whether this validation is the best so far; have it kept, and stop a run that gets no better."""
        if self.choice.key not in metrics:
            reported = ", ".join(sorted(name.removeprefix("eval_") for name in metrics))
            what = f"no validation reports {self.choice.key!r}"
            raise UserError("training.metric_for_best_model", what, f"write one of {reported}")
        history = self.state.log_history
        found = selection.best(history, self.choice)
        is_best = bool(found and found[0] == self.state.global_step)
        if is_best and self.keep_best:
            self.control.should_save = True
        if self.choice.patience and selection.waited(history, self.choice) >= self.choice.patience:
            self.control.should_training_stop = True
        return is_best

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint of this step."""
        began = time.monotonic()
        found = selection.best(self.state.log_history, self.choice) if self.keep_best else None
        self.saver.save(found[0] if found else None)
        self._aside += time.monotonic() - began

    def carried(self) -> dict[str, Any]:
        """Return what a run that goes on must know of this process, besides what Trainer keeps."""
        return {
            "tr_loss": float(self._tr_loss),
            "last_logged": self._globalstep_last_logged,
            "tokens": int(self._tokens),
        }

    def take_up(self, checkpoint: Path) -> None:
        """Take up what a checkpoint says of this process: the loss since the last row of the history, tokens so far."""
        file = checkpoint / saving.LOOP.format(rank=self.args.process_index)
        if not file.exists():  # another number of processes
            return
        values = json.loads(file.read_text(encoding="utf-8"))
        self._tr_loss += values["tr_loss"]
        self._globalstep_last_logged = values["last_logged"]
        self._tokens += values["tokens"]
        self._tokens_logged = int(self.accelerator.gather(self._tokens[None]).sum())

    def load_best(self) -> dict[str, float]:
        """Take the weights of the best checkpoint; return its row of the history.

        Raises:
            UserError: it is damaged.
        """
        found = selection.best(self.state.log_history, self.choice)
        if found is None:
            return {}
        folder = Path(self.args.output_dir) / f"{saving.WHOLE}{found[0]}"
        if found[0] != self.state.global_step or folder.exists():
            if not saving.is_whole(folder):
                raise UserError(str(folder), "the best checkpoint is damaged", "run the same command again")
            self.state.best_model_checkpoint = str(folder)
            self._load_best_model()
        return next(row for row in self.state.log_history if row.get("step") == found[0] and self.choice.key in row)


def document_length(rows: Sequence[dict[str, Any]], looked_at: int = 256) -> float:
    """Return the mean over tokens of their document's length, from rows all over the data set."""
    lengths = []
    for at in range(0, len(rows), max(1, len(rows) // looked_at)):
        row = rows[at]
        ends = [*[int(start) for start in row.get("starts", ())[1:]], len(row["input_ids"])]
        lengths += [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return throughput.weighted_length(lengths)


def _union(names: Iterable[str]) -> set[str]:
    """Return the names that any process has."""
    from accelerate.utils import gather_object

    return set(gather_object(list(names)))


class GoesOn(TrainerCallback):
    """Gives a run that goes on what transformers' trainer has no place for."""

    def __init__(self) -> None:
        self.trainer: StageTrainer | None = None
        self.checkpoint: Path | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take up the checkpoint's own state once the loop has set up its."""
        if self.trainer is not None:
            self.trainer._logged_at = time.monotonic()
            if self.checkpoint is not None:
                self.trainer.take_up(self.checkpoint)


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

    Rows are whatever `collate` understands; a batch has `count`, the number of items that its summed loss covers, and
    may have `tokens`, the number of real ones. `by_length` puts rows of like length (of `input_ids`) into one batch.
    `score(model)` gives further entries for each validation; all processes call it and must get the same.

    Raises:
        UserError: no training rows, fewer processes than asked for, a loss that is no number.
    """
    if not train:
        raise UserError(
            name, "no training rows are left", "look at the data with `tuneloop show`, or allow longer rows"
        )
    steps = planned_steps(training, len(train), max(processes, world()))
    choice = selection.Choice.of(training)
    goes_on = GoesOn()
    work.metrics["trainable_parameters"] = trainable_parameters(model)
    trainer = StageTrainer(
        model=model,
        loss=loss,
        score=score,
        choice=choice,
        keep_best=training.load_best_model_at_end and bool(validation),
        keep=training.save_total_limit,
        optim=training.optim,
        args=arguments(
            training,
            work.scratch / "checkpoints",
            steps,
            seed,
            validate=bool(validation),
            by_length=by_length,
            checkpointing=training.gradient_checkpointing is True,
        ),
        train_dataset=_Rows(train),
        eval_dataset=_Rows(validation) if validation else None,
        data_collator=collate,
        callbacks=[Progress(name, work.path / "log.jsonl", choice.key), goes_on],
    )
    # It holds speeds.
    work.volatile.add("log.jsonl")
    expect_world(trainer.args.world_size, processes)
    trainer.remove_callback(PrinterCallback)
    last = _last_checkpoint(trainer, work.scratch / "checkpoints", name)
    goes_on.trainer, goes_on.checkpoint = trainer, last
    followers = trackers.callbacks(training.report_to, work.path, name, saving.step_of(last) if last else 0)
    for follower in followers:
        trainer.add_callback(follower)
    _train(trainer, last, steps)
    metrics = _final(trainer, training, work) if validation else {}
    work.volatile |= trackers.close(followers)
    return metrics


def _last_checkpoint(trainer: StageTrainer, folder: Path, name: str) -> Path | None:
    """Return the checkpoint to go on from, the same in all processes."""
    last = saving.last_whole(folder) if trainer.is_world_process_zero() else None
    if trainer.args.world_size > 1:
        from accelerate.utils import broadcast_object_list

        last = broadcast_object_list([last])[0]
    if last and trainer.is_world_process_zero():
        print(f"  {name}: going on from step {saving.step_of(last)}", file=sys.stderr, flush=True)
    return last


def _train(trainer: StageTrainer, last: Path | None, steps: int) -> None:
    """Train to the end; a run that was cut after its last step is not trained further."""
    if last:
        history = json.loads((last / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
        stopped = trainer.choice.patience and selection.waited(history, trainer.choice) >= trainer.choice.patience
        if stopped or saving.step_of(last) >= steps:
            trainer._load_from_checkpoint(str(last))
            trainer.state.global_step = saving.step_of(last)
            trainer.state.max_steps = steps
            trainer.state.log_history = history
            return
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    trainer.saver.wait()


def _final(trainer: StageTrainer, training: Training, work: Work) -> dict[str, float]:
    """Validate the last step if that was not done, choose the best if the recipe wants it; return its metrics."""
    history = trainer.state.log_history
    validated = [row for row in history if row.get("step") == trainer.state.global_step and "eval_loss" in row]
    row = validated[-1] if validated else trainer.evaluate()
    if training.load_best_model_at_end:
        row = trainer.load_best() or row
        work.metrics["best_step"] = row.get("step", trainer.state.global_step)
    work.metrics["steps"] = trainer.state.global_step
    return {key: value for key, value in row.items() if key.startswith("eval_")}


class _Rows(torch.utils.data.Dataset):
    """A list of rows as torch's Dataset."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]
