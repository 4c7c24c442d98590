"""Which existing engine should run the corpus stage past one machine? Two workers of each, as real processes.

The unit of work is what the corpus stage hands out: a picklable function that reads files and writes one file by
rename, a second of work or more, some hundreds of them between two barriers; data pass through a shared folder and
never through the engine. Of an engine we need that it starts, costs little for each task, and that a lost worker costs
the tasks which ran on it and nothing else.

One engine in each run, with the interpreter that has it:
    python benchmarks/distributed_engines.py dask
    python benchmarks/distributed_engines.py {ray,spark,daft,datatrove_local,datatrove_ray}
Prints a line of JSON for each scenario, each in a process of its own:
  - `rest`: seconds from nothing to two workers that answered, memory of all processes of the cluster (sum of
    proportional set sizes), and 1,000 trivial tasks;
  - `worker`: 40 tasks of 0.25 s; a process that runs a task is killed with SIGKILL in the middle;
  - `machine`: the same, and the second machine's daemon with all its processes is killed.
Daft has no processes of its own past one machine, it runs on Ray; datatrove runs on one machine, Ray or Slurm.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TASKS, SECONDS = 40, 0.25
TRIVIAL = 1000
LIMIT = 150  # seconds after which a run is said not to end

Item = tuple[str, int, float]
Submit = Callable[[Callable[[Item], int], Sequence[Item]], list[int]]


def work(item: Item) -> int:
    """Note the start, take some time, write one file by rename."""
    folder, index, seconds = item
    if seconds:
        Path(folder, f"started-{index}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(seconds)
        unfinished = Path(folder, f"partial-{index}-{os.getpid()}")
        unfinished.write_text(str(index))
        unfinished.rename(Path(folder, f"done-{index}"))
    return index


@dataclass
class Cluster:
    """A running engine: how to submit to it, and the daemon of each machine."""

    submit: Submit
    machines: list[int] = field(default_factory=list)


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[Cluster]:
    """Scheduler and two workers by command, as on several machines; a client by the scheduler's file."""
    from distributed import Client

    binary, file = Path(sys.executable).parent, str(folder / "scheduler.json")
    scheduler = _start(
        folder, str(binary / "dask"), "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file,
        "--dashboard-address", "127.0.0.1:0",
    )  # fmt: skip
    _wait(lambda: Path(file).exists())
    worker = (str(binary / "dask"), "worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard")
    workers = [_start(folder, *worker) for _ in range(2)]
    client = Client(scheduler_file=file)
    client.wait_for_workers(2)
    try:
        yield Cluster(lambda function, items: client.gather(client.map(function, items, pure=False)), workers)
    finally:
        client.close()
        _stop(scheduler, *workers)


