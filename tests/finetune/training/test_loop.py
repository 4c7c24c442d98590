"""The training loop: items weigh the same however they are cut into batches, and a cut run goes on as if never cut."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import packing
from finetune.models import load
from finetune.stages.sft import answer_loss
from finetune.training import loop as trainer
from recipes.sections import Training


@dataclass
class Work:
    """The part of a run's work folder that the trainer uses."""

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    volatile: set[str] = field(default_factory=set)

    @property
    def scratch(self) -> Path:
        return self.path / ".scratch"


def rows(count: int, seed: int = 0) -> list[dict[str, list[int]]]:
    """Rows of very different lengths and masks, so that wrong weighting shows."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in range(count):
        length = 4 + (index * 7) % 30
        ids = torch.randint(5, 300, (length,), generator=generator).tolist()
        made.append({"input_ids": ids, "mask": [int(position >= length // 3) for position in range(length)]})
    return made


def train(folder: Path, tiny: Path, data: list[Any], *, validation: list[Any] | None = None, **keys: Any) -> Any:
    torch.manual_seed(0)
    loaded = load(str(tiny), trainable=True)
    training = Training(
        **{"learning_rate": 1e-2, "max_steps": 4, "logging_steps": 1, "lr_scheduler_type": "constant", **keys}
    )
    work = Work(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = trainer.fit(
        loaded.model, training, data, validation or [], loss=answer_loss, collate=packing.collate_tokens,
        work=work, seed=1, name="test",
    )  # fmt: skip
    return loaded.model, metrics


def weights(model: Any) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def test_accumulation_equals_the_big_batch(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(8)
    big, _ = train(tmp_path / "a", tiny_model_dir, data, per_device_train_batch_size=8, max_steps=2, optim="sgd")
    small, _ = train(
        tmp_path / "b", tiny_model_dir, data, per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=2,
        optim="sgd",
    )  # fmt: skip
    start = weights(load(str(tiny_model_dir)).model)
    assert not torch.allclose(weights(big), start, atol=1e-5)
    assert torch.allclose(weights(big), weights(small), atol=1e-6)


def test_the_gradient_is_that_of_the_mean_over_tokens(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(5)
    model, _ = train(
        tmp_path, tiny_model_dir, data, per_device_train_batch_size=5, max_steps=1, optim="sgd", warmup_ratio=0,
        max_grad_norm=1e9,
    )  # fmt: skip
    plain = load(str(tiny_model_dir), trainable=True).model
    losses = []
    for row in data:  # one row at a time: no padding, no batch
        log_p = plain(torch.tensor([row["input_ids"]])).logits[0].log_softmax(-1)
        losses += [-log_p[t - 1, row["input_ids"][t]] for t in range(1, len(row["mask"])) if row["mask"][t]]
    torch.stack(losses).mean().backward()
    with torch.no_grad():
        for value in plain.parameters():
            if value.grad is not None:
                value -= 1e-2 * value.grad
    assert torch.allclose(weights(model), weights(plain), atol=1e-6)


def test_validation_loss_is_weighted_by_tokens(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(7)
    found = [
        train(
            tmp_path / str(size),
            tiny_model_dir,
            data,
            validation=data,
            per_device_eval_batch_size=size,
            learning_rate=1e-9,
        )[1]
        for size in (1, 3, 7)
    ]
    assert found[0]["eval_loss"] == pytest.approx(found[1]["eval_loss"], rel=1e-5)
    assert found[0]["eval_loss"] == pytest.approx(found[2]["eval_loss"], rel=1e-5)


def test_one_batch_can_be_memorised(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(2)
    _, metrics = train(tmp_path, tiny_model_dir, data, validation=data, max_steps=60, per_device_train_batch_size=2)
    assert metrics["eval_loss"] < 0.1
    assert metrics["eval_accuracy"] == 1.0


def test_a_cut_run_goes_on_bit_for_bit(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(10)
    keys = {"max_steps": 8, "save_steps": 2, "per_device_train_batch_size": 3, "lr_scheduler_type": "cosine"}
    whole, _ = train(tmp_path / "whole", tiny_model_dir, data, validation=data, save_total_limit=9, **keys)
    history = (tmp_path / "whole" / "log.jsonl").read_text()
    # What a kill leaves: whole checkpoints up to step 4, a half-written one, and a history that had run ahead.
    checkpoints = tmp_path / "cut" / ".scratch" / "checkpoints"
    for step in (2, 4, 6):
        shutil.copytree(
            tmp_path / "whole/.scratch/checkpoints" / f"checkpoint-{step}", checkpoints / f"checkpoint-{step}"
        )
    weights_file = checkpoints / "checkpoint-6" / "model.safetensors"
    weights_file.write_bytes(weights_file.read_bytes()[:1000])
    (tmp_path / "cut" / "log.jsonl").write_text("".join(f"{row}\n" for row in history.splitlines()[:6]))
    resumed, _ = train(tmp_path / "cut", tiny_model_dir, data, validation=data, **keys)
    assert torch.equal(weights(whole), weights(resumed))

    def losses(text: str) -> list[tuple[int, float]]:
        return [(row["step"], row["loss"]) for row in map(json.loads, text.splitlines()) if "loss" in row]

    assert losses((tmp_path / "cut" / "log.jsonl").read_text()) == losses(history)


def test_a_run_cut_after_its_last_step_is_not_trained_further(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(10)  # 5 steps of 2 end in the middle of an epoch of 3 rows a batch
    keys = {"max_steps": 5, "save_steps": 5, "per_device_train_batch_size": 3, "lr_scheduler_type": "constant"}
    whole, metrics = train(tmp_path, tiny_model_dir, data, validation=data, **keys)
    again, later = train(tmp_path, tiny_model_dir, data, validation=data, **keys)  # its checkpoint is still there
    assert torch.equal(weights(whole), weights(again))
    assert metrics == later
