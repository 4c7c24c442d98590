"""Stage preferences: labels and pairs in, files to train on out, nothing lost, run again only for new votes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.feedback.store import Candidate, Store, Vote, prompt_hash
from data_prep.records import Preference, read, read_rows, write_rows
from data_prep.stages import preferences
from recipes import artifact
from recipes.errors import UserError

PAIR_FILES = ("train", "validation", "test")


def ask(store: Store, prompt: str, choice: str, person: str = "Ann", edited: str = "") -> str:
    """Store a comparison and a vote on it."""
    messages = [{"role": "user", "content": prompt}]
    comparison = store.compare(messages, [Candidate("sft", "h1"), Candidate("dpo", "h2")])
    store.answer(comparison, [f"{prompt} one", f"{prompt} two"])
    showing = store.show(comparison, person)
    store.vote(Vote(showing.id, person, choice, showing.id, edited=edited))
    return showing.id


@pytest.fixture
def labels(tmp_path: Path) -> Store:
    """Forty comparisons with a vote each, five of them edited, and one without a vote."""
    store = Store(str(tmp_path / "labels.sqlite"))
    for number in range(40):
        choice = ("left", "right", "tie", "both_bad")[number % 4]
        ask(store, f"Question {number}?", choice, edited="Better." if number % 8 == 0 else "")
    store.compare([{"role": "user", "content": "Never answered?"}], [Candidate("sft", "h1"), Candidate("dpo", "h2")])
    return store


def recipe(tmp_path: Path, **keys: Any) -> preferences.Recipe:
    """Return a recipe that reads the store of `labels`."""
    values = {"output_dir": str(tmp_path / "out"), "labels": [str(tmp_path / "labels.sqlite")], "validation": 0.25}
    return preferences.Recipe.model_validate({**values, "test": 0.25, **keys})


def rows(tmp_path: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of one output file."""
    return list(read_rows(tmp_path / "out" / f"{name}.jsonl"))


def test_every_row_in_is_a_row_out(labels: Store, tmp_path: Path) -> None:
    pair = {"prompt": [{"role": "user", "content": "From a file?"}], "chosen": _said("yes"), "rejected": _said("no")}
    write_rows(tmp_path / "pairs.jsonl", [pair, pair, {**pair, "rejected": _said("yes")}])
    preferences.run(recipe(tmp_path, pairs=[str(tmp_path / "pairs.jsonl")]))
    manifest = artifact.read(tmp_path / "out")
    assert manifest
    counts, written = manifest.metrics["counts"], manifest.metrics["rows"]
    assert counts["comparisons"] == 41 == counts["won"] + counts["tie"] + counts["both_bad"] + counts["unfinished"]
    assert counts["votes"] == counts["votes_counted"] == 40
    assert (counts["won"], counts["tie"], counts["both_bad"]) == (20, 10, 10)
    assert counts["pairs_from_files"] == 3
    assert (counts["superseded"], counts["withdrawn"]) == (0, 0)
    assert manifest.metrics["dropped"] == {"duplicate": 1, "chosen equals rejected": 1}
    assert sum(written[name] for name in PAIR_FILES) == 20 + counts["pairs_from_edits"] + 1
    assert written["unpaired"] + written["unpaired_held_out"] == 40
    assert written["conversations"] + written["conversations_held_out"] == counts["edited"] == 5
    assert written["dropped"] == 2
    assert manifest.metrics["reliability"]["labels.sqlite"]["judged"] == 40
    assert all(written[name] == len(rows(tmp_path, name)) for name in written)


def test_no_prompt_stands_on_two_sides(labels: Store, tmp_path: Path) -> None:
    for number in range(20):
        ask(labels, f"  question {number}? ", "left", "Bea")
    preferences.run(recipe(tmp_path))
    sides: dict[str, set[str]] = {}
    for name in PAIR_FILES:
        for pair in read(tmp_path / "out" / f"{name}.jsonl", Preference):
            sides.setdefault(prompt_hash(pair.prompt), set()).add(name)
    assert all(len(names) == 1 for names in sides.values())
    assert set.union(*sides.values()) == set(PAIR_FILES)
    held_out = {prompt for prompt, names in sides.items() if names != {"train"}}
    assert not held_out & {prompt_hash(row["prompt"]) for row in rows(tmp_path, "unpaired")}
    assert not held_out & {prompt_hash(row["messages"][:-1]) for row in rows(tmp_path, "conversations")}


def test_reward_and_dpo_read_the_pairs(labels: Store, tmp_path: Path) -> None:
    from finetune.stages.reward import preference

    preferences.run(recipe(tmp_path))
    for number, row in enumerate(rows(tmp_path, "train")):
        prompt, chosen, rejected = preference(row, f"train.jsonl:{number}")
        assert prompt[-1]["role"] == "user" and chosen != rejected
        assert 0.5 < row["agreement"] <= 1 and row["margin"] > 0


def test_the_result_holds_until_somebody_votes(labels: Store, tmp_path: Path) -> None:
    preferences.run(recipe(tmp_path))
    assert artifact.matches(recipe(tmp_path))
    labels.close()  # moves the write-ahead log into the file
    assert artifact.matches(recipe(tmp_path))
    content = artifact.read(tmp_path / "out").content  # type: ignore[union-attr]
    ask(Store(str(tmp_path / "labels.sqlite")), "A new question?", "left")
    assert not artifact.matches(recipe(tmp_path))
    preferences.run(recipe(tmp_path))
    assert artifact.read(tmp_path / "out").content != content  # type: ignore[union-attr]


def test_a_withdrawn_vote_is_in_no_row(labels: Store, tmp_path: Path) -> None:
    showing = ask(labels, "Regretted?", "left")
    labels.vote(Vote(showing, "Ann", "left", "withdrawal", withdrawn=True))
    preferences.run(recipe(tmp_path))
    assert "Regretted?" not in json.dumps([rows(tmp_path, name) for name in (*PAIR_FILES, "unpaired", "dropped")])


def test_names_of_people_are_not_copied(labels: Store, tmp_path: Path) -> None:
    ask(labels, "Who asks?", "left", "Very Private Person")
    preferences.run(recipe(tmp_path))
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file() and b"Private" in file.read_bytes()]


def test_nothing_to_train_on_is_an_error_and_leaves_no_result(tmp_path: Path) -> None:
    Store(str(tmp_path / "labels.sqlite")).close()
    with pytest.raises(UserError, match="nothing to train on came of 0 votes"):
        preferences.run(recipe(tmp_path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("keys", "what"),
    [
        ({"labels": []}, "no labels and no pairs"),
        ({"validation": 0.5, "test": 0.5}, "validation + test is 1"),
        ({"labels": ["pairs.jsonl"]}, "is not an SQLite file"),
    ],
)
def test_mistakes_in_the_recipe_are_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pairs.jsonl").write_text("{}\n")
    (fault, *_) = recipe(tmp_path, **keys).faults()
    assert what in fault.what


def test_a_corrupt_line_in_a_file_of_pairs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": 1}\n')
    with pytest.raises(UserError, match=r"pairs\.jsonl:1: missing column chosen, rejected"):
        preferences.run(recipe(tmp_path, labels=[], pairs=[str(path)]))


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
