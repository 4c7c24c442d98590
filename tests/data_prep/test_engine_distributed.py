"""The corpus stage on a Dask cluster of two workers, started as on two machines: same bytes, also after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_prep.engine import workers
from data_prep.engine.phases import Phases, Task
from data_prep.engine.progress import Progress
from data_prep.records import read_rows
from data_prep.stages import corpus
from recipes import artifact
from recipes.errors import UserError

pytest.importorskip("distributed", reason="needs the extra `cluster`")

REPOSITORY = Path(__file__).resolve().parents[2]
SHARD = 2**16  # bytes of input: the corpus below has six
RESULTS = ("train", "validation", "test", "dropped", "unreadable", "contamination")


@dataclass
class Cluster:
    """A scheduler and two workers, each below a nanny that starts it again."""

    address: str
    nannies: list[subprocess.Popen[bytes]]

    def pids(self) -> dict[int, int]:
        """Return the process of each worker and the nanny it belongs to."""
        from distributed import Client

        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len([nanny for nanny in self.nannies if nanny.poll() is None]), timeout=30)
            return dict(client.run(lambda: (os.getpid(), os.getppid())).values())


def _start(module: str, *arguments: str, folder: Path = REPOSITORY) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *arguments], cwd=folder, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _address(file: Path, seconds: float = 60) -> str:
    """Wait for a scheduler to say where it is; the file is there before its words are."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return str(json.loads(file.read_text())["address"])
        time.sleep(0.02)
    raise TimeoutError(f"no scheduler within {seconds} seconds")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    file = tmp_path / "scheduler.json"
    scheduler = _start(
        "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
    )
    running = Cluster("", [])
    try:
        running.address = _address(file)
        running.nannies += [
            _start("dask_worker", running.address, "--nthreads", "1", "--no-dashboard") for _ in range(2)
        ]
        yield running
    finally:
        for process in (*running.nannies, scheduler):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards; each text of the first has an exact copy and a near copy in the last ones."""
    folder = tmp_path_factory.mktemp("raw")
    chance = random.Random(5)
    vocabulary = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 8))) for _ in range(900)]
    texts = [" ".join(chance.choices(vocabulary, k=120)) for _ in range(400)]
    copies = texts[:50]
    near = [text.replace(text.split()[60], "changed", 1) for text in copies]
    rows = [*texts, *copies, *near]
    (folder / "documents.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in rows))
    return folder


def _recipe(raw: Path, out: Path, scheduler: str = "") -> corpus.Recipe:
    return corpus.Recipe(
        inputs=[{"path": str(raw), "name": "raw"}], output_dir=str(out),
        filters={"boilerplate": {}, "length": {"min_words": 5}, "personal_data": {}},
        split={"validation": 0.1, "test": 0.1},
        engine={"workers": 1, "shard_bytes": SHARD, "scheduler": scheduler},
    )  # fmt: skip


@pytest.fixture(scope="module")
def reference(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus that one local process makes."""
    out = tmp_path_factory.mktemp("reference") / "out"
    corpus.run(_recipe(raw, out))
    return out


def _assert_same(out: Path, reference: Path) -> None:
    for name in RESULTS:
        assert (out / f"{name}.jsonl").read_bytes() == (reference / f"{name}.jsonl").read_bytes(), name
    mine, theirs = artifact.read(out), artifact.read(reference)
    assert mine is not None
    assert theirs is not None
    assert mine.content == theirs.content


def _marks(out: Path) -> int:
    return len(list(out.with_name(f"{out.name}.partial").glob(".scratch/corpus/marks/*/*.json")))


class _Running:
    """A run of the recipe in a thread."""

    def __init__(self, recipe: corpus.Recipe) -> None:
        self.error: BaseException | None = None
        self._recipe = recipe
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            corpus.run(self._recipe)
        except BaseException as error:
            self.error = error

    def wait_for_marks(self, count: int) -> None:
        """Wait until so many tasks are finished; the run must still be going on."""
        out = Path(self._recipe.output_dir)
        until = time.monotonic() + 60
        while _marks(out) < count:
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < until
            time.sleep(0.002)
        assert self._thread.is_alive()

    def end(self) -> None:
        """Wait for the end; raise what the run raised."""
        self._thread.join(90)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error


