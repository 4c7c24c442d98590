"""Sweeps: what is tried, what comes out, how sure the table is; a kill at any moment loses and doubles nothing."""

import json
import math
import os
import random
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweep_world import executed, found, hill, sweep, target

from recipes import artifact, load
from recipes.sweep import student

RATE = {"training.learning_rate": {"low": 1e-5, "high": 1e-1, "log": True}}
RANK = {"training.r": {"choices": [4, 8, 16]}}


@pytest.fixture
def here(workplace, tmp_path):
    hill(tmp_path)
    target()
    return workplace


def by_trial(whole):
    return {row["trial"]: row for row in whole["rows"]}


def stored(folder="runs/sweep"):
    """Return what stands in the study's database: state and value of each trial."""
    with sqlite3.connect(f"{folder}/study.db") as database:
        trials = database.execute("select trial_id, number, state from trials").fetchall()
        values = dict(database.execute("select trial_id, value from trial_values").fetchall())
    return {number: (state, values.get(key)) for key, number, state in trials}


def test_a_search_and_its_table(here, tuneloop):
    sweep(space=RATE | RANK, trials=9, seeds=[1, 2, 3], sampler="random")
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 0, result.stderr
    whole = found()
    rows = whole["rows"]
    assert len(rows) == 9 and {row["state"] for row in rows} == {"complete"}
    assert [row["mean"] for row in rows] == sorted(row["mean"] for row in rows)
    assert len({row["values"]["training.learning_rate"] for row in rows}) == 9
    for row in rows:
        folders = {seed: Path(f"runs/sweep/trials/{row['trial']:03d}-seed{seed}") for seed in (1, 2, 3)}
        values = [artifact.read(folders[seed]).metrics["eval_loss"] for seed in (1, 2, 3)]
        assert list(row["results"].values()) == values
        assert row["mean"] == pytest.approx(statistics.mean(values))
        # 4.3027: the 97.5 % point of Student's t with two degrees of freedom, from a table
        half = 4.302653 * statistics.stdev(values) / math.sqrt(3)
        assert (row["low"], row["high"]) == (pytest.approx(row["mean"] - half), pytest.approx(row["mean"] + half))
        kept = artifact.read(folders[2]).recipe
        assert (kept["seed"], kept["training"]["r"]) == (2, row["values"]["training.r"])
    best = load.load("runs/sweep/best.yaml")
    assert best.training.learning_rate == rows[0]["values"]["training.learning_rate"]
    assert (best.seed, best.output_dir) == (1, "runs/hill")
    assert stored() == {row["trial"]: ("COMPLETE", pytest.approx(row["mean"])) for row in rows}
    assert whole["importances"]["training.learning_rate"] > 0.8  # the hill is steep there, and flat in r

    markdown = Path("runs/sweep/table.md").read_text()
    assert [int(line.split("|")[1]) for line in markdown.splitlines() if re.match(r"\| \d", line)] == [
        row["trial"] for row in rows
    ]
    page = Path("runs/sweep/table.html").read_text()
    assert not re.search(r"(src|href)\s*=|https?://|@import", page)
    assert page.count('<circle cx="') == 9 + 2 * 9  # an interval for each row, a point for each in two plots
    again = tuneloop("sweep", "--table", "runs/sweep")
    assert again.returncode == 0 and again.stdout.startswith("trial ")
    assert result.stdout.endswith(again.stdout)

    before = len(executed())
    second = tuneloop("sweep", "sweep.yaml")
    assert second.returncode == 0 and len(executed()) == before  # nothing is run twice
    assert tuneloop("run", "sweep.yaml", "trials=10").returncode == 0  # more of the same may be asked for
    assert len(executed()) == before + 3 * 4
    assert {row["trial"]: row["mean"] for row in rows} == {
        row["trial"]: row["mean"] for row in found()["rows"] if row["trial"] < 9
    }


