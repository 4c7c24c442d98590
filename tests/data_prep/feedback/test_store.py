"""The label store: what was acknowledged is there, once, whoever writes at the same time and whatever is killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from data_prep.feedback.replay import replay
from data_prep.feedback.store import Candidate, Refused, Showing, Store, Vote, prompt_hash
from recipes.errors import UserError
from recipes.hashing import file_hash

REPOSITORY = Path(__file__).parents[3]
PROMPT = [{"role": "user", "content": "When does the blue poppy bloom?"}]
WHO = [Candidate("sft", "hash-1", {"temperature": 0.7}, 1), Candidate("dpo", "hash-2", {"temperature": 0.7}, 2)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "folder" / "labels.sqlite"))


def shown(store: Store, person: str = "Ann", answers: list[str] | None = None) -> Showing:
    """Store a finished comparison and show it."""
    comparison = store.compare(PROMPT, WHO)
    store.answer(comparison, answers or ["In June.", "Never."])
    return store.show(comparison, person)


def test_what_is_shown_was_stored_before(store: Store) -> None:
    comparison = store.compare(PROMPT, WHO, source="written")
    early = store.show(comparison, "Ann", guideline="g1")
    assert early.sides() == [None, None]
    rows = store.rows()
    assert [(row["checkpoint"], row["content"], row["seed"]) for row in rows["candidates"]] == [
        ("sft", "hash-1", 1), ("dpo", "hash-2", 2)
    ]  # fmt: skip
    assert rows["showings"][0]["order"] == early.order
    assert rows["showings"][0]["guideline"] == "g1"
    with pytest.raises(Refused, match="not finished"):
        store.vote(Vote(early.id, "Ann", "left", "k"))


def test_both_orders_of_the_sides_occur(store: Store) -> None:
    comparison = store.compare(PROMPT, WHO)
    left = Counter(store.show(comparison, f"person {number}").order[0] for number in range(60))
    assert min(left[0], left[1]) > 10


def test_a_repeated_key_stores_one_row(store: Store) -> None:
    one = shown(store)
    assert store.vote(Vote(one.id, "Ann", "left", "key"))
    assert not store.vote(Vote(one.id, "Ann", "left", "key"))
    with pytest.raises(Refused, match="already judged"):
        store.vote(Vote(one.id, "Ann", "right", "key"))
    assert len(store.rows()["votes"]) == 1


def test_the_last_vote_counts_and_a_withdrawal_takes_it_back(store: Store) -> None:
    one = shown(store)
    store.vote(Vote(one.id, "Ann", "left", "k1"))
    store.vote(Vote(one.id, "Ann", "right", "k2", strength=2))
    state = replay(store)
    (judgement,) = state.comparisons[0].judgements
    assert (judgement.outcome, judgement.strength) == (str(one.order[1]), 2)
    assert (state.votes, state.superseded, state.withdrawn) == (2, 1, 0)
    store.vote(Vote(one.id, "Ann", "right", "k3", withdrawn=True))
    state = replay(store)
    assert state.comparisons[0].judgements == []
    assert (state.votes, state.superseded, state.withdrawn) == (3, 2, 1)
    assert store.choice(one.id) == ""


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"choice": "first"}, "none of left"),
        ({"strength": 4}, "strength 4"),
        ({"person": ""}, "needs a person"),
        ({"key": ""}, "needs a person"),
        ({"key": "k" * 121}, "needs a person"),
        ({"note": "x" * 20_001}, "at most"),
        ({"showing": "' OR 1=1 --"}, "no such pair"),
        ({"person": "Eve"}, "someone else"),
    ],
)
def test_impossible_votes_are_refused_and_nothing_is_stored(store: Store, change: dict[str, str], what: str) -> None:
    one = shown(store)
    with pytest.raises(Refused, match=what):
        store.vote(Vote(**{"showing": one.id, "person": "Ann", "choice": "left", "key": "k", **change}))
    assert store.rows()["votes"] == []


@pytest.mark.parametrize("statement", ["UPDATE votes SET choice = 'right'", "DELETE FROM comparisons"])
def test_the_database_itself_refuses_changes(store: Store, statement: str) -> None:
    one = shown(store)
    store.vote(Vote(one.id, "Ann", "left", "k"))
    with pytest.raises(DatabaseError, match="append-only"), store.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert len(store.rows()["votes"]) == len(store.rows()["comparisons"]) == 1


def test_a_pair_waits_for_its_second_judge_only(store: Store) -> None:
    one = shown(store, "Ann")
    assert store.waiting("Bea", 2, "") is None
    store.vote(Vote(one.id, "Ann", "left", "k1"))
    assert store.waiting("Ann", 2, "") is None
    assert store.waiting("Bea", 2, "") == one.comparison
    assert store.waiting("Bea", 2, "written") is None
    again = store.show(one.comparison, "Bea")
    assert store.waiting("Bea", 2, "") is None
    assert store.waiting("Cleo", 2, "") == one.comparison
    store.vote(Vote(again.id, "Bea", "left", "k2"))
    assert store.waiting("Cleo", 2, "") is None
    assert store.times_asked() == {prompt_hash(PROMPT): 1}


def test_only_the_owner_can_read_the_file(store: Store) -> None:
    assert os.stat(store.place).st_mode & 0o077 == 0


def test_the_content_hash_follows_the_rows_and_not_the_bytes(store: Store) -> None:
    one = shown(store)
    before = file_hash(store.place)
    with sqlite3.connect(store.place) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert file_hash(store.place) == before
    data = Path(store.place).read_bytes()
    store.vote(Vote(one.id, "Ann", "left", "k"))
    assert Path(store.place).read_bytes() == data, "the vote stands in the write-ahead log only"
    voted = file_hash(store.place)
    assert voted != before
    store.close()
    assert file_hash(store.place) == voted


@pytest.mark.parametrize(
    ("content", "what"), [(b"no database, but long enough to look like one" * 40, "not a database"), (b"", "label")]
)
def test_what_is_no_store_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_bytes(content)
    with pytest.raises(UserError, match=what):
        Store(str(path), create=False)


def test_a_missing_store_and_an_impossible_url_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no label store"):
        Store(str(tmp_path / "gone.sqlite"), create=False)
    with pytest.raises(UserError, match="no database can be opened") as error:
        Store("nosuch://ann:secret@host/base")
    assert "secret" not in str(error.value)


WRITER = """
import sys
from data_prep.feedback.store import Store, Vote
store = Store(sys.argv[1])
for number, showing in enumerate(sys.argv[3:]):
    for repeat in range(2):  # as a browser that is not sure whether it was heard
        store.vote(Vote(showing, "Ann", "left", f"{sys.argv[2]}-{number}"))
    print(f"{sys.argv[2]}-{number}", flush=True)
