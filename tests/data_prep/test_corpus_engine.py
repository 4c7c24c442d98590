"""The corpus engine: the same bytes from any workers and shards, after any kill; copies are found wherever they lie."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep import dedup, shingles
from data_prep.corpus import duplicates
from data_prep.corpus.making import Making
from data_prep.corpus.sketches import SHARD_BITS, Sketches
from data_prep.engine import sorted_runs, workers
from data_prep.engine.phases import Phases, Task, replacing
from data_prep.engine.progress import Progress
from data_prep.records import read_rows
from data_prep.stages import corpus
from recipes import artifact
from recipes.errors import UserError

SMALLEST = 2**16  # bytes of input a shard
EVERYTHING: dict[str, Any] = {
    "encoding": {}, "unicode": {}, "whitespace": {}, "boilerplate": {"min_share": 0.5}, "length": {"min_words": 5},
    "gopher_repetition": {"ngram_factor": 3}, "off_topic": {"max_rarity": 50},
    "personal_data": {},
}  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def _processes_for_small_work_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SMALL", 0)


def _words(chance: random.Random, count: int) -> list[str]:
    return ["".join(chance.choices(LETTERS, k=chance.randint(3, 8))) for _ in range(count)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one big and many small files; copies, near copies and repeated lines lie far apart."""
    folder = tmp_path_factory.mktemp("raw")
    chance = random.Random(11)
    vocabulary = _words(chance, 600)
    texts = [" ".join(chance.choices(vocabulary, k=chance.randint(60, 200))) for _ in range(500)]
    rows = []
    for index, text in enumerate(texts):
        words = text.split()
        if index % 10 == 3:
            words = texts[(index * 7 + 1) % 250].split()  # an exact copy of a text before the middle
        elif index % 10 == 5:
            words = texts[(index * 3 + 2) % 250].split()
            words[len(words) // 2] = "changed"
        body = (
            f"The house and the garden of it.\n\n{' '.join(words)}\n\nSign up for our weekly letter about it {index}."
        )
        rows.append({"text": body + (f" Mail x{index}@example.org." if index % 17 == 0 else ""), "title": str(index)})
    (folder / "a").mkdir()
    (folder / "a" / "big.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:400]))
    for index, row in enumerate(rows[400:]):
        (folder / f"{index:03d}.txt").write_text(row["text"])
    (folder / "broken.jsonl").write_text('{"text": "x"}\n{"text": \n')
    return folder


def _recipe(raw: Path, out: Path, **keys: Any) -> corpus.Recipe:
    values: dict[str, Any] = {
        "inputs": [{"path": str(raw), "name": "raw"}], "output_dir": str(out), "filters": EVERYTHING,
        "deduplicate": {"threshold": 0.7, "paragraphs": {"min_words": 20, "threshold": 0.7}},
        "split": {"validation": 0.1, "test": 0.1}, "engine": {"workers": 1, "shard_bytes": SMALLEST},
    }  # fmt: skip
    return corpus.Recipe(**{**values, **keys})


def _content(folder: Path) -> str:
    manifest = artifact.read(folder)
    assert manifest is not None
    return manifest.content


@pytest.fixture(scope="module")
def reference(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus, made in one shard by one worker."""
    out = tmp_path_factory.mktemp("reference") / "out"
    corpus.run(_recipe(raw, out, engine={"workers": 1, "shard_bytes": 2**30}))
    return out


def test_one_shard_or_many_one_worker_or_three_give_the_same_bytes(raw: Path, reference: Path, tmp_path: Path) -> None:
    kept = sum(1 for side in ("train", "validation", "test") for _ in read_rows(reference / f"{side}.jsonl"))
    reasons = json.loads((reference / "funnel.json").read_text())["reasons"]
    assert 300 < kept < 460
    assert reasons["exact_duplicate"] > 20
    assert reasons["near_duplicate"] > 20
    for number, engine in enumerate(
        ({"workers": 1, "shard_bytes": SMALLEST}, {"workers": 3, "shard_bytes": 2 * SMALLEST})
    ):
        corpus.run(_recipe(raw, tmp_path / str(number), engine=engine))
        for name in ("train", "validation", "test", "unreadable", "contamination"):
            mine, theirs = (folder / f"{name}.jsonl" for folder in (tmp_path / str(number), reference))
            assert mine.read_bytes() == theirs.read_bytes(), (engine, name)
        assert _content(tmp_path / str(number)) == _content(reference), engine


COMMAND = (
    "import sys; from data_prep.engine import workers; from data_prep.stages import corpus; workers.SMALL = 0; "
    "corpus.run(corpus.Recipe.model_validate_json(sys.argv[1]))"
)


def _started(recipe: corpus.Recipe) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, recipe.model_dump_json()],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def _marks(out: Path) -> list[Path]:
    return list((out.with_name(out.name + ".partial") / ".scratch" / "corpus" / "marks").rglob("*.json"))


@pytest.mark.parametrize("count", [1, 2])
def test_killed_anywhere_the_same_command_goes_on_with_the_same_bytes(
    raw: Path, reference: Path, tmp_path: Path, count: int
) -> None:
    recipe = _recipe(raw, tmp_path / "out", engine={"workers": count, "shard_bytes": SMALLEST})
    seen = 0
    for wanted in (1, 6, 17, 40):  # tasks finished when the kill comes
        process = _started(recipe)
        while process.poll() is None and len(_marks(tmp_path / "out")) < max(wanted, seen + 1):
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert len(_marks(tmp_path / "out")) >= seen
        seen = len(_marks(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    times = {mark: mark.stat().st_mtime_ns for mark in _marks(tmp_path / "out")}
    corpus.run(recipe)
    assert _content(tmp_path / "out") == _content(reference)
    assert len(times) >= 4


def test_finished_tasks_are_not_done_again(tmp_path: Path) -> None:
    with workers.opened(1, "", tmp_path) as crew:
        first = Phases(tmp_path / "work", crew, Progress(shown=False))
        tasks = [Task(str(number), _append, (str(tmp_path / "log"), number)) for number in range(5)]
        assert first.run("one", tasks[:3]) == [{"number": 0}, {"number": 1}, {"number": 2}]
        again = Phases(tmp_path / "work", crew, Progress(shown=False))
        assert again.run("one", tasks) == [{"number": number} for number in range(5)]
        assert again.skipped == 3
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("damage", [b"", b'{"number": ', b"\xff\x00", b"[1]"])
def test_a_damaged_mark_is_no_mark(tmp_path: Path, damage: bytes) -> None:
    with workers.opened(1, "", tmp_path) as crew:
        tasks = [Task(str(number), _append, (str(tmp_path / "log"), number)) for number in range(2)]
        Phases(tmp_path / "work", crew, Progress(shown=False)).run("one", tasks)
        (tmp_path / "work" / "marks" / "one" / "1.json").write_bytes(damage)
        again = Phases(tmp_path / "work", crew, Progress(shown=False))
        assert again.run("one", tasks) == [{"number": 0}, {"number": 1}]
    assert (tmp_path / "log").read_text().split() == ["0", "1", "1"]


class _Stopped(Exception):
    pass


def _stopped_before_publishing(recipe: corpus.Recipe, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a corpus up to its publication; return its work folder."""

    def stop(making: Making) -> None:
        raise _Stopped

    with monkeypatch.context() as patch:
        patch.setattr(Making, "publish", stop)
        with pytest.raises(_Stopped):
            corpus.run(recipe)
    return Path(f"{recipe.output_dir}.partial")


def test_a_file_that_is_lost_between_two_runs_is_written_again(
    raw: Path, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(raw, tmp_path / "out", engine={"workers": 1, "shard_bytes": SMALLEST})
    partial = _stopped_before_publishing(recipe, monkeypatch)
    (partial / "train.jsonl").unlink()
    corpus.run(recipe)
    assert _content(tmp_path / "out") == _content(reference)


def test_lost_documents_of_an_interrupted_run_are_told(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = _recipe(raw, tmp_path / "out", engine={"workers": 1, "shard_bytes": SMALLEST})
    partial = _stopped_before_publishing(recipe, monkeypatch)
    scratch = partial / ".scratch" / "corpus"
    for mark in (scratch / "marks" / "last").iterdir():
        mark.unlink()
    lost = sorted(scratch.glob("pass-*/00000.jsonl"))[-1]
    lost.unlink()
    with pytest.raises(UserError) as caught:
        corpus.run(recipe)
    assert str(caught.value) == (
        f"{lost}: this file of an interrupted run is gone; "
        f"remove {partial}, then the same command again: it starts from the beginning"
    )
    assert caught.value.code == 1


ORPHAN = """
import multiprocessing, os, sys, time
from data_prep.engine import workers

def late():
    print("started", flush=True)
    time.sleep(1)  # the run has ended by now
    workers._end_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=late).start()
    sys.stdin.readline()
    os._exit(1)
"""


def test_a_worker_ends_with_its_run_also_when_that_ended_first(tmp_path: Path) -> None:
    (tmp_path / "orphan.py").write_text(ORPHAN)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "orphan.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    process.kill()
    started = time.monotonic()
    assert process.stdout.read() == b""  # to the end: the worker holds the other end of the pipe
    assert time.monotonic() - started < 20


def _append(log: str, number: int) -> dict[str, Any]:
    with open(log, "a") as stream:
        stream.write(f"{number}\n")
    return {"number": number}


def _die_once(mark: str, number: int) -> dict[str, Any]:
    if number == 3:
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return {"number": number}


def test_a_killed_worker_costs_only_its_task(tmp_path: Path) -> None:
    with workers.opened(2, "", tmp_path) as crew:
        tasks = [Task(str(number), _die_once, (str(tmp_path / "died"), number)) for number in range(8)]
        results = Phases(tmp_path / "work", crew, Progress(shown=False)).run("one", tasks)
    assert (tmp_path / "died").exists()
    assert results == [{"number": number} for number in range(8)]


STEP = """
import multiprocessing, sys
from multiprocessing import forkserver
from pathlib import Path
from data_prep.engine import workers

def step():
    workers.SMALL = 0
    with workers.opened(2, "", Path(".")) as crew:
        assert sorted(crew.map([(pow, (2, 3)), (pow, (2, 4)), (pow, (2, 5))], 0)) == [(0, 8), (1, 16), (2, 32)]

if __name__ == "__main__":
    forkserver.ensure_running()
    process = multiprocessing.get_context("fork").Process(target=step)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


def test_a_step_that_a_pipeline_has_forked_has_workers_too(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    ended = subprocess.run([sys.executable, str(tmp_path / "step.py")], capture_output=True, text=True, timeout=60,
                           env={**os.environ, "PYTHONPATH": os.getcwd()})  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")


def test_small_work_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SMALL", 1000)
    with workers.opened(2, "", tmp_path) as crew:
        assert {pid for _, pid in crew.map([(os.getpid, ())] * 3, 999)} == {os.getpid()}
        assert os.getpid() not in {pid for _, pid in crew.map([(os.getpid, ())] * 3, 1000)}


def _fail(number: int) -> dict[str, Any]:
    if number == 2:
        raise UserError("here", "it is wrong", "write it right")
    return {"number": number}


@pytest.mark.parametrize("count", [1, 2])
def test_a_mistake_in_a_task_ends_the_run_and_is_told(tmp_path: Path, count: int) -> None:
    with workers.opened(count, "", tmp_path) as crew, pytest.raises(UserError) as caught:
        Phases(tmp_path / "work", crew, Progress(shown=False)).run(
            "one", [Task(str(number), _fail, (number,)) for number in range(6)]
        )
    assert str(caught.value) == "here: it is wrong; write it right"


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra `cluster`")
    monkeypatch.setattr(workers, "_LONGEST_WAIT", 0.5)
    with pytest.raises(UserError) as caught, workers.opened(0, "tcp://127.0.0.1:9", tmp_path):
        pass
    assert str(caught.value).startswith("engine.scheduler: no Dask cluster with workers answers at tcp://127.0.0.1:9 (")


# --- sorted runs


def test_slices_give_every_record_once_in_order(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    paths, everything = [], []
    for number, size in enumerate((0, 1, 5_000, 777)):
        records = np.zeros(size, dtype=[("key", "<u8"), ("value", "<i8")])
        records["key"] = generator.integers(0, 2**64, size, dtype=np.uint64) >> np.uint64(52) << np.uint64(52)
        records["value"] = np.arange(size) + number * 10_000
        paths.append(tmp_path / f"{number}.npy")
        sorted_runs.write(paths[-1], records)
        everything += records.tolist()
    found = [record for part in sorted_runs.slices(paths, rows=500) for record in part.tolist()]
    assert len(sorted_runs.bounds(paths, rows=500)) == 12
    assert found == sorted(everything, key=lambda record: record[0])  # stable: of equal keys the order stays
    starts, counts = sorted_runs.groups(sorted_runs.between(paths, 0, 2**64 - 1))
    assert counts.sum() == len(everything)
    assert len(starts) == len({key for key, _ in everything})


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as stream:
        stream.write(b"half")
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


# --- duplicates over shards


def _texts(chance: random.Random) -> list[str]:
    """Texts of which many are alike to a known degree, also in chains."""
    found = []
    for _ in range(60):
        words = _words(chance, 120)
        found.append(" ".join(words))
        for changes in chance.sample(range(1, 9), 3):
            copy = list(words)
            for place in chance.sample(range(120), changes):
                copy[place] = chance.choice(LETTERS) * 4
            found.append(" ".join(copy))
    found += chance.choices(found, k=30)
    chance.shuffle(found)
    return found


def _searched(
    texts: list[str], folder: Path, threshold: float, per_shard: int, keep: str = "longest"
) -> dict[str, Any]:
    bands, rows = dedup.banding(threshold, 128)
    beginnings = []
    for shard, start in enumerate(range(0, len(texts), per_shard)):
        sketches = Sketches(shard, shingle=5, bands=bands, rows=rows)
        for number, text in enumerate(texts[start : start + per_shard]):
            sketches.add(text, str(start + number), "source")
        beginnings.append(folder / f"{shard:05d}")
        sketches.save(beginnings[-1])
    search = duplicates.Search(tuple(map(str, beginnings)), str(folder / "found"), threshold, keep)
    with workers.opened(1, "", folder) as crew:
        counts = duplicates.find(search, Phases(folder / "work", crew, Progress(shown=False)), "duplicates", 0)
    drops, roots = {}, {}
    for shard in range(len(beginnings)):
        marks = duplicates.marks_of(folder / "found", shard)
        drops |= {shard * per_shard + int(place): mark for place, mark in marks.drops.items()}
        roots |= {shard * per_shard + int(place): int(root) for place, root in marks.roots.items()}
    return {"counts": counts, "drops": drops, "roots": roots}


def _brute(texts: list[str]) -> Iterator[tuple[int, int, float]]:
    sets = [{tuple(words[at : at + 5]) for at in range(len(words) - 4)} for words in map(shingles.words, texts)]
    for a in range(len(texts)):
        for b in range(a + 1, len(texts)):
            yield a, b, len(sets[a] & sets[b]) / len(sets[a] | sets[b])


@pytest.mark.parametrize("per_shard", [7, 1000])
def test_duplicates_are_those_of_brute_force(tmp_path: Path, per_shard: int) -> None:
    texts = _texts(random.Random(per_shard))
    found = _searched(texts, tmp_path, 0.7, per_shard)
    alike = {(a, b): likeness for a, b, likeness in _brute(texts)}
    parent = list(range(len(texts)))

    def root(item: int) -> int:
        return item if parent[item] == item else root(parent[item])

    for (a, b), likeness in alike.items():
        if likeness >= 0.7:
            one, other = sorted((root(a), root(b)))
            parent[other] = one
    truth = {item: root(item) for item in range(len(texts))}
    clustered = {item for item, first in truth.items() if item != first} | set(truth.values())
    expected = {item: truth[item] for item in range(len(texts)) if list(truth.values()).count(truth[item]) > 1}
    assert found["roots"] == {item: first for item, first in expected.items() if item in clustered}
    kept = [item for item in range(len(texts)) if item not in found["drops"]]
    assert not [(a, b) for a in kept for b in kept if a < b and alike[(a, b)] >= 0.7]
    for item, (other, likeness, copy) in found["drops"].items():
        pair = (min(item, int(other)), max(item, int(other)))
        assert int(other) in kept
        if copy:
            assert texts[item].split() == texts[int(other)].split()
        elif texts[item] not in texts[:item]:  # an exact copy goes with its first one, and carries its likeness
            assert likeness == pytest.approx(alike[pair], abs=1e-4)
            assert likeness >= 0.7


def test_the_best_copy_is_the_longest_or_the_first(tmp_path: Path) -> None:
    words = _words(random.Random(1), 100)
    texts = [" ".join(words), " ".join([*words, "and", "more"]), " ".join(words[:98])]
    assert set(_searched(texts, tmp_path / "a", 0.7, 2)["drops"]) == {0, 2}
    assert set(_searched(texts, tmp_path / "b", 0.7, 2, keep="first")["drops"]) == {1, 2}


def test_many_copies_of_one_text_cost_no_comparison(tmp_path: Path) -> None:
    words = _words(random.Random(2), 100)
    texts = [" ".join(words) + " " * index for index in range(3000)]
    found = _searched(texts, tmp_path, 0.7, 500)
    assert found["counts"]["exact"] == 2999
    assert set(found["roots"].values()) == {0}


def test_a_large_cluster_of_near_copies_is_found_with_few_comparisons(tmp_path: Path) -> None:
    chance = random.Random(4)
    words = _words(chance, 200)
    texts = [" ".join([*words[:150], str(index), *words[150:]]) for index in range(1500)]
    started = time.process_time()
    found = _searched(texts, tmp_path, 0.8, 400)
    assert found["counts"] | {"shown": 0, "largest": 0, "together": 0} == {
        "exact": 0, "near": 1499, "clusters": 1, "shown": 0, "largest": 0, "together": 0,
    }  # fmt: skip
    assert time.process_time() - started < 20


def test_components_of_long_chains() -> None:
    chance = random.Random(9)
    order = list(range(5000))
    chance.shuffle(order)
    links = [(order[at], order[at + 1]) for at in range(4999) if at % 1000 != 999]
    chance.shuffle(links)
    a, b = (np.array([link[side] for link in links], dtype=np.int64) for side in (0, 1))
    members, roots = duplicates.components(a, b)
    expected = {item: min(order[at : at + 1000]) for at in range(0, 5000, 1000) for item in order[at : at + 1000]}
    assert dict(zip(members.tolist(), roots.tolist(), strict=True)) == expected


def test_items_sort_as_documents_do() -> None:
    assert (3 << SHARD_BITS) + 5 > (2 << SHARD_BITS) + 4_000_000


# --- what only some recipes ask for


def _three_sources(folder: Path) -> Path:
    chance = random.Random(6)
    shared = " ".join(_words(chance, 80))
    for source in range(12):
        (folder / f"s{source:02d}").mkdir(parents=True)
        for number in range(8):
            text = " ".join(_words(chance, 80)) if not (source < 2 and number == 0) else f"{shared} {source}"
            (folder / f"s{source:02d}" / f"{number}.txt").write_text(text)
    return folder


def test_split_by_source_keeps_sources_and_their_near_duplicates_together(tmp_path: Path) -> None:
    raw = _three_sources(tmp_path / "raw")
    recipe = _recipe(raw, tmp_path / "out", filters={}, deduplicate={"threshold": 0.6, "permutations": 128},
                     split={"validation": 0.3, "test": 0.3, "by": "source"})  # fmt: skip
    corpus.run(recipe)
    sides: dict[str, set[str]] = {}
    for side in ("train", "validation", "test"):
        for row in read_rows(tmp_path / "out" / f"{side}.jsonl"):
            sides.setdefault(row["source"], set()).add(side)
    assert len(sides) == 12
    assert all(len(found) == 1 for found in sides.values())
    assert sides["raw/s00"] == sides["raw/s01"]
    assert len(set.union(*sides.values())) == 3


def test_paragraphs_stay_where_they_come_first(tmp_path: Path) -> None:
    chance = random.Random(8)
    (tmp_path / "raw").mkdir()
    notice = _words(chance, 40)
    for number in range(4):
        near = list(notice)
        near[5] = f"changed{number}"
        own = " ".join(_words(chance, 60))
        (tmp_path / "raw" / f"{number}.txt").write_text(f"{own}\n\n{' '.join(near)}\n\nShort end.")
    (tmp_path / "raw" / "5.txt").write_text(" ".join(notice))
    corpus.run(
        _recipe(tmp_path / "raw", tmp_path / "out", filters={}, split={"validation": 0, "test": 0},
                deduplicate={"threshold": 0.9, "paragraphs": {"min_words": 30, "threshold": 0.6}})
    )  # fmt: skip
    rows = list(read_rows(tmp_path / "out" / "train.jsonl"))
    assert [row["text"].count("\n\n") for row in rows] == [2, 1, 1, 1]
    assert [row["meta"].get("duplicate_paragraphs") for row in rows] == [None, 1, 1, 1]
    assert all(row["text"].endswith("Short end.") for row in rows)
    (dropped,) = read_rows(tmp_path / "out" / "dropped.jsonl")
    assert (dropped["id"], dropped["reason"]) == ("raw/5.txt", "duplicate_paragraphs")


def test_two_runs_on_the_same_output(raw: Path, tmp_path: Path) -> None:
    recipe = _recipe(raw, tmp_path / "out")
    process = _started(recipe)
    while not _marks(tmp_path / "out"):
        time.sleep(0.005)
    with pytest.raises(UserError) as caught:
        corpus.run(recipe)
    assert f"another run (process {process.pid}) is writing this folder now" in str(caught.value)
    assert process.wait() == 0