def test_two_workers_give_the_bytes_of_one_process(
    raw: Path, reference: Path, cluster: Cluster, tmp_path: Path
) -> None:
    corpus.run(_recipe(raw, tmp_path / "out", cluster.address))
    _assert_same(tmp_path / "out", reference)
    kept = {
        row["id"] for side in ("train", "validation", "test") for row in read_rows(tmp_path / "out" / f"{side}.jsonl")
    }
    assert kept == {f"raw/documents.jsonl#{number}" for number in range(1, 401)}
    rows = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text().splitlines()]
    reasons = {int(row["id"].partition("#")[2]): row["reason"] for row in rows}
    expected = {number: "exact_duplicate" if number <= 450 else "near_duplicate" for number in range(401, 501)}
    assert reasons == expected


@pytest.mark.parametrize("finished", [3, 14])
def test_a_worker_killed_in_the_middle_changes_nothing(
    raw: Path, reference: Path, cluster: Cluster, tmp_path: Path, finished: int
) -> None:
    before = cluster.pids()
    run = _Running(_recipe(raw, tmp_path / "out", cluster.address))
    run.wait_for_marks(finished)
    os.kill(next(iter(before)), signal.SIGKILL)
    run.end()
    _assert_same(tmp_path / "out", reference)
    after = cluster.pids()
    assert len(after) == 2
    assert len(set(before) & set(after)) == 1  # its nanny started another


def test_a_machine_that_goes_away_leaves_its_tasks_to_the_other(
    raw: Path, reference: Path, cluster: Cluster, tmp_path: Path
) -> None:
    before = cluster.pids()
    run = _Running(_recipe(raw, tmp_path / "out", cluster.address))
    run.wait_for_marks(5)
    os.killpg(cluster.nannies[0].pid, signal.SIGKILL)
    for worker in before:
        if before[worker] == cluster.nannies[0].pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    cluster.nannies[0].wait()
    run.end()
    _assert_same(tmp_path / "out", reference)
    assert len(cluster.pids()) == 1


def test_a_run_killed_on_the_cluster_goes_on_without_it(
    raw: Path, reference: Path, cluster: Cluster, tmp_path: Path
) -> None:
    recipe = _recipe(raw, tmp_path / "out", cluster.address)
    command = (
        "import sys; from data_prep.stages import corpus; corpus.run(corpus.Recipe.model_validate_json(sys.argv[1]))"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", command, recipe.model_dump_json()], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )
    while _marks(tmp_path / "out") < 8 and run.poll() is None:
        time.sleep(0.002)
    assert run.poll() is None
    run.kill()
    run.wait()
    assert not (tmp_path / "out").exists()
    assert _marks(tmp_path / "out") >= 8
    corpus.run(_recipe(raw, tmp_path / "out"))
    _assert_same(tmp_path / "out", reference)


def test_a_task_that_kills_every_worker_ends_the_run_with_what_to_do(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the nannies may give up before the scheduler does.
    monkeypatch.setattr(workers, "_LONGEST_ALONE", 30.0)
    with (
        workers.opened(0, cluster.address, tmp_path) as crew,
        pytest.raises(UserError, match=r"worker processes were ended from outside|has had no worker") as caught,
    ):
        Phases(tmp_path / "work", crew, Progress(shown=False)).run("one", [Task("0", os.abort, ())])
    assert caught.value.code == 1


def test_a_cluster_that_loses_all_of_its_machines_ends_the_run(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_LONGEST_ALONE", 2.0)
    with (
        workers.opened(0, cluster.address, tmp_path) as crew,
        pytest.raises(UserError, match="the cluster has had no worker for 2 seconds") as caught,
    ):
        for nanny in cluster.nannies:
            os.killpg(nanny.pid, signal.SIGKILL)
        Phases(tmp_path / "work", crew, Progress(shown=False)).run("one", [Task("0", time.sleep, (60,))])
    assert caught.value.code == 1


def test_a_worker_with_other_code_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "recipes.py").write_text('__version__ = "0.0.1"')
    cluster.nannies.append(_start("dask_worker", cluster.address, "--no-dashboard", folder=old))
    assert len(cluster.pids()) == 3
    with (
        pytest.raises(UserError, match=r"has tuneloop 0\.0\.1, not") as caught,
        workers.opened(0, cluster.address, old),
    ):
        pass
    assert caught.value.where == "engine.scheduler"
