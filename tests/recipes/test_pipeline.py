"""Pipelines: steps in processes, skipped when unchanged, run again when something upstream has changed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes import steps


@pytest.fixture
def chain(workplace):
    """Three steps: a and b feed c, which stands on another floor; d reads c."""
    Path("raw.txt").write_text("raw")
    write("a", "letter", data={"file": "raw.txt"})
    write("b", "letter", text="b")
    write("c", "letter", data={"file": "runs/a/out.txt", "more": ["runs/b/out.txt"]})
    write("d", "letter", data={"file": "runs/c/out.txt"})
    Path("all.yaml").write_text("stage: pipeline\noutput_dir: runs\nsteps: [a.yaml, b.yaml, c.yaml, d.yaml]\n")
    return workplace


def write(name, stage, **values):
    Path(f"{name}.yaml").write_text(json.dumps({"stage": stage, "output_dir": f"runs/{name}", **values}))


def states():
    return {step["step"]: step["state"] for step in json.loads(Path("runs/pipeline.json").read_text())}


def ran():
    return [name for name, state in states().items() if state == "done"]


def test_runs_every_step_then_skips_all(chain, tuneloop):
    first = tuneloop("run", "all.yaml")
    assert first.returncode == 0, first.stderr
    assert [line.split(" ...")[0] for line in first.stdout.splitlines()] == ["[1/4] a", "[2/4] b", "[3/4] c", "[4/4] d"]
    assert ran() == ["a", "b", "c", "d"]
    second = tuneloop("run", "all.yaml")
    assert second.stdout.count("unchanged, skipped") == 4
    assert second.stderr == ""


@pytest.mark.parametrize(
    "change, again",
    [
        ("upstream file", ["a", "c", "d"]),
        ("key of b", ["b", "c"]),  # c reads b, but comes out the same: d needs not run
        ("key of d", ["d"]),
        ("only a comment", []),
        ("the result is gone", ["c"]),
        ("a file of the result is gone", ["c"]),
        ("new key, same bytes", ["b"]),
    ],
)
def test_only_what_depends_on_a_change_runs_again(chain, tuneloop, change, again):
    assert tuneloop("run", "all.yaml").returncode == 0
    if change == "upstream file":
        Path("raw.txt").write_text("other")
    elif change == "key of b":
        write("b", "letter", text="bb")
    elif change == "key of d":
        write("d", "letter", data={"file": "runs/c/out.txt"}, text="d")
    elif change == "only a comment":
        Path("b.yaml").write_text("# why\n" + Path("b.yaml").read_text())
    elif change == "the result is gone":
        subprocess.run(["rm", "-r", "runs/c"], check=True)
    elif change == "a file of the result is gone":
        Path("runs/c/out.txt").unlink()
    elif change == "new key, same bytes":
        write("b", "letter", text="b", times=1, seed=43)
    assert tuneloop("run", "all.yaml").returncode == 0
    assert ran() == again


def test_force_runs_all_steps(chain, tuneloop):
    tuneloop("run", "all.yaml")
    assert tuneloop("run", "all.yaml", "--force").returncode == 0
    assert ran() == ["a", "b", "c", "d"]
    assert not Path("runs/.previous").exists()  # equal results are not kept twice


def test_override_of_a_step(chain, tuneloop):
    tuneloop("run", "all.yaml")
    assert tuneloop("run", "all.yaml", "d.times=2").returncode == 0
    assert ran() == ["d"]
    assert json.loads(Path("runs/d/manifest.json").read_text())["recipe"]["times"] == 2


def test_a_killed_step_is_told_and_the_same_command_goes_on(chain, tuneloop):
    write("c", "letter", data={"file": "runs/a/out.txt"}, do="kill")
    first = tuneloop("run", "all.yaml")
    assert first.returncode == 1
    assert "step c died (signal 9); the finished steps are kept" in first.stderr
    assert "run the same command to go on" in first.stderr
    assert "Traceback" not in first.stderr + first.stdout
    second = tuneloop("run", "all.yaml")
    assert second.returncode == 0, second.stderr
    assert states() == {"a": "skipped", "b": "skipped", "c": "done", "d": "done"}
    assert json.loads(Path("runs/c/manifest.json").read_text())["resumed"] is True


def test_a_mistake_in_a_step_is_one_line(chain, tuneloop):
    write("b", "letter", do="mistake")
    result = tuneloop("run", "all.yaml")
    assert result.returncode == 1
    assert result.stderr == "step b: data/x.jsonl:3: not JSON; correct this line\n"


def test_a_bug_in_a_step_names_the_log(chain, tuneloop):
    write("b", "letter", do="bug")
    result = tuneloop("run", "all.yaml")
    assert result.returncode == 1
    assert "step b failed: KeyError: 'oops'" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in Path("runs/logs/b.log").read_text()


def test_of_several_processes_the_first_error_is_named(tmp_path):
    log = tmp_path / "b.log"
    log.write_text(
        "  sft 3/9  loss 2.1\n[rank1]: Traceback (most recent call last):\n[rank1]:   File x.py, line 3\n"
        "[rank1]: KeyError: 'oops'\n[rank0]: Traceback (most recent call last):\n[rank0]: RuntimeError: peer gone\n"
        "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:\n==========\n"
    )
    assert "step b failed: KeyError: 'oops'; the finished" in str(steps.failure("b", steps.End(1, []), log))
    log.write_text("one\n\nKeyError: 'last'\n\n")
    assert "step b failed: KeyError: 'last';" in str(steps.failure("b", steps.End(1, []), log))
    assert "step b failed: exit code 1;" in str(steps.failure("b", steps.End(1, []), tmp_path / "none.log"))


def test_what_an_earlier_step_did_not_make_is_said_when_its_turn_comes(chain, tuneloop):
    write("c", "letter", data={"file": "runs/a/ot.txt"})
    result = tuneloop("run", "all.yaml")
    assert result.returncode == 2
    assert result.stderr == "c.yaml:1: data.file: runs/a/ot.txt is not there; did you mean runs/a/out.txt?\n"
    assert ran() == ["a", "b"]


def test_all_mistakes_of_all_steps_at_once(chain, tuneloop):
    write("b", "letter", txt="b")
    write("d", "letter", data={"file": "runs/nowhere/out.txt"}, times=0)
    result = tuneloop("check", "all.yaml", "c.tmes=3", "e.times=3")
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        "override e.times=3: there is no step or key `e` in this pipeline; the steps are a, b, c, d",
        "b.yaml:1: txt: there is no key `txt` at the top level; did you mean `text`?",
        "override c.tmes=3: there is no key `tmes` at the top level; did you mean `times`?",
        "d.yaml:1: times: 0 is not at least 1; write a number at least 1",
        "d.yaml:1: data.file: runs/nowhere/out.txt is not there; write a path from the working folder",
    ]
    assert not Path("runs").exists()


def test_two_steps_with_one_output_dir(chain, tuneloop):
    Path("b.yaml").write_text("stage: letter\noutput_dir: runs/a\n")
    result = tuneloop("check", "all.yaml")
    assert "b.yaml:2: output_dir: runs/a is written by a.yaml already; give each step an output_dir" in result.stderr


def test_a_second_pipeline_names_the_first(chain, tuneloop):
    write("d", "letter", do="sleep")
    command = [sys.executable, "-m", "recipes.run", "run", "all.yaml"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(Path("runs/d.partial/out.txt"))
        second = tuneloop("run", "all.yaml")
        assert second.returncode == 2
        assert f"another run (process {first.pid}) is writing this folder now" in second.stderr
        alone = tuneloop("run", "d.yaml")
        assert alone.returncode == 2
        assert "runs/d: another run (process" in alone.stderr
    finally:
        first.kill()
        first.wait()
    wait_until_free()


def test_interrupt_is_one_line_and_code_130(chain, tuneloop, heed_interrupts):
    write("b", "letter", do="sleep")
    command = [sys.executable, "-m", "recipes.run", "run", "all.yaml"]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    wait_for(Path("runs/b.partial/out.txt"))
    os.killpg(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert run.returncode == 130
    assert error == "\nstopped; run the same command to go on\n"


def test_a_killed_pipeline_takes_its_step_along(chain, tuneloop):
    write("b", "letter", do="sleep")
    run = subprocess.Popen([sys.executable, "-m", "recipes.run", "run", "all.yaml"], stdout=subprocess.DEVNULL)
    wait_for(Path("runs/b.partial/out.txt"))
    run.kill()
    run.wait()
    wait_until_free()


def wait_for(path, seconds=30):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def wait_until_free(seconds=10):
    """Wait until no process of the run is left: each holds a lock while it works."""
    from recipes import publish

    for name in ("b", "d"):
        deadline = time.monotonic() + seconds
        while True:
            try:
                with publish.lock(Path("runs") / name):
                    break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(0.1)
