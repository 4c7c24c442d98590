"""Verdicts, which pairs are compared, and the past of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import write_rows
from eval import comparison, lineage
from eval.comparison import Pair
from eval.report import plots, words
from eval.task import Measure


def counted(values: Any) -> Measure:
    return Measure("accuracy", "accuracy", [(float(value), 1.0) for value in values])


def test_verdicts_look_at_the_direction() -> None:
    assert comparison.verdict(0.1, 0.01, True) == "better"
    assert comparison.verdict(0.1, 0.01, False) == "worse"
    assert comparison.verdict(-0.1, 0.01, False) == "better"
    assert comparison.verdict(0.1, 0.05, True) == "no evidence"
    assert comparison.verdict(0.0004, 0.0001, True) == "no evidence"


def test_many_comparisons_make_each_harder_to_win() -> None:
    # Eight wins and no loss: p = 2 / 256.
    worse, better = [0] * 8 + [1] * 12, [1] * 20
    pair = Pair("task", "accuracy", "a", "b", (counted(worse), counted(better)), None)
    alone = comparison.compare([pair], seed=0)[0]
    assert (alone.verdict, alone.method) == ("better", "McNemar exact")
    same = Pair("other", "accuracy", "a", "b", (counted(worse), counted(worse)), None)
    among = comparison.compare([pair, *[same] * 20], seed=0)
    assert among[0].p == alone.p and among[0].p_adjusted == pytest.approx(21 * alone.p)
    assert {one.verdict for one in among} == {"no evidence"}


def test_items_that_one_was_not_asked_are_left_out_of_both() -> None:
    a, b = counted([1, 1, 0, 0]), counted([1, 0, 1, 0])
    a.rows[0] = b.rows[2] = (0.0, 0.0)
    found = comparison.compare([Pair("task", "accuracy", "a", "b", (a, b), None)], seed=0)[0]
    assert (found.items, found.difference) == (2, -0.5)
    score = comparison.score("a", "task", "accuracy", a, None, 0)
    assert score is not None and (score.n, score.value, score.method) == (3, pytest.approx(1 / 3), "wilson")
    b.rows[:] = [(0.0, 0.0)] * 4
    assert comparison.compare([Pair("task", "accuracy", "a", "b", (a, b), None)], seed=0) == []
    assert comparison.score("b", "task", "accuracy", b, None, 0) is None


def test_sources_are_counted() -> None:
    score = comparison.score("a", "task", "accuracy", counted([1, 0, 1, 1]), ["x", "x", "y", "y"], 0)
    assert score is not None and (score.n, score.sources, score.method) == (4, 2, "bootstrap")


def test_pairs_follow_training_and_the_baseline_once() -> None:
    parents = {"base": None, "cpt": "base", "sft": "cpt", "dpo": "sft", "ppo": "sft"}
    found = comparison.pairs_of(list(parents), "sft", parents)
    assert found == [("base", "cpt"), ("base", "sft"), ("cpt", "sft"), ("sft", "dpo"), ("sft", "ppo")]
    assert comparison.pairs_of(["b", "a"], None, {"a": None, "b": None}) == []


def made(folder: Path, stage: str, inputs: dict[str, tuple[Path, bool]]) -> Path:
    """Write a finished stage's folder with nothing in it but its manifest."""
    folder.mkdir(parents=True)
    entries = {
        key: {"path": str(path), "model": model, "stage": path.name, "content": f"content of {path.name}"}
        for key, (path, model) in inputs.items()
    }
    texts = dict.fromkeys(("version", "source", "started", "fingerprint"), "")
    objects: dict[str, Any] = {name: {} for name in ("recipe", "files", "sizes", "notes", "libraries", "machine")}
    numbers = {"seed": 0, "seconds": 1.0, "peak_memory": 0, "processes": 1, "resumed": False, "tuneloop": 1}
    own = {"stage": stage, "inputs": entries, "volatile": [], "content": f"content of {folder.name}", "metrics": {}}
    (folder / "manifest.json").write_text(json.dumps({**texts, **objects, **numbers, **own}))
    return folder


def test_the_past_of_a_policy_taught_by_a_reward_model(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    for name in ("text", "chats", "pairs", "prompts", "held"):
        write_rows(tmp_path / f"{name}.jsonl", [])
    file = {name: (tmp_path / f"{name}.jsonl", False) for name in ("text", "chats", "pairs", "prompts", "held")}
    cpt = made(tmp_path / "cpt", "cpt", {"model": (base, True), "data.train_file": file["text"]})
    sft = made(tmp_path / "sft", "sft", {"model": (cpt, True), "data.train_file": file["chats"]})
    reward = made(tmp_path / "reward", "reward", {"model": (sft, True), "data.train_file": file["pairs"]})
    inputs = {"reward": (reward, True), "model": (sft, True), "data.train_file": file["prompts"]}
    ppo = made(tmp_path / "ppo", "ppo", {**inputs, "data.validation_file": file["held"]})
    assert [one.stage for one in lineage.past(str(ppo))] == ["ppo", "reward", "sft", "cpt"]
    trained_on = {Path(one.named).stem for one in lineage.training_files(str(ppo))}
    assert trained_on == {"prompts", "pairs", "chats", "text"}
    others = {"base": str(base), "cpt": str(cpt), "sft": str(sft)}
    assert lineage.parent(str(ppo), others) == "sft"
    assert lineage.parent(str(sft), {"base": str(base), "ppo": str(ppo)}) == "base"
    assert lineage.parent(str(base), {"sft": str(sft)}) is None
    assert lineage.origins(str(ppo)) == [str(base)]
    manifest = json.loads((cpt / "manifest.json").read_text())
    (cpt / "manifest.json").write_text(json.dumps({**manifest, "content": "trained again"}))
    assert [one.stage for one in lineage.past(str(sft))] == ["sft"]
    assert lineage.origins(str(sft)) == [f"{cpt} (changed since it was used)"]
    (tmp_path / "text.jsonl").unlink()
    assert [one.path for one in lineage.training_files(str(cpt))] == [None]


def test_curves_are_read_from_the_log(tmp_path: Path) -> None:
    cpt = made(tmp_path / "cpt", "cpt", {})
    rows = [{"step": 1, "loss": 3.0, "grad_norm": 1.0}, {"step": 2, "loss": 2.5}, {"step": 2, "eval_loss": 2.6}]
    write_rows(cpt / "log.jsonl", rows)
    manifest = lineage.past(str(cpt))[0]
    assert lineage.curve(manifest) == {"loss": [(1.0, 3.0), (2.0, 2.5)], "eval_loss": [(2.0, 2.6)]}
    write_rows(cpt / "log.jsonl", rows[:1])
    assert lineage.curve(manifest) == {}


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.21, 0.34), (-3.2, 4.1), (0.0, 0.0), (1.0, 1.0), (-0.004, 900.0)]
)
def test_ticks_are_few_round_and_cover_the_values(low: float, high: float) -> None:
    marks = plots.ticks(low, high)
    assert marks[0] <= low and high <= marks[-1] and 2 <= len(marks) <= 6
    steps = {round(b - a, 9) for a, b in zip(marks, marks[1:], strict=False)}
    assert len(steps) == 1


def test_signed_numbers() -> None:
    assert [words.signed(value) for value in (0.25, -0.25, -0.0001, 0.0)] == ["+0.250", "−0.250", "+0.000", "+0.000"]
    assert words.signed(-7e-16, ".3g") == "+0"
