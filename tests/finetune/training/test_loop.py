"""The training loop: items weigh the same however they are cut into batches, and a cut run goes on as if never cut."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune import packing
from finetune.models import load
from finetune.stages.sft import answer_loss
from finetune.training import loop as trainer
from finetune.training import saving
from finetune.training.stage_trainer import document_length
from recipes.errors import UserError
from recipes.sections import Training


@dataclass
class Work:
    """The part of a run's work folder that the trainer uses."""

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    volatile: set[str] = field(default_factory=set)
    main: bool = True

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


def train(
    folder: Path,
    tiny: Path,
    data: list[Any],
    *,
    validation: list[Any] | None = None,
    score: Any = None,
    background: bool = False,
    poison: bool = False,
    loss: Any = answer_loss,
    **keys: Any,
) -> Any:
    """Train the tiny model; `background` writes checkpoints as on a GPU, `poison` makes one weight infinite."""
    torch.manual_seed(0)
    loaded = load(str(tiny), trainable=True)
    if poison:
        next(loaded.model.parameters()).data[7] = torch.inf
    training = Training(
        **{"learning_rate": 1e-2, "max_steps": 4, "logging_steps": 1, "lr_scheduler_type": "constant", **keys}
    )
    work = Work(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        if background:
            patch.setattr(saving, "Saver", partial(_beside, saving.Saver))
        metrics = trainer.fit(
            loaded.model, training, data, validation or [], loss=loss, collate=packing.collate_tokens,
            work=work, seed=1, name="test", score=score,
        )  # fmt: skip
    return loaded.model, metrics


def _beside(original: Any, *arguments: Any, background: bool) -> Any:
    return original(*arguments, background=True)


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


def history(folder: Path) -> list[dict[str, float]]:
    """Return the rows of log.jsonl without the speeds."""
    rows = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "tokens_per_second"} for row in rows]