@contextlib.contextmanager
def _ray_machines(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """Two Ray nodes with one core each, by command."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    port = _free_port()
    binary, address = str(Path(sys.executable).parent / "ray"), f"127.0.0.1:{port}"
    common = ("--num-cpus", "1", "--block", "--disable-usage-stats", "--node-ip-address", "127.0.0.1")
    head = _start(
        folder, binary, "start", "--head", "--port", str(port), "--include-dashboard", "false",
        "--temp-dir", str(folder / "ray"), *common,
    )  # fmt: skip
    _wait(lambda: _listens(port))
    time.sleep(1)
    second = _start(folder, binary, "start", "--address", address, *common)
    try:
        yield address, [head, second]
    finally:
        _stop(second, head)


def _connected(address: str) -> Any:
    import ray

    def connect() -> bool:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except Exception:  # the head listens some time before it can be joined
            ray.shutdown()
            return False
        return True

    _wait(connect)
    _wait(lambda: sum(node["Alive"] for node in ray.nodes()) == 2)
    return ray


@contextlib.contextmanager
def ray(folder: Path) -> Iterator[Cluster]:
    """Ray core tasks; a task of a lost worker is submitted again (`max_retries`)."""
    with _ray_machines(folder) as (address, machines):
        engine = _connected(address)

        def submit(function: Callable[[Item], int], items: Sequence[Item]) -> list[int]:
            remote = engine.remote(num_cpus=1, max_retries=3)(function)
            return list(engine.get([remote.remote(item) for item in items]))

        yield Cluster(submit, machines)
        engine.shutdown()


@contextlib.contextmanager
def daft(folder: Path) -> Iterator[Cluster]:
    """A column of task numbers, one partition for each task, through a function on Ray."""
    import daft

    with _ray_machines(folder) as (address, machines):
        engine = _connected(address)
        daft.set_runner_ray(address)

        def submit(function: Callable[[Item], int], items: Sequence[Item]) -> list[int]:
            @daft.func(return_dtype=daft.DataType.int64())
            def call(index: int) -> int:
                return function(items[index])

            frame = daft.from_pydict({"index": list(range(len(items)))}).into_partitions(len(items))
            return list(frame.select(call(daft.col("index")).alias("index")).to_pydict()["index"])

        yield Cluster(submit, machines)
        engine.shutdown()


@contextlib.contextmanager
def spark(folder: Path) -> Iterator[Cluster]:
    """A standalone master and two workers by command; one partition for each task."""
    import pyspark
    from pyspark.sql import SparkSession

    port = _free_port()
    binary = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    address = f"spark://127.0.0.1:{port}"
    os.environ.update(PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1")
    ports = ("--host", "127.0.0.1", "--webui-port", "0")
    master = _start(folder, binary, "org.apache.spark.deploy.master.Master", "--port", str(port), *ports)
    _wait(lambda: _listens(port))
    worker = (binary, "org.apache.spark.deploy.worker.Worker", "--cores", "1", "--memory", "1g", *ports)
    workers = [_start(folder, *worker, "--work-dir", str(folder / f"work{number}"), address) for number in range(2)]
    session = (
        SparkSession.builder.master(address).config("spark.ui.enabled", "false").config("spark.executor.memory", "512m")
        .config("spark.scheduler.minRegisteredResourcesRatio", "1.0")
        .config("spark.cores.max", "2").getOrCreate()
    )  # fmt: skip
    context = session.sparkContext
    context.setLogLevel("OFF")

    def submit(function: Callable[[Item], int], items: Sequence[Item]) -> list[int]:
        return list(context.parallelize(items, len(items)).map(function).collect())

    try:
        yield Cluster(submit, workers)
    finally:
        session.stop()
        _stop(*workers, master)


@contextlib.contextmanager
def datatrove_local(folder: Path) -> Iterator[Cluster]:
    """datatrove's executor for one machine: a pool of processes."""
    from datatrove.executor import LocalPipelineExecutor

    def submit(function: Callable[[Item], int], items: Sequence[Item]) -> list[int]:
        logs = tempfile.mkdtemp(dir=folder)
        LocalPipelineExecutor(_pipeline(function, items), len(items), 2, logging_dir=logs).run()
        return _finished(logs, len(items))

    yield Cluster(submit, [])


@contextlib.contextmanager
def datatrove_ray(folder: Path) -> Iterator[Cluster]:
    """datatrove's executor for Ray."""
    from datatrove.executor import RayPipelineExecutor

    with _ray_machines(folder) as (address, machines):
        engine = _connected(address)

        def submit(function: Callable[[Item], int], items: Sequence[Item]) -> list[int]:
            logs = tempfile.mkdtemp(dir=folder)
            RayPipelineExecutor(_pipeline(function, items), len(items), workers=2, logging_dir=logs).run()
            return _finished(logs, len(items))

        yield Cluster(submit, machines)
        engine.shutdown()


def _pipeline(function: Callable[[Item], int], items: Sequence[Item]) -> list[Any]:
    """Return a pipeline of one step, which does the item of its rank."""

    def step(data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        function(items[rank])
        yield from ()

    return [step]


def _finished(logs: str, tasks: int) -> list[int]:
    """Return which ranks datatrove holds for complete."""
    return [rank for rank in range(tasks) if Path(logs, "completions", f"{rank:05d}").exists()]


ENGINES = {engine.__name__: engine for engine in (dask, ray, daft, spark, datatrove_local, datatrove_ray)}


def measure(engine: str, scenario: str) -> dict[str, Any]:
    """Return the figures of one engine in one scenario."""
    with _started(engine) as (cluster, start, folder):
        if scenario == "rest":
            sizes = _memory(_descendants(os.getpid()))
            figures = {
                "start_seconds": round(start, 2),
                "memory_mb": round(sum(sizes.values())),
                "memory_mb_of_driver": round(sum(_memory([os.getpid()]).values())),
                "processes": len(sizes),
            }
            return figures | _trivial(cluster, folder)
        if scenario == "machine" and not cluster.machines:
            return {"error": "one machine only"}
        return _killed(cluster, folder, scenario)


@contextlib.contextmanager
def _started(engine: str) -> Iterator[tuple[Cluster, float, Path]]:
    """Yield an engine whose two workers have answered, with the seconds that took."""
    with tempfile.TemporaryDirectory(prefix="engine", ignore_cleanup_errors=True) as name:
        began = time.perf_counter()
        with ENGINES[engine](Path(name)) as cluster:
            cluster.submit(work, [(name, index, 0.0) for index in range(4)])
            yield cluster, time.perf_counter() - began, Path(name)


def _trivial(cluster: Cluster, folder: Path) -> dict[str, float]:
    processes = [os.getpid(), *_descendants(os.getpid())]
    cpu, began = _cpu(processes), time.perf_counter()
    results = cluster.submit(work, [(str(folder), index, 0.0) for index in range(TRIVIAL)])
    seconds = time.perf_counter() - began
    assert sorted(results) == list(range(TRIVIAL))
    processes = [os.getpid(), *_descendants(os.getpid())]
    return {
        "ms_a_task": round(1000 * seconds / TRIVIAL, 2),
        "cpu_ms_a_task": round(1000 * (_cpu(processes) - cpu) / TRIVIAL, 2),
    }


def _killed(cluster: Cluster, folder: Path, victim: str) -> dict[str, Any]:
    """Run the tasks, kill in the middle, and say what became of them."""
    outcome: dict[str, Any] = {}

    def run() -> None:
        try:
            outcome["tasks"] = cluster.submit(work, [(str(folder), index, SECONDS) for index in range(TASKS)])
        except Exception as error:
            outcome["error"] = f"{type(error).__name__}: {str(error)[:200]}"

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    _wait(lambda: len(list(folder.glob("done-*"))) >= 6)
    lost, killed_at = _kill(cluster, folder, victim)
    thread.join(LIMIT)
    starts = _starts(folder)
    again = [start for start in starts if start[0] == lost[0] and start[2] > killed_at]
    pids = {pid for _, pid, at in starts if at < killed_at}
    fresh = [start for start in starts if start[1] not in pids]
    return {
        "ended": not thread.is_alive() and "error" not in outcome,
        "error": outcome.get("error", f"no end within {LIMIT} s" if thread.is_alive() else ""),
        "done": len(list(folder.glob("done-*"))),
        "reported_done": len(outcome.get("tasks", [])),
        "started_twice": len(starts) - len({index for index, _, _ in starts}),
        "lost_task_again_after_s": round((again[0][2] - killed_at), 2) if again else None,
        "new_process_after_s": round((fresh[0][2] - killed_at), 2) if fresh else None,
        "seconds_from_kill_to_end": round(time.time() - killed_at, 2),
    }


def _kill(cluster: Cluster, folder: Path, victim: str) -> tuple[tuple[int, int, float], float]:
    """Kill a process that is in the middle of a task, or the second machine; return the task lost and the time."""
    while True:
        running = [start for start in _starts(folder) if not Path(folder, f"done-{start[0]}").exists()]
        on_second = set(_descendants(cluster.machines[1])) if victim == "machine" else {pid for _, pid, _ in running}
        at_work = [start for start in running if start[1] in on_second and time.time() - start[2] < SECONDS / 2]
        if at_work:
            break
        time.sleep(0.005)
    doomed = [at_work[-1][1]]
    if victim == "machine":
        doomed = [cluster.machines[1], *_descendants(cluster.machines[1])]
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return at_work[-1], time.time()


def _starts(folder: Path) -> list[tuple[int, int, float]]:
    """Return task, process and time of each start, in order."""
    parts = [path.name.split("-")[1:] for path in folder.glob("started-*")]
    return sorted(((int(index), int(pid), int(at) / 1e9) for index, pid, at in parts), key=lambda start: start[2])


def _start(folder: Path, *command: str) -> int:
    """Start a daemon; return its process id."""
    log = (folder / f"log-{time.time_ns()}").open("w")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True).pid


def _stop(*pids: int) -> None:
    for pid in pids:
        for each in [*reversed(_descendants(pid)), pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _wait(ready: Callable[[], bool], limit: float = 60) -> None:
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > limit:
            raise TimeoutError(f"waited {limit} s")
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _descendants(root: int) -> list[int]:
    """Return the processes below a process, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, queue = [], [root]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def _memory(pids: Sequence[int]) -> dict[int, float]:
    """Return the proportional set size of each process in MB."""
    sizes = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            sizes[pid] = next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return sizes


def _cpu(pids: Sequence[int]) -> float:
    """Return user and system seconds of processes and of the children they have waited for."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure each scenario in a process of its own: engines leave threads and connections behind."""
    engine, *scenario = sys.argv[1:]
    if scenario:
        print(json.dumps(measure(engine, scenario[0])), flush=True)
        os._exit(0)  # an engine that never ends its run keeps threads of this process
    for each in ("rest", "worker", "machine"):
        command = [sys.executable, __file__, engine, each]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        print(
            engine, each, (done.stdout.decode().splitlines() or [f"ended with code {done.returncode}"])[-1], flush=True
        )


if __name__ == "__main__":
    main()