def test_differences_to_the_best_are_paired_by_seed(here, tuneloop):
    from scipy import stats

    sweep(space=RANK, sampler="grid", seeds=[1, 2, 3, 4])
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    best, *others = found()["rows"]
    expected = [stats.ttest_rel(list(row["results"].values()), list(best["results"].values())).pvalue for row in others]
    # Two comparisons by Holm: twice the smaller p, and the larger one if that is more.
    smaller, larger = sorted(expected)
    assert sorted(row["p"] for row in others) == pytest.approx([2 * smaller, max(2 * smaller, larger)], rel=1e-6)
    for row in others:
        gaps = [row["results"][seed] - best["results"][seed] for seed in best["results"]]
        assert row["difference"] == pytest.approx(statistics.mean(gaps))


def test_student_against_scipy():
    from scipy import stats

    draw = random.Random(0)
    for count in (2, 3, 5, 30):
        values = [draw.gauss(0.3, 1) for _ in range(count)]
        assert student.p_value(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-9)
        whole = stats.t.interval(0.95, count - 1, statistics.mean(values), stats.sem(values))
        assert student.interval(values) == pytest.approx(whole, rel=1e-9)
    assert student.interval([1.0]) is None and student.p_value([1.0]) is None
    assert (student.p_value([0.0, 0.0]), student.p_value([1.0, 1.0])) == (1.0, 0.0)
    assert student.tails(40.0, 2) == pytest.approx(2 * stats.t.sf(40.0, 2), rel=1e-9)


def test_a_grid_tries_every_combination_once(here, tuneloop):
    space = {"training.r": {"low": 2, "high": 6, "step": 2}, "training.modules": {"choices": [None, ["a", "b"]]}}
    sweep(space=space, sampler="grid")
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    rows = found()["rows"]
    tried = [tuple(row["values"][name] for name in space) for row in rows]
    assert sorted(map(str, tried)) == sorted(str((r, modules)) for r in (2, 4, 6) for modules in (None, ["a", "b"]))
    note = found()["notes"][0]
    assert note.startswith("One seed: there is no interval") and all(row["low"] is None for row in rows)


def test_only_the_best_are_repeated(here, tuneloop):
    sweep(space=RANK, sampler="grid", seeds=[1, 2, 3], repeat_best=1)
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    best, *others = found()["rows"]
    assert best["values"] == {"training.r": 8} and list(best["results"]) == ["1", "2", "3"]
    assert [list(row["results"]) for row in others] == [["1"], ["1"]]
    assert len(executed()) == 4 * (3 + 2)


def test_seeds_alone_give_one_recipe_its_error_bars(here, tuneloop):
    sweep(seeds=[1, 2, 3])
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    [row] = found()["rows"]
    assert list(row["results"]) == ["1", "2", "3"] and row["low"] < row["mean"] < row["high"]


def test_a_failed_trial_is_kept_with_its_reason_and_the_sweep_goes_on(here, tuneloop):
    sweep(space={"training.fails": {"choices": ["memory", "", "nan", "kill", "bug"]}}, sampler="grid")
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 0, result.stderr
    rows = by_trial(found())
    assert [rows[number]["state"] for number in range(5)] == ["fail", "complete", "fail", "fail", "fail"]
    assert rows[0]["reason"] == "out of memory: 3.1 of 3 GB (hill, step 2)"
    assert rows[2]["reason"] == "its eval_loss is nan"
    assert rows[3]["reason"] == "killed (signal 9; without a kill of yours: out of memory)"
    assert rows[4]["reason"] == "KeyError: 'oops'"
    assert found()["best"] == 1
    assert "failed: out of memory: 3.1 of 3 GB (hill, step 2)" in result.stdout
    assert tuneloop("sweep", "sweep.yaml").returncode == 0 and len(executed()) == 2 * 4  # failures are not tried again


