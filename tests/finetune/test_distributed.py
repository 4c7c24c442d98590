"""Two real processes (gloo) end where one process with the double batch ends; a world that is too small is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from data_prep.records import write_rows

ROOT = Path(__file__).parents[2]
WORDS = ["silver", "fern", "rock", "house", "poppy", "June", "water", "moon", "lily", "sandy", "dog", "pond"]
TWO = "--num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no".split()


def accelerate(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MASTER_PORT": "29611"}
    command = [str(Path(sys.executable).with_name("accelerate")), "launch", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def recipe(tiny_model_dir: Path, tmp_path: Path) -> dict[str, object]:
    """Conversations of very different lengths, so that a mean of per-process means would show."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What about {word}?"},
                {"role": "assistant", "content": " ".join([word] * (1 + 3 * number))},
            ]
        }
        for number, word in enumerate(WORDS)
    ]
    write_rows(tmp_path / "talks.jsonl", rows)
    return {
        "stage": "sft",
        "model": {"model_name_or_path": str(tiny_model_dir)},
        "data": {"train_file": str(tmp_path / "talks.jsonl"), "max_length": 256},
        "training": {
            "learning_rate": 0.1, "max_steps": 3, "optim": "sgd", "lr_scheduler_type": "constant", "warmup_ratio": 0.0,
            "logging_steps": 1,
        },
    }  # fmt: skip


def write(path: Path, recipe: dict[str, object], batch: int) -> Path:
    training = {**recipe["training"], "per_device_train_batch_size": batch}  # type: ignore[dict-item]
    path.write_text(yaml.safe_dump({**recipe, "training": training, "output_dir": str(path.with_suffix(""))}))
    return path


def test_two_processes_equal_one(recipe: dict[str, object], tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.yaml", recipe, 12), write(tmp_path / "two.yaml", recipe, 6)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    alone = subprocess.run(
        [sys.executable, "-m", "finetune", str(one)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert alone.returncode == 0, alone.stderr
    both = accelerate("--multi_gpu", *TWO, "-m", "finetune", str(two))
    assert both.returncode == 0, both.stderr
    start = load_file(Path(recipe["model"]["model_name_or_path"]) / "model.safetensors")  # type: ignore[index]
    single, double = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    moved = max(float((single[name] - start[name]).abs().max()) for name in start)
    apart = max(float((single[name] - double[name]).abs().max()) for name in start)
    assert moved > 1e-3
    assert apart < 1e-6
    assert '"processes": 2' in (tmp_path / "two" / "manifest.json").read_text()
    assert torch.isfinite(next(iter(double.values()))).all()


def test_a_world_smaller_than_asked_for_is_refused(recipe: dict[str, object], tmp_path: Path) -> None:
    file = write(tmp_path / "small.yaml", recipe, 4)
    out = accelerate("--cpu", *TWO, "-m", "finetune", str(file))
    assert out.returncode != 0
    assert "2 processes were asked for, but this one works with 1" in out.stderr
    assert not (tmp_path / "small").exists()
