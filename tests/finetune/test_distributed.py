"""Two real processes (gloo) end where one with the double batch ends, also after a kill; what cannot be is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize("batch, accumulation, packing", [(12, 1, False), (10, 1, False), (4, 2, True)])
def test_two_processes_equal_one(
    batch: int, accumulation: int, packing: bool, recipe: dict[str, object], tmp_path: Path
) -> None:
    """With 10 of 12 rows in the first step, 2 are left for the second: one process has them, the other has none."""
    recipe["data"]["packing"] = packing  # type: ignore[index]
    if accumulation == 1 and batch == 10:
        recipe["training"]["neftune_noise_alpha"] = 1e-30  # type: ignore[index]  # runs, and changes nothing
    recipe["training"]["gradient_accumulation_steps"] = accumulation  # type: ignore[index]
    if packing:
        recipe["data"]["max_length"] = 48  # type: ignore[index]
    one, two = write(tmp_path / "one.yaml", recipe, batch), write(tmp_path / "two.yaml", recipe, batch // 2)
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


def start(path: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start `tuneloop run` in a group of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "recipes.run", "run", str(path), *overrides]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def workers(parent: int) -> list[int]:
    """Return the processes below one that train, in the order of their start."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[1]) == parent:
            below = workers(int(place.name))
            trains = b"finetune" in words and not any(b"accelerate" in word for word in words)
            found += below or ([int(place.name)] if trains else [])
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize("both", [False, True], ids=["one rank", "both ranks"])
def test_a_killed_run_of_two_processes_ends_where_an_unbroken_one_ends(
    recipe: dict[str, object], tmp_path: Path, both: bool
) -> None:
    # Packed rows (their tokens differ from process to process), accumulation, an optimiser with state.
    training = {**recipe["training"], "optim": "adamw_torch", "learning_rate": 0.01, "max_steps": 8, "save_steps": 1}  # type: ignore[dict-item]
    training |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    data = {**recipe["data"], "packing": True, "max_length": 128}  # type: ignore[dict-item]
    whole = {**recipe, "data": data, "training": training, "launch": {"config": "cpu_ddp", "num_processes": 2}}
    for name in ("unbroken", "killed"):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump({**whole, "output_dir": str(tmp_path / name)}))
    unbroken = start(tmp_path / "unbroken.yaml")
    out, error = unbroken.communicate(timeout=300)
    assert unbroken.returncode == 0, error
    lines = error.decode().splitlines()  # what a user sees: one line per process group, nothing of the libraries
    assert lines and all(line.startswith("  sft") for line in lines)
    assert len(lines) == len(set(lines))
    assert out.decode().startswith("sft: ") and len(out.splitlines()) == 1

    killed = start(tmp_path / "killed.yaml")
    checkpoints = tmp_path / "killed.partial" / ".scratch" / "checkpoints"
    deadline = time.monotonic() + 200
    while killed.poll() is None and not list(checkpoints.glob("checkpoint-[2-7]")) and time.monotonic() < deadline:
        time.sleep(0.002)
    ranks = workers(killed.pid)
    assert len(ranks) == 2
    for pid in ranks if both else ranks[:1]:
        os.kill(pid, signal.SIGKILL)
    killed.communicate(timeout=120)
    assert killed.returncode == 1 and not (tmp_path / "killed").exists()

    again = start(tmp_path / "killed.yaml", "training.extra.dataloader_num_workers=1")
    _, error = again.communicate(timeout=300)
    assert again.returncode == 0 and b"going on from step" in error, error
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("unbroken", "killed"))
    assert first == second


def test_a_config_that_accelerate_would_quietly_change_is_refused(recipe: dict[str, object], tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("FSDP works here")
    file = write(tmp_path / "sharded.yaml", recipe, 4)
    config = ["--config_file", str(ROOT / "recipes/accelerate/fsdp2.yaml"), "--num_processes", "2"]
    out = accelerate(*config, "-m", "finetune", str(file))
    assert out.returncode != 0
    assert "FSDP needs GPUs: on CPUs accelerate would run plain DDP, every process with the whole model" in out.stderr
    assert not (tmp_path / "sharded").exists()