def cut(whole: Path, folder: Path, steps: tuple[int, ...]) -> None:
    """Make what a kill leaves of a run: its checkpoints of these steps, and a history that had run ahead."""
    for step in steps:
        name = f".scratch/checkpoints/checkpoint-{step}"
        shutil.copytree(whole / name, folder / name)
    shutil.copy(whole / "log.jsonl", folder / "log.jsonl")


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6, 7])
def test_a_run_cut_between_two_rows_of_its_history_has_the_same_history(
    at: int, tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A row of the history is a mean since the row before, which may lie before the checkpoint."""
    data, folder = rows(11), tmp_path_factory.mktemp("runs")
    keys = {
        "max_steps": 8, "save_steps": 1, "logging_steps": 3, "eval_steps": 4, "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2, "lr_scheduler_type": "warmup_stable_decay", "save_total_limit": 9,
        "neftune_noise_alpha": 5.0,
    }  # fmt: skip
    whole, metrics = train(folder / "whole", tiny_model_dir, data, validation=data, **keys)
    cut(folder / "whole", folder / "cut", (at,))
    resumed, again = train(folder / "cut", tiny_model_dir, data, validation=data, **keys)
    assert torch.equal(weights(whole), weights(resumed))
    assert history(folder / "cut") == history(folder / "whole")
    assert metrics == again


BEST = {"max_steps": 12, "eval_steps": 2, "save_steps": 5, "save_total_limit": 1, "learning_rate": 0.3}


def test_the_best_checkpoint_is_kept_and_is_the_result(tiny_model_dir: Path, tmp_path: Path) -> None:
    data, other = rows(6), rows(6, seed=1)  # what is learned of the one is wrong for the other
    keys = {**BEST, "load_best_model_at_end": True, "per_device_train_batch_size": 3}
    model, metrics = train(tmp_path / "run", tiny_model_dir, data, validation=other, **keys)
    validations = {row["step"]: row["eval_loss"] for row in history(tmp_path / "run") if "eval_loss" in row}
    assert metrics["eval_loss"] == min(validations.values()) < validations[12]
    best = min(validations, key=validations.__getitem__)
    kept = {path.name for path in (tmp_path / "run/.scratch/checkpoints").iterdir()}
    assert kept == {f"checkpoint-{best}", "checkpoint-12"}  # the newest, and the best
    loss, items = answer_loss(model.eval(), packing.collate_tokens(other))[0], packing.collate_tokens(other)["count"]
    assert float(loss.detach() / items) == pytest.approx(metrics["eval_loss"], rel=1e-4)


def test_a_run_that_gets_no_better_stops_and_stays_stopped(tiny_model_dir: Path, tmp_path: Path) -> None:
    data, other = rows(6), rows(6, seed=1)
    keys = {**BEST, "early_stopping_patience": 2, "max_steps": 60, "save_steps": 2, "save_total_limit": 99}
    model, metrics = train(tmp_path / "run", tiny_model_dir, data, validation=other, **keys)
    losses = [row["eval_loss"] for row in history(tmp_path / "run") if "eval_loss" in row]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 30
    again, later = train(tmp_path / "run", tiny_model_dir, data, validation=other, **keys)  # killed after its end
    assert torch.equal(weights(model), weights(again))
    assert later == metrics


def test_smaller_gains_than_the_threshold_count_as_none(tiny_model_dir: Path, tmp_path: Path) -> None:
    keys = {**BEST, "early_stopping_patience": 3, "early_stopping_threshold": 1e6, "max_steps": 60}
    train(tmp_path, tiny_model_dir, rows(6), validation=rows(6), **keys)
    assert [row["step"] for row in history(tmp_path) if "eval_loss" in row] == [2, 4, 6, 8]


def test_a_score_of_the_stage_decides(tiny_model_dir: Path, tmp_path: Path) -> None:
    values = iter([0.1, 0.9, 0.5, 0.2, 0.3, 0.4])
    keys = {**BEST, "metric_for_best_model": "accuracy", "load_best_model_at_end": True}
    _, metrics = train(
        tmp_path, tiny_model_dir, rows(6), validation=rows(6), score=lambda model: {"accuracy": next(values)}, **keys
    )
    assert metrics["eval_accuracy"] == 0.9
    assert next(row for row in history(tmp_path) if row.get("eval_accuracy") == 0.9)["step"] == 4


def test_a_metric_that_no_validation_reports_is_told(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no validation reports 'eval_bleu'; write one of accuracy, .*loss"):
        train(tmp_path, tiny_model_dir, rows(6), validation=rows(6), **BEST, metric_for_best_model="bleu")


def test_checkpoints_written_beside_training_are_the_same(tiny_model_dir: Path, tmp_path: Path) -> None:
    keys = {"max_steps": 6, "save_steps": 1, "save_total_limit": 9, "per_device_train_batch_size": 2}
    train(tmp_path / "direct", tiny_model_dir, rows(9), **keys)
    train(tmp_path / "beside", tiny_model_dir, rows(9), background=True, **keys)
    for step in range(1, 7):
        direct, beside = (tmp_path / side / f".scratch/checkpoints/checkpoint-{step}" for side in ("direct", "beside"))
        assert saving.is_whole(beside)
        ours, theirs = load_file(beside / "model.safetensors"), load_file(direct / "model.safetensors")
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            assert (beside / name).read_bytes() == (direct / name).read_bytes(), name


def test_a_loss_that_is_no_number_ends_the_run(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test, step \d: the loss is nan; lower training.learning_rate"):
        train(tmp_path, tiny_model_dir, rows(6), learning_rate=1.0, optim="sgd", max_grad_norm=1e30, max_steps=60,
              poison=True)  # fmt: skip


def test_tokens_are_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = rows(4)
    train(tmp_path, tiny_model_dir, data, per_device_train_batch_size=4, max_steps=3)
    real = sum(len(row["input_ids"]) for row in data)
    assert [row["tokens"] for row in history(tmp_path)] == [real, 2 * real, 3 * real]


def test_the_length_of_documents_is_weighted_by_their_tokens() -> None:
    packed = {"input_ids": [5] * 10, "starts": [0, 2, 6]}  # documents of 2, 4 and 4 tokens
    plain = {"input_ids": [5] * 20}
    assert document_length([packed, plain]) == pytest.approx((4 + 16 + 16 + 400) / 30)


def test_kernels_that_cannot_be_had_are_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training\.use_liger_kernel: true, but Liger's kernels need a GPU"):
        train(tmp_path, tiny_model_dir, rows(2), use_liger_kernel=True)


@pytest.mark.parametrize(
    "rows_, size, accumulation, processes, epochs, expected",
    [(10, 8, 1, 1, 1, 2), (10, 8, 1, 1, 3, 6), (1000, 16, 1, 1, 3, 189), (10, 4, 2, 1, 1, 2), (9, 2, 1, 2, 0.5, 2)],
)
def test_an_epoch_sees_every_row(
    rows_: int, size: int, accumulation: int, processes: int, epochs: float, expected: int
) -> None:
    training = Training(
        learning_rate=1e-3,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
    )
    assert trainer.planned_steps(training, rows_, processes) == expected


def test_rows_are_read_in_their_order_if_the_recipe_says_so(tiny_model_dir: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    collate = packing.collate_tokens

    def noting(batch_rows: Any) -> Any:
        seen.extend(row["number"] for row in batch_rows)
        return collate(batch_rows)

    data = [{**row, "number": number} for number, row in enumerate(rows(6))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "collate_tokens", noting)
        train(
            tmp_path, tiny_model_dir, data, max_steps=3, per_device_train_batch_size=2,
            extra={"train_sampling_strategy": "sequential"},
        )  # fmt: skip
    assert seen[-6:] == [0, 1, 2, 3, 4, 5]


def test_a_model_is_saved_as_one_that_caches(tiny_model_dir: Path, tmp_path: Path) -> None:
    before = load(str(tiny_model_dir)).model.config.use_cache
    model, _ = train(tmp_path, tiny_model_dir, rows(2), max_steps=1)
    assert model.config.use_cache is before is True


def test_a_step_that_comes_to_no_number_leaves_checkpoints_to_go_on_from(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Between two rows of the history no one looks at the loss: without a look at each save, all would be ruined."""
    steps = iter(range(100))

    def broken(model: Any, batch: Any) -> Any:
        loss, extra = answer_loss(model, batch)
        return (loss * float("nan") if model.training and next(steps) == 3 else loss), extra

    keys = {"max_steps": 8, "save_steps": 1, "logging_steps": 50, "per_device_train_batch_size": 2}
    with pytest.raises(UserError, match="loss or weights are nan or infinite; lower"):
        train(tmp_path, tiny_model_dir, rows(4), loss=broken, **keys)
    kept = [saving.step_of(path) for path in saving.checkpoints(tmp_path / ".scratch/checkpoints")]
    assert kept == [3, 2]
    model, _ = train(tmp_path, tiny_model_dir, rows(4), **keys)
    assert bool(weights(model).isfinite().all())
