"""Checkpoints: whole or not at all; a damaged one is passed over; the best one stays; a full disk costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from finetune.training import saving

ROOT = Path(__file__).parents[3]


def checkpoint(folder: Path, step: int, text: str = "weights") -> Path:
    made = folder / f"checkpoint-{step}"
    (made / "inner").mkdir(parents=True)
    (made / "model.safetensors").write_text(text * 100)
    (made / "inner" / "optimizer.pt").write_text("state")
    saving.seal(made)
    return made


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    for step in (90, 100, 20):
        checkpoint(tmp_path, step)
    assert saving.last_whole(tmp_path) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize(
    "harm", ["one bit", "cut short", "a file missing", "no marker", "half a marker", "empty marker"]
)
def test_a_damaged_checkpoint_is_set_aside_and_told(
    harm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = checkpoint(tmp_path, 2), checkpoint(tmp_path, 4)
    weights, marker = newer / "model.safetensors", newer / saving.MARKER
    if harm == "one bit":  # of the same size: only the checksum tells
        data = bytearray(weights.read_bytes())
        data[7] ^= 1
        weights.write_bytes(data)
    elif harm == "cut short":
        weights.write_bytes(weights.read_bytes()[:10])
    elif harm == "a file missing":
        (newer / "inner" / "optimizer.pt").unlink()
    elif harm == "no marker":
        marker.unlink()
    else:
        marker.write_text(marker.read_text()[:20] if harm == "half a marker" else "{}")
    assert saving.last_whole(tmp_path) == older
    assert "checkpoint-4 is not whole; going back to the one before" in capsys.readouterr().err
    assert (tmp_path / "damaged-checkpoint-4").is_dir()
    assert saving.last_whole(tmp_path) == older


def test_what_was_being_written_when_the_run_died_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoint(tmp_path, 2).rename(tmp_path / "incoming-4")
    assert saving.last_whole(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_rotation_keeps_the_newest_and_the_best(tmp_path: Path) -> None:
    for step in range(1, 8):
        checkpoint(tmp_path, step)
    saving.rotate(tmp_path, 2, best=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-6", "checkpoint-7"]


def test_a_snapshot_shares_what_does_not_change_and_copies_what_does() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
    model[1].weight = model[0].weight  # tied
    model[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = saving.changing(model)
    with torch.no_grad():
        for value in model.state_dict().values():
            value.fill_(9)
    assert state["0.weight"].data_ptr() == state["1.weight"].data_ptr() != model[0].weight.data_ptr()
    assert torch.equal(state["0.weight"], before["0.weight"])
    assert torch.equal(state["2.running_mean"], before["2.running_mean"])
    assert state["0.bias"].data_ptr() == model[0].bias.data_ptr()


TOO_LARGE = """
import json, resource, sys
from pathlib import Path
import torch
sys.path[:0] = [{root!r}, {here!r}]
import test_loop
data = test_loop.rows(8)
keys = dict(max_steps=4, save_steps=1, per_device_train_batch_size=2, report_to=[])
tiny, folder = Path(sys.argv[1]), Path(sys.argv[2])
from finetune.training import saving
seal, limit = saving.seal, int(sys.argv[3])
def fills_up_after(folder):
    seal(folder)
    if limit and folder.name.endswith("-2"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
saving.seal = fills_up_after
model, _ = test_loop.train(folder, tiny, data, **keys)
print(json.dumps(test_loop.weights(model).double().sum().item()))
"""


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(tiny_model_dir: Path, tmp_path: Path) -> None:
    """No file may grow beyond a limit after the second checkpoint: writing the third fails in its middle."""

    def run(folder: Path, limit: int) -> subprocess.CompletedProcess[str]:
        code = TOO_LARGE.format(root=str(ROOT), here=str(Path(__file__).parent))
        return subprocess.run(
            [sys.executable, "-c", code, str(tiny_model_dir), str(folder), str(limit)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    failed = run(tmp_path / "cut", 20_000)
    assert failed.returncode != 0
    kept = tmp_path / "cut" / ".scratch" / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["checkpoint-1", "checkpoint-2"]
    assert all(saving.is_whole(path) for path in kept.iterdir())
    again = run(tmp_path / "cut", 0)
    assert "going on from step 2" in again.stderr
    never_cut = run(tmp_path / "whole", 0)
    assert again.returncode == never_cut.returncode == 0
    assert json.loads(again.stdout) == json.loads(never_cut.stdout)
