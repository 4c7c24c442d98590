"""What is wrong with a sweep is said before anything runs, all at once, word for word."""
# ruff: noqa: E501

from pathlib import Path

import pytest
from sweep_world import hill, sweep, target


@pytest.fixture
def here(workplace, tmp_path):
    hill(tmp_path)
    target()
    return workplace


def lines(tuneloop, command="check"):
    result = tuneloop(command, "sweep.yaml")
    assert result.returncode == 2, result.stdout
    return result.stderr.splitlines()


def test_every_value_of_the_space_is_held_to_the_recipes_own_rules(here, tuneloop):
    Path("sweep.yaml").write_text("""# a sweep
stage: sweep
output_dir: runs/sweep
recipe: hill.yaml
direction: minimize
fixed: {training.stepps: 3, training.seconds: fast}
space:
  training.learning_rate: {low: 1e-4, high: 2, log: true}
  training.learn_rate: {low: 1e-4, high: 1}
  training.r: {low: 0, high: 8.5}
  training.eval_steps: {choices: [1, two, -1]}
  training.steps: {low: 9, high: 3}
  training.fails: {low: 1, high: 2, step: 1}
  training.modules: {choices: [[a, b], null, a]}
  output_dir: {choices: [a, b]}
trials: 4
""")
    assert lines(tuneloop, "sweep") == [
        "sweep.yaml:6: fixed.training.seconds: 'fast' is not a number; write 0.0",
        "sweep.yaml:6: fixed.training.stepps: there is no key `stepps` in `training`; did you mean `steps`?",
        "sweep.yaml:8: space.training.learning_rate.high: 2 is not at most 1; write a number above 0 and at most 1",
        "sweep.yaml:9: space.training.learn_rate: there is no key `learn_rate` in `training`; "
        "did you mean `learning_rate`?",
        "sweep.yaml:10: space.training.r.low: 0 is not at least 1; write a number at least 1 and at most 64",
        "sweep.yaml:10: space.training.r.high: 8.5 is not a whole number; write 8",
        "sweep.yaml:11: space.training.eval_steps.choices.1: 'two' is not a whole number; write 0",
        "sweep.yaml:11: space.training.eval_steps.choices.2: -1 is not at least 0; write a number at least 0",
        "sweep.yaml:12: space.training.steps.low: low 9 is not below high 3; write the smaller one first",
        "sweep.yaml:13: space.training.fails.low: 1 is none of the possible values; one of , memory, nan, kill, bug",
        "sweep.yaml:13: space.training.fails.high: 2 is none of the possible values; one of , memory, nan, kill, bug",
        "sweep.yaml:14: space.training.modules.choices.2: 'a' is not a list; write [a]",
        "sweep.yaml:15: space.output_dir: `output_dir` is not for a trial to set; "
        "leave it out: each trial has a folder of its own below the sweep's output_dir",
    ]
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "values, said",
    [
        ({"space": {}}, "2: space: nothing differs between the trials; write a space, several seeds, or both"),
        ({"space": {}, "seeds": [1, 2], "trials": 3}, "7: trials: there is no space to search: only the seeds differ; write space, or leave it out"),
        ({"seeds": [1, 1]}, "7: seeds.1: 1 stands there twice; write each seed once"),
        ({"repeat_best": 2}, "7: repeat_best: there are 0 seeds to repeat with; write seeds: [1, 2, 3], say"),
        ({"sampler": "grid"}, "6: space.training.learning_rate: a grid has no end of values here; write step, or choices"),
        ({"sampler": "grid", "space": {"training.r": {"low": 1, "high": 3}}, "trials": 9}, "8: trials: the grid has 3 combinations, not 9; write 3"),
        ({"pruner": "median"}, "7: pruner: median looks at validations while a trial runs, and hill.yaml has none before its end; write fixed: {training.eval_steps: 10}, say, or pruner: none"),
        ({"n_warmup_steps": 3}, "7: n_warmup_steps: pruner none has no n_warmup_steps; write pruner: median, or leave it out"),
        ({"space": {"training.r": {"low": 4}}}, "6: space.training.r: neither choices nor both low and high; write {low: ..., high: ...} or {choices: [...]}"),
        ({"space": {"training.r": {"choices": [4], "log": True}}}, "6: space.training.r: a list of choices has no log; write choices alone, or low and high"),
        ({"space": {"training.seconds": {"low": 0, "high": 1, "log": True}}}, "6: space.training.seconds.low: 0 has no logarithm; write a number above 0, or leave log out"),
        ({"fixed": {"training.r": 4}, "space": {"training.r": {"choices": [4]}}}, "7: space.training.r: `training.r` is fixed as well; leave it out in one of the two places"),
        ({"fixed": {"data": {"train_file": "hill.yaml"}}}, "6: metric: eval_loss needs validation rows, and hill.yaml names none; add data.validation_file there or under `fixed`, or name another metric"),
        ({"fixed": {"training.learning_rate": 0.9}, "space": {"training.r": {"choices": [8, 64]}}}, "7: space.training.r.choices.1: 64 is too much at this learning rate; write 32"),
        ({"pruner": "medain"}, "7: pruner: 'medain' is none of the possible values; did you mean median? one of none, median, hyperband"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(here, tuneloop, values, said):
    sweep(**({"space": {"training.learning_rate": {"low": 1e-4, "high": 0.1}}} | values))
    text = Path("sweep.yaml").read_text().replace("space: {}\n", "")
    Path("sweep.yaml").write_text(text)
    where = said.partition(":")[0]
    found = lines(tuneloop)
    assert [line.split(":", 2)[2] for line in found] == [said.split(":", 1)[1]], (where, found)


def test_the_other_recipes_mistakes_are_told_with_their_place(here, tuneloop):
    Path("hill.yaml").write_text("stage: hill\noutput_dir: runs/hill\ntraining:\n  learning_rate: 0.01\n  rr: 3\n")
    sweep(space={"training.r": {"choices": [1, 2]}})
    assert lines(tuneloop) == [
        "sweep.yaml:4: recipe: hill.yaml:5: training.rr: there is no key `rr` in `training`; did you mean `r`?"
    ]


def test_a_key_that_only_the_space_gives_is_not_missing(here, tuneloop):
    Path("hill.yaml").write_text("stage: hill\noutput_dir: runs/hill\ntraining:\n  r: 3\n")
    sweep(space={"training.learning_rate": {"low": 1e-4, "high": 0.1}})
    assert tuneloop("check", "sweep.yaml").returncode == 0


def test_a_pipeline_is_no_target(here, tuneloop):
    Path("all.yaml").write_text("stage: pipeline\noutput_dir: runs\nsteps: [hill.yaml]\n")
    sweep(recipe="all.yaml", space={"hill.training.r": {"choices": [1, 2]}})
    [said] = lines(tuneloop)
    assert said.endswith("recipe: stage pipeline makes no result of its own; name the recipe of one step")


def test_a_sweep_is_no_step_of_a_pipeline(here, tuneloop):
    sweep(space={"training.r": {"choices": [1, 2]}})
    Path("all.yaml").write_text("stage: pipeline\noutput_dir: runs\nsteps:\n- hill.yaml\n- sweep.yaml\n")
    result = tuneloop("run", "all.yaml")
    assert (result.returncode, result.stderr) == (
        2,
        "all.yaml:5: steps.1: sweep.yaml is no step: stage sweep makes no result of its own; "
        "start it by itself, before or after the pipeline\n",
    )


def test_a_recipe_that_is_no_sweep(here, tuneloop):
    result = tuneloop("sweep", "hill.yaml")
    assert (result.returncode, result.stderr) == (
        2,
        "hill.yaml:1: stage: this is no sweep; write: tuneloop run hill.yaml\n",
    )


def test_check_counts_runs(here, tuneloop):
    sweep(space={"training.r": {"choices": [1, 2, 4]}}, sampler="grid", seeds=[1, 2, 3], repeat_best=2)
    result = tuneloop("check", "sweep.yaml")
    assert result.returncode == 0, result.stderr
    said = " ".join(result.stdout.split())
    assert "3 configurations, 7 runs in all: grid over training.r; 3 seeds, the best 2 repeated; pruner none" in said
