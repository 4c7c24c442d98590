"""A sweep of real trainings, killed in the middle of one: it goes on from its checkpoint and comes to the same."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes import artifact, load

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """stage: sft
output_dir: runs/sft
seed: 3
model: {{model_name_or_path: {model}}}
adapter: {{r: 2, lora_alpha: 4}}
data: {{train_file: train.jsonl, validation_file: validation.jsonl, max_length: 64}}
training:
  learning_rate: 1.0e-3
  max_steps: 60
  per_device_train_batch_size: 4
  logging_steps: 1
  save_steps: 5
"""
SWEEP = """# a sweep
stage: sweep
output_dir: runs/sweep
recipe: sft.yaml
fixed: {training.eval_steps: 5}
space: {training.learning_rate: {choices: [1e-2, 1e-3]}}
sampler: grid
metric: eval_loss
direction: minimize
pruner: median
n_startup_trials: 1
n_warmup_steps: 100
"""


@pytest.fixture
def here(tmp_path, tiny_model_dir, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name, count in (("train", 16), ("validation", 8)):
        turns = [(f"{number} and {number}?", f"It is {2 * number}.") for number in range(count)]
        rows = [{"prompt": question, "completion": answer} for question, answer in turns]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("sft.yaml").write_text(RECIPE.format(model=tiny_model_dir))
    Path("sweep.yaml").write_text(SWEEP)
    return tmp_path


def logged(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def shown(folder):
    """Return the training loss that TensorBoard's own reader finds in a result."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return [(one.step, pytest.approx(one.value, rel=1e-6)) for one in read.Scalars("train/loss")]


def test_a_sweep_killed_in_a_training_goes_on_and_comes_to_the_same(here):
    command = [sys.executable, "-m", "recipes.run", "sweep", "sweep.yaml"]
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    checkpoints = Path("runs/sweep/trials/000.partial/.scratch/checkpoints")
    deadline = time.monotonic() + 120
    while len(list(checkpoints.glob("checkpoint-*"))) < 2 and not Path("runs/sweep/trials/000").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)  # the training too, as when the machine goes down
    run.wait()
    assert not Path("runs/sweep/trials/000").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    first, second = (artifact.read(f"runs/sweep/trials/{name}") for name in ("000", "001"))
    assert first.resumed and not second.resumed
    whole = json.loads(Path("runs/sweep/sweep.json").read_text())
    assert [row["trial"] for row in whole["rows"]] == [0, 1]
    assert [row["mean"] for row in whole["rows"]] == [first.metrics["eval_loss"], second.metrics["eval_loss"]]

    # The best recipe, run without a sweep and without a cut, comes to the same bytes and the same validations.
    best = load.load("runs/sweep/best.yaml")
    sys.modules[type(best).__module__].run(best)
    alone = artifact.read("runs/sft")
    assert alone.content == first.content
    assert alone.metrics["eval_loss"] == first.metrics["eval_loss"]
    for manifest in (alone, first):
        assert {"curves.png", "curves.html", "log.jsonl"} <= set(manifest.volatile)
        assert any(name.startswith("tensorboard/") for name in manifest.volatile)
        assert shown(manifest.folder) == [
            (row["step"], row["loss"]) for row in logged(manifest.folder) if "loss" in row
        ]
    for row, other in zip(logged(Path("runs/sft")), logged(Path("runs/sweep/trials/000")), strict=True):
        assert {key: row[key] for key in row if "second" not in key} == {
            key: other[key] for key in other if "second" not in key
        }
