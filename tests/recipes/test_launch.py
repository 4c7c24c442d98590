"""Steps that need torch, and several processes: what is really started, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes import launch
from recipes.errors import UserError


def write(name, **values):
    Path(f"{name}.yaml").write_text(json.dumps({"stage": "novel", "output_dir": f"runs/{name}", **values}))


@pytest.mark.slow
def test_steps_are_forked_from_one_server_that_has_the_libraries(tuneloop):
    write("a")
    write("b", data={"file": "runs/a/out.txt"})
    write("c", data={"file": "runs/b/out.txt"}, do="kill")
    Path("all.yaml").write_text("stage: pipeline\noutput_dir: runs\nsteps: [a.yaml, b.yaml, c.yaml]\n")
    result = tuneloop("run", "all.yaml")
    for name in "abc":
        assert "torch in memory: True" in Path(f"runs/logs/{name}.log").read_text()
    assert result.returncode == 1
    assert result.stderr.startswith("runs/logs/c.log: step c died (signal 9); the finished steps are kept")


@pytest.mark.slow
def test_tuneloop_starts_as_many_processes_as_the_recipe_asks_for(tuneloop):
    write("a", launch={"num_processes": 2})
    result = tuneloop("run", "a.yaml")
    assert result.returncode == 0, result.stderr
    assert json.loads(Path("runs/a/manifest.json").read_text())["processes"] == 2
    assert "written" in result.stdout and result.stderr == ""


@pytest.mark.slow
def test_a_mistake_in_one_of_several_processes_is_one_line(tuneloop):
    write("a", launch={"num_processes": 2}, do="mistake")
    result = tuneloop("run", "a.yaml")
    assert result.returncode == 1
    assert result.stderr == "step a: data/x.jsonl:3: not JSON; correct this line\n"


@pytest.mark.slow
def test_one_process_where_two_were_asked_for_is_refused(workplace):
    write("a")
    command = f"{sys.executable} -m accelerate.commands.launch --cpu --num_processes 2 -m finetune a.yaml".split()
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode != 0
    assert "accelerate launch: 2 processes were asked for, but this one works with 1; write: acc" in result.stderr
    assert not Path("runs").exists()


def test_the_guard(monkeypatch):
    for name in ("WORLD_SIZE", launch.ASKED):
        monkeypatch.delenv(name, raising=False)
    launch.expect_world(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    launch.expect_world(2)
    with pytest.raises(UserError, match="2 processes were asked for, but this one works with 1"):
        launch.expect_world(1)
    monkeypatch.setenv(launch.ASKED, "4")
    with pytest.raises(UserError, match="4 processes were asked for"):
        launch.expect_world(2)


def test_a_recipe_for_two_processes_is_refused_by_one(workplace):
    write("a", launch={"num_processes": 2})
    result = subprocess.run([sys.executable, "-m", "finetune", "a.yaml"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "2 processes were asked for, but this one works with 1" in result.stderr


def test_interrupting_one_stage(workplace, heed_interrupts):
    write("a", do="sleep")
    run = subprocess.Popen(
        [sys.executable, "-m", "finetune", "a.yaml"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not Path("runs/a.partial/out.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert run.returncode == 130 and error == "\nstopped; run the same command to go on\n"


def test_a_finished_stage_is_skipped_unless_forced(tuneloop):
    write("a")
    assert "runs/a written in" in tuneloop("run", "a.yaml").stdout
    again = tuneloop("run", "a.yaml")
    assert again.stdout == "novel: runs/a is finished and unchanged, skipped (--force runs it again)\n"
    assert "runs/a written in" in tuneloop("run", "a.yaml", "--force", "text=hello").stdout
