"""Trackers show the rows of log.jsonl and nothing else, also after a cut; what is not installed is said beforehand."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest

from finetune import trackers
from recipes.sections import Fault

STATE = SimpleNamespace(is_world_process_zero=True)


def row(step, **values):
    return {"step": step, "loss": 3.0 / step, "learning_rate": 1e-3, "epoch": step / 10, **values}


def write(log, rows):
    log.write_text("".join(json.dumps(one) + "\n" for one in rows))


def append(log, one):
    with log.open("a") as stream:
        stream.write(json.dumps(one) + "\n")


def points(folder):
    """Return what TensorBoard's own reader finds: (step, value) of each tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def of_log(log, key):
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [(one["step"], pytest.approx(one[key], rel=1e-6)) for one in rows if key in one]


def test_the_points_are_those_of_the_log_also_after_a_cut(tmp_path):
    log = tmp_path / "log.jsonl"
    [callback] = trackers.callbacks(["tensorboard"], tmp_path, "run")
    for step in range(1, 9):
        append(log, row(step, **({"eval_loss": 5.0 - step} if step % 4 == 0 else {})))
        callback.on_log(None, STATE, None)
    # Killed here without a close; the last checkpoint is that of step 4, and the same command goes on from there.
    write(log, [json.loads(line) for line in log.read_text().splitlines()][:4])
    [callback] = trackers.callbacks(["tensorboard"], tmp_path, "run", resume_step=4)
    for step in range(5, 13):
        append(log, row(step, loss=7.0 / step, **({"eval_loss": 6.0 - step} if step % 4 == 0 else {})))
        callback.on_log(None, STATE, None)
    callback.on_train_end(None, STATE, None)
    append(log, row(12, eval_loss=-9.5))  # a last validation, once training has ended
    callback.on_log(None, STATE, None)
    volatile = trackers.close([callback])
    found = points(tmp_path)
    assert set(found) == {"train/loss", "train/learning_rate", "eval/loss"}
    assert found["train/loss"] == of_log(log, "loss")
    assert found["eval/loss"] == of_log(log, "eval_loss") and len(found["eval/loss"]) == 4
    assert volatile == {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "tensorboard").iterdir()}
    assert len(volatile) == 2


def test_a_run_that_begins_anew_shows_nothing_of_the_one_before(tmp_path):
    for loss in (1.0, 2.0):
        write(tmp_path / "log.jsonl", [row(1, loss=loss)])
        [callback] = trackers.callbacks(["tensorboard"], tmp_path, "run")
        callback.on_log(None, STATE, None)
        trackers.close([callback])
    assert points(tmp_path)["train/loss"] == [(1, 2.0)]


def test_a_line_that_is_being_written_waits(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    rows, position = trackers.read(log)
    assert rows == [{"step": 1, "loss": 2.5}]
    log.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 1.5}\n')
    assert trackers.read(log, position)[0] == [{"step": 2, "loss": 1.5}]


def test_a_loss_that_is_no_number_is_left_out():
    assert trackers.named({"step": 3, "loss": float("nan"), "eval_f1": 0.5}) == {"eval/f1": 0.5}


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert trackers.callbacks(["tensorboard"], tmp_path, "run") == []


def test_what_is_not_installed_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()  # a folder of that name, as an earlier run of wandb leaves it, is no package
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    if (found := importlib.util.find_spec("wandb")) and found.origin:
        pytest.skip("wandb is installed here")
    key = ("training", "report_to")
    expected = Fault(key, "wandb is not installed", "write: pip install wandb; or take it out of the list")
    assert trackers.faults(key, ["tensorboard", "wandb"]) == [expected]


def test_a_tracker_that_fails_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    class Broken:
        def __init__(self, *_):
            raise ConnectionError("no route")

    monkeypatch.setitem(trackers.TRACKERS, "wandb", Broken)
    write(tmp_path / "log.jsonl", [row(1)])
    [callback] = trackers.callbacks(["wandb", "tensorboard"], tmp_path, "run")
    callback.on_log(None, STATE, None)
    append(tmp_path / "log.jsonl", row(2))
    callback.on_log(None, STATE, None)
    trackers.close([callback])
    assert capsys.readouterr().err == "  wandb takes no more rows (ConnectionError: no route)\n"
    assert [step for step, _ in points(tmp_path)["train/loss"]] == [1, 2]
