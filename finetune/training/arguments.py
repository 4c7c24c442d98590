"""A recipe's training section as transformers' `TrainingArguments`, and how many steps it comes to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from finetune.models import told
from recipes import optimizers
from recipes.sections import Training


def planned_steps(training: Training, rows: int, processes: int) -> int:
    """Return the number of optimiser steps; the last one of an epoch may have fewer rows."""
    if training.max_steps > 0:
        return training.max_steps
    batches = math.ceil(rows / (training.per_device_train_batch_size * processes))
    return math.ceil(training.num_train_epochs * math.ceil(batches / training.gradient_accumulation_steps))


def arguments(
    training: Training,
    folder: Path,
    steps: int,
    seed: int,
    *,
    validate: bool,
    by_length: bool,
    checkpointing: bool,
    kernels: dict[str, Any],
) -> TrainingArguments:
    """Return transformers' arguments for a run of `steps` optimiser steps whose checkpoints go to `folder`.

    What the loop does itself (saving, choosing the best, stopping, reporting) is switched off in them.

    Raises:
        UserError: transformers refuses a value.
    """
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
        "lr_scheduler_kwargs": schedule(training, steps),
        "warmup_steps": round(training.warmup_ratio * steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "adam_beta2": training.adam_beta2,
        "optim": optimizers.argument(training.optim),
        "activation_checkpointing": checkpointing,
        "logging_steps": training.logging_steps,
        "eval_strategy": "steps" if validate and training.eval_steps else "no",
        "eval_steps": training.eval_steps or None,
        "save_strategy": "steps",
        "save_steps": training.save_steps or max(1, steps // 10),
        "train_sampling_strategy": "group_by_length" if by_length else "random",
        "use_cpu": on_cpu,
        "dataloader_pin_memory": not on_cpu,
        "ddp_find_unused_parameters": False,
        "remove_unused_columns": False,
        # It looks at the loss on the host in every step; `Progress` looks at each logged one.
        "logging_nan_inf_filter": False,
        "disable_tqdm": True,
        "report_to": "none",
    }
    values |= kernels
    values.update({name: value for name, value in training.extra.items() if name != "lr_scheduler_kwargs"})
    with told("training", "write a value that transformers' TrainingArguments takes"):
        return TrainingArguments(**values)


def schedule(training: Training, steps: int) -> dict[str, Any]:
    """Return the learning rate schedule's own arguments: those of the recipe, and how long WSD decays."""
    given = dict(training.extra.get("lr_scheduler_kwargs") or {})
    if training.lr_scheduler_type == "warmup_stable_decay":
        given.setdefault("num_decay_steps", max(1, round(training.decay_ratio * steps)))
    return given