def test_a_combination_that_the_recipe_refuses_is_a_failed_trial(here, tuneloop):
    space = {"training.learning_rate": {"choices": [0.1, 0.9]}, "training.r": {"choices": [8, 64]}}
    sweep(space=space, sampler="grid")
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    [failed] = [row for row in found()["rows"] if row["state"] == "fail"]
    assert failed["values"] == {"training.learning_rate": 0.9, "training.r": 64}
    assert "64 is too much at this learning rate; write 32" in failed["reason"]


def test_nothing_works_at_all(here, tuneloop):
    sweep(space=RATE, fixed={"training.fails": "memory"}, trials=9)
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 1
    assert result.stderr == (
        "runs/sweep: the first 3 trials all failed, the last one: out of memory: 3.1 of 3 GB (hill, step 2); "
        "put that right, remove this folder and run the sweep again\n"
    )
    assert len(stored()) == 3


def test_no_trial_came_to_its_end(here, tuneloop):
    sweep(space={"training.r": {"choices": [2, 4]}}, sampler="grid", fixed={"training.fails": "memory"})
    result = tuneloop("sweep", "sweep.yaml")
    said = "runs/sweep: no trial came to its end; look at the remarks in the table, and at logs/\n"
    assert (result.returncode, result.stderr) == (1, said)
    assert result.stdout.count("out of memory") >= 2 and not Path("runs/sweep/best.yaml").exists()


def test_an_unknown_metric_names_those_there_are(here, tuneloop):
    sweep(space=RANK, sampler="grid", metric="eval_accuracy")
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 1
    assert "no eval_accuracy came out; the metrics are eval_loss, loss" in result.stderr


def test_another_space_in_the_same_folder_is_refused(here, tuneloop):
    sweep(space=RANK, trials=2, sampler="random")
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    sweep(space=RATE, trials=2, sampler="random")
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 2
    assert result.stderr == (
        "runs/sweep: the sweep in this folder was of another space; its trials do not compare with new ones; "
        "name another output_dir, or remove this folder\n"
    )


def test_a_bad_trial_is_stopped_by_its_validations(here, tuneloop):
    fixed = {"training.eval_steps": 1, "training.steps": 24, "training.seconds": 0.04}
    space = {"training.learning_rate": {"choices": [0.001, 0.002, 0.9]}}
    sweep(space=space, sampler="grid", fixed=fixed, pruner="median", n_startup_trials=2)
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 0, result.stderr
    rows = by_trial(found())
    assert [rows[number]["state"] for number in range(3)] == ["complete", "complete", "pruned"]
    assert len(executed("000")) == 24 and 1 <= len(executed("002")) < 20
    assert re.fullmatch(r"stopped at step \d+: eval_loss \S+", rows[2]["reason"])
    assert sorted(path.name for path in Path("runs/sweep/trials").glob("[0-9]*")) == ["000", "001"]
    assert stored()[2][0] == "PRUNED"
    space = {"training.learning_rate": {"choices": [0.001, 0.9]}}
    kept = {"keep_pruned": True, "output_dir": "k", "n_startup_trials": 1}
    sweep(space=space, sampler="grid", fixed=fixed, pruner="median", **kept)
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    assert Path("k/trials/001.partial/log.jsonl").exists()


def test_hyperband_stops_some_and_finishes_some(here, tuneloop):
    fixed = {"training.eval_steps": 1, "training.steps": 9, "training.seconds": 0.03}
    sweep(space=RATE, trials=6, sampler="random", fixed=fixed, pruner="hyperband")
    result = tuneloop("sweep", "sweep.yaml")
    assert result.returncode == 0, result.stderr
    states = [row["state"] for row in found()["rows"]]
    assert set(states) == {"complete", "pruned"} and len(states) == 6
    assert len(executed()) < 6 * 9


