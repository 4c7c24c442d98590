"""A thin subclass of transformers' `Trainer` for all stages but PPO.

What it changes, and why:
- A stage's loss is a pure function that returns a *sum* over its items (tokens, pairs). It is divided by the number of
  items of the whole optimiser step, over all micro-batches and processes, so every item weighs the same.
- Validation is item-weighted too (Trainer's own eval_loss is a mean of batch means).
- Nothing in a step waits for the device: sums stay there until a row of the history is written.
- Checkpoints are whole or not at all (saving.py); the best one is chosen by the history alone (selection.py).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from transformers import Trainer
from transformers.trainer_utils import seed_worker

from finetune import memory, optimizers, throughput
from finetune.training import noise, sampling, saving, selection
from finetune.training.progress import no_number
from recipes.errors import UserError
from recipes.sections import Training

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
        training: Training,
        **arguments: Any,
    ) -> None:
        config = arguments["model"].config
        use_cache = getattr(config, "use_cache", None)
        super().__init__(**arguments)  # sets the config's use_cache, which would be saved with the model
        if use_cache is not None:
            config.use_cache = use_cache
        self.loss, self.score, self.choice, self.training = loss, score, choice, training
        self.keep_best = training.load_best_model_at_end and self.eval_dataset is not None
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        background = self.args.device.type == "cuda" and not sharded
        self.saver = saving.Saver(self, Path(self.args.output_dir), training.save_total_limit, background=background)
        self._tokens = torch.zeros((), dtype=torch.long, device=self.args.device)
        self._tokens_logged, self._logged_at, self._aside = 0, time.monotonic(), 0.0
        self.peak = throughput.peak_flops(self.args.device)
        self.flops = self._flops() if self.peak else 0.0

    def _flops(self) -> float:
        """Return the operations of a token, as some rows of the data set let expect."""
        rows = self.train_dataset.rows
        batch = self.data_collator([rows[at] for at in range(0, len(rows), max(1, len(rows) // 64))])
        alone = "target_index" in batch  # the output layer is computed for the tokens that count, and for no other
        counted = float(batch["count"]) / max(1.0, float(batch["tokens"])) if alone else 1.0
        return throughput.flops_per_token(self.model, document_length(rows), counted)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Make the recipe's optimiser: with float32 masters, and with those that transformers does not have."""
        if self.optimizer is None:  # type: ignore[has-type]
            sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
            self.optimizer = optimizers.create(model or self.model, self.training.optim, self.args, sharded=sharded)
        return self.optimizer

    def floating_point_ops(self, inputs: Batch) -> int:
        """Return nothing: Trainer would count the model's parameters anew in each micro-batch."""
        return 0

    def get_train_dataloader(self) -> Any:
        """Return this process's micro-batches, in an order that seed and epoch alone decide."""
        args, rows = self.args, self.train_dataset
        lengths = None
        if args.train_sampling_strategy == "group_by_length":
            lengths = [len(row["input_ids"]) for row in rows.rows]
        batches = sampling.Batches(
            len(rows),
            self._train_batch_size,
            args.data_seed,
            rank=args.process_index,
            world=args.world_size,
            # Of a whole step: the order is that of one process with as many rows a step.
            group=args.gradient_accumulation_steps,
            lengths=lengths,
            shuffle=args.train_sampling_strategy != "sequential",
        )
        loader = torch.utils.data.DataLoader(
            rows,
            batch_sampler=batches,
            collate_fn=partial(with_filler, self.data_collator),
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            worker_init_fn=partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index),
        )
        # As if alone: the batches are this process's own already.
        return prepare_data_loader(
            loader, args.device, 1, 0, put_on_device=True, non_blocking=args.device.type == "cuda"
        )

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
        alpha = self.training.neftune_noise_alpha
        with (
            memory.offloading(self.model, self.training, self.args.device),
            noise.on_embeddings(self.model, alpha, inputs),
        ):
            total, _ = self.loss(model, inputs)
        if "filler" in inputs:
            total = total * 0
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
            reported = ", ".join(sorted(name.removeprefix("eval_") for name in metrics if name != "epoch"))
            what = f"no validation reports {self.choice.key!r}"
            raise UserError("training.metric_for_best_model", what, f"write one of {reported}")
        history = self.state.log_history
        found = selection.best(history, self.choice)
        is_best = bool(found and found[0] == self.state.global_step)
        if is_best and self.keep_best:
            self.control.should_save = True
        if selection.should_stop(history, self.choice):
            self.control.should_training_stop = True
        return is_best

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint of this step.

        Raises:
            UserError: loss or weights are no numbers, so that a run could not go on from it.
        """
        began = time.monotonic()
        self._require_numbers()
        found = selection.best(self.state.log_history, self.choice) if self.keep_best else None
        self.saver.save(found[0] if found else None)
        self._aside += time.monotonic() - began

    def _require_numbers(self) -> None:
        """Refuse loss or weights that are no numbers; in all processes, whichever has them."""
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        fine = torch.stack([self._tr_loss.isfinite().all(), *(weight.isfinite().all() for weight in trained)]).all()
        if not bool(self.accelerator.gather(fine[None]).all()):
            raise no_number("training", self.state.global_step, "loss or weights are nan or infinite")

    def start_clock(self) -> None:
        """Measure speed from now on."""
        self._logged_at, self._aside = time.monotonic(), 0.0

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

    def gather_weights(self) -> None:
        """Leave whole weights, where each process has trained a shard, for `models.save` to write."""
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            model = self.accelerator.unwrap_model(self.model)
            model.gathered_weights = self.accelerator.get_state_dict(self.model_wrapped)

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


def with_filler(collate: Callable[[Sequence[dict[str, Any]]], Batch], rows: Sequence[dict[str, Any]]) -> Batch:
    """Return a batch of rows; one of a filler alone counts nothing."""
    if not rows[0].get("filler"):
        return collate(rows)
    bare = {name: value for name, value in rows[0].items() if name != "filler"}
    batch = {**collate([bare]), "filler": True}
    return batch | {name: torch.zeros_like(batch[name]) for name in ("count", "tokens") if name in batch}