"""


def test_kill_in_the_middle_of_writes_loses_no_acknowledged_vote_and_doubles_none(store: Store, tmp_path: Path) -> None:
    writers, each = 3, 1000
    comparison = store.compare(PROMPT, WHO)
    store.answer(comparison, ["a", "b"])
    showings = [store.show(comparison, "Ann").id for _ in range(4)] * (each // 4)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    logs = [tmp_path / f"{number}.log" for number in range(writers)]
    running = []
    for number, log in enumerate(logs):
        command = [sys.executable, "-c", WRITER, store.place, f"w{number}", *showings]
        with log.open("w") as stdout:
            running.append(subprocess.Popen(command, stdout=stdout, env=environment))
    deadline = time.monotonic() + 120
    while not all(log.stat().st_size for log in logs) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    for writer in running:
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=30)
    acknowledged = [key for log in logs for key in log.read_text().split()]
    stored = [row["key"] for row in store.rows()["votes"]]
    assert len(acknowledged) >= writers
    assert any(f"w{number}-{each - 1}" not in stored for number in range(writers)), "none was killed at work"
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored)) <= len(acknowledged) + writers
    with sqlite3.connect(store.place) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_several_processes_may_set_up_a_store_at_once(tmp_path: Path) -> None:
    code = "import sys; from data_prep.feedback.store import Store; Store(sys.argv[1]).close()"
    place = str(tmp_path / "labels.sqlite")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    running = [subprocess.Popen([sys.executable, "-c", code, place], env=environment) for _ in range(4)]
    assert [one.wait(timeout=60) for one in running] == [0, 0, 0, 0]
    assert len(Store(place).rows()["schema_version"]) == 1