def test_trials_side_by_side_take_turns_on_the_devices(here, tuneloop, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    sweep(space=RANK, trials=4, sampler="random", parallel=2, fixed={"training.seconds": 0.05})
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    lines = executed()
    assert {device for _, _, device in lines} == {"4", "7"}
    assert all(len({device for trial, _, device in lines if trial == name}) == 1 for name, _, _ in lines)
    order = [trial for trial, _, _ in lines]
    assert order != sorted(order)  # they ran at the same time
    assert len(found()["rows"]) == 4


def test_killed_at_any_moment_it_goes_on_as_if_it_had_never_been_killed(here, tuneloop):
    fixed = {"training.eval_steps": 1, "training.seconds": 0.02, "training.steps": 5}
    values = {"space": RATE | RANK, "trials": 5, "seeds": [1, 2], "fixed": fixed, "n_startup_trials": 3}
    # A median that lets everything pass: what is stopped depends on how fast the machine is.
    values |= {"pruner": "median", "n_warmup_steps": 100}
    sweep("whole.yaml", output_dir="runs/whole", **values)
    assert tuneloop("sweep", "whole.yaml").returncode == 0
    wanted, steps = found("runs/whole"), executed()
    Path("steps.txt").unlink()

    sweep(**values)
    command = [sys.executable, "-m", "recipes.run", "sweep", "sweep.yaml"]
    draw, kills = random.Random(3), 0
    while kills < 60:
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            # Longer and longer: on a busy machine the start alone takes a second.
            _, error = run.communicate(timeout=draw.uniform(0.5, 1.4) * (1 + kills / 20))
            assert run.returncode == 0, error
            break
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            run.communicate()
            kills += 1
    assert 2 < kills < 60
    whole = found()
    for one, other in zip(whole["rows"], wanted["rows"], strict=True):
        assert {key: one[key] for key in one if key != "seconds"} == {
            key: other[key] for key in other if key != "seconds"
        }
    assert stored() == stored("runs/whole")
    assert sorted(path.name for path in Path("runs/sweep/trials").glob("[0-9]*")) == sorted(
        f"{number:03d}-seed{seed}" for number in range(5) for seed in (1, 2)
    )
    # Each step was made once; a kill may have come between a step and its mark.
    assert len(steps) <= len(executed()) <= len(steps) + kills
    assert {(trial, step) for trial, step, _ in executed()} == {(trial, step) for trial, step, _ in steps}


def test_an_interrupt_is_one_line_and_leaves_no_trial_behind(here, tuneloop, heed_interrupts):
    sweep(space=RANK, sampler="grid", fixed={"training.seconds": 5.0})
    command = [sys.executable, "-m", "recipes.run", "sweep", "sweep.yaml"]
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heed_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not Path("runs/sweep/trials/000.partial/log.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = tuneloop("sweep", "sweep.yaml")
    assert second.returncode == 2 and f"another run (process {run.pid}) is writing this folder now" in second.stderr
    os.killpg(run.pid, signal.SIGINT)
    _, error = run.communicate(timeout=30)
    assert (run.returncode, error) == (130, "\nstopped; run the same command to go on\n")
    assert stored() == {0: ("RUNNING", None)}
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


def test_no_table_there(here, tuneloop):
    result = tuneloop("sweep", "--table", "runs/none")
    assert result.returncode == 2
    assert result.stderr == (
        "--table runs/none: there is no table of a sweep here; "
        "name the output_dir of a sweep that has come to its end\n"
    )


def test_the_best_recipe_keeps_what_the_user_wrote(here, tuneloop):
    Path("hill.yaml").write_text(
        "stage: hill\noutput_dir: runs/hill\ntraining: {learning_rate: 0.01, modules: ['no', 'yes']}\n"
    )
    sweep(space=RANK, sampler="grid")
    assert tuneloop("sweep", "sweep.yaml").returncode == 0
    best = load.load("runs/sweep/best.yaml")
    assert (best.training.modules, best.training.r) == (["no", "yes"], 8)
    assert json.loads(Path("runs/sweep/sweep.json").read_text())["best"] == found()["best"]
