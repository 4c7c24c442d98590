"""Memory that really runs out, in a child process with a limit; the next smaller micro-batch; the planner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from data_prep.records import write_rows
from finetune import memory, out_of_memory
from recipes.sections import Training

ROOT = Path(__file__).parents[2]
LIMITED = """
import resource, sys
import finetune.stages.sft, finetune.training.loop, finetune.models, finetune.packing
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = held + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from recipes.run import stage_main
sys.exit(stage_main("finetune", sys.argv[2:]))
"""


def training(**values: object) -> Training:
    return Training.model_validate({"learning_rate": 1e-3} | values)


def test_the_next_smaller_micro_batch_keeps_the_rows_of_a_step() -> None:
    found, sizes = training(per_device_train_batch_size=12, gradient_accumulation_steps=2), []
    while found is not None:
        sizes.append((found.per_device_train_batch_size, found.gradient_accumulation_steps))
        found = out_of_memory.smaller(found)
    assert sizes == [(12, 2), (6, 4), (3, 8), (1, 24)]
    seven = out_of_memory.smaller(training(per_device_train_batch_size=7))
    assert seven is not None and (seven.per_device_train_batch_size, seven.gradient_accumulation_steps) == (1, 7)


def test_what_says_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55)
    assert out_of_memory.is_out_of_memory(error.value)
    assert out_of_memory.is_out_of_memory(MemoryError())
    assert out_of_memory.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory.is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not out_of_memory.is_out_of_memory(FileNotFoundError("memory"))


def test_moved_activations_give_the_same_gradients() -> None:
    def gradients(away: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.GELU(), torch.nn.Linear(16, 4))
        saved = torch.randn(32, 8)
        if away:
            with memory.moved(model, "cpu", smallest=0):
                loss = model(saved).square().sum()
            saved.zero_()  # what was kept is a copy
        else:
            loss = model(saved).square().sum()
        loss.backward()
        return [weight.grad for weight in model.parameters()]

    assert all(map(torch.equal, gradients(True), gradients(False)))


def test_checkpointing_is_on_only_where_a_step_does_not_fit(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune import models

    model = models.load(str(tiny_model_dir)).model.requires_grad_(True)
    assert memory.plan(model, training(), 2048, "cpu", 1) == memory.Plan(False)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1e6)
    tight = memory.plan(model, training(), 2048, "cpu", 1)
    assert tight.gradient_checkpointing and str(tight.said).startswith("gradient checkpointing is on: a step needs")
    assert not memory.plan(model, training(gradient_checkpointing=False), 2048, "cpu", 1).gradient_checkpointing
    said = memory.plan(model, training(gradient_checkpointing=True, activation_offloading=True), 8, "cpu", 1).said
    assert said == "activation_offloading does nothing on a CPU: activations are in main memory already"


@pytest.mark.slow
def test_memory_that_runs_out_ends_with_advice_or_goes_on_with_less(tiny_model_dir: Path, tmp_path: Path) -> None:
    talks = [
        {"messages": [{"role": "user", "content": "When?"}, {"role": "assistant", "content": f"{number} " * 60}]}
        for number in range(100, 356)
    ]
    write_rows(tmp_path / "talks.jsonl", talks)

    def run(name: str, limit: float, batch: int, steps: int, **more: object) -> subprocess.CompletedProcess[str]:
        values = {
            "learning_rate": 0.1, "max_steps": 2, "optim": "sgd", "lr_scheduler_type": "constant", "warmup_ratio": 0,
            "per_device_train_batch_size": batch, "gradient_accumulation_steps": steps,
            "gradient_checkpointing": False, "report_to": [],
        } | more  # fmt: skip
        recipe = {
            "stage": "sft", "model": {"model_name_or_path": str(tiny_model_dir)}, "training": values,
            "data": {"train_file": str(tmp_path / "talks.jsonl"), "max_length": 256},
            "output_dir": str(tmp_path / name),
        }  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        command = [sys.executable, "-c", LIMITED, str(int(limit)), str(tmp_path / f"{name}.yaml")]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=tmp_path)

    told = run("told", 7e8, 256, 1)
    assert told.returncode == 1, told.stderr
    last = told.stderr.strip().splitlines()[-1]
    assert "out of memory" in last and "GB were held at most, and a step needs ~" in last
    assert "training: per_device_train_batch_size: " in last and "gradient_accumulation_steps: " in last
    assert not (tmp_path / "told").exists()

    alone = run("alone", 7e8, 256, 1, auto_find_batch_size=True)
    assert alone.returncode == 0, alone.stderr
    assert "out of memory; going on with 128 rows at a time, 2 times a step" in alone.stderr
    size = json.loads((tmp_path / "alone" / "manifest.json").read_text())["metrics"]["per_device_train_batch_size"]
    right = run("right", 1e12, size, 256 // size)
    assert right.returncode == 0, right.stderr
    # Not always to the last bit: kernels that got no work space once take another way.
    start, first, second = (
        load_file(path / "model.safetensors") for path in (tiny_model_dir, tmp_path / "alone", tmp_path / "right")
    )
    assert max(float((first[name] - start[name]).abs().max()) for name in start) > 1e-3
    assert max(float((first[name] - second[name]).abs().max()) for name in start) < 1e-6
