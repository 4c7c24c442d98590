"""Who does the tasks: this process, processes on this machine, or the workers of a Dask cluster.

Data never passes through here, only a task's arguments and its small result; on a cluster all machines see the same
files. A worker that dies (out of memory, a machine that goes away) has its tasks done again by another.
"""

from __future__ import annotations

import contextlib
import os
import pkgutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from recipes.errors import UserError

Call = tuple[Callable[..., Any], tuple[Any, ...]]
ATTEMPTS = 3  # of a task whose worker died
SMALL = 4 * 2**20  # bytes: less is done before a process has started
_LONGEST_WAIT = 30.0  # seconds for a cluster to answer
_LONGEST_ALONE = 300.0  # seconds that a run waits for a worker to come back when all are gone
_VERSION = "recipes:__version__"  # other code may give other bytes


class Workers(Protocol):
    """Runs calls; yields each one's number and result in the order in which they end."""

    count: int

    def map(self, calls: Sequence[Call], size: int) -> Iterator[tuple[int, Any]]:
        """Run all calls, which read about `size` bytes together; an exception of one ends the rest."""
        ...


@contextlib.contextmanager
def opened(count: int, scheduler: str, folder: Path) -> Iterator[Workers]:
    """Yield `count` local workers (0: one for each core), or those of the Dask scheduler at an address.

    Raises: UserError when no scheduler answers there, its workers do not see `folder`, or Dask is not installed.
    """
    if scheduler:
        with _dask(scheduler, folder) as workers:
            yield workers
        return
    local = _Processes(count or cores())
    try:
        yield local
    finally:
        local.close()


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Processes:
    """Processes on this machine, started when a phase has several tasks and enough to read; else it is done here."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: Any = None

    def map(self, calls: Sequence[Call], size: int) -> Iterator[tuple[int, Any]]:
        """Run all calls."""
        if self.count == 1 or len(calls) <= 1 or (size < SMALL and self._pool is None):
            for index, (function, arguments) in enumerate(calls):
                yield index, function(*arguments)
            return
        yield from self._in_pool(dict(enumerate(calls)))

    def _in_pool(self, todo: dict[int, Call]) -> Iterator[tuple[int, Any]]:
        from concurrent.futures import as_completed
        from concurrent.futures.process import BrokenProcessPool

        for attempt in range(1, ATTEMPTS + 1):
            pool = self._started()
            futures = {pool.submit(function, *arguments): index for index, (function, arguments) in todo.items()}
            try:
                for future in as_completed(futures):
                    index = futures[future]
                    result = future.result()
                    del todo[index]
                    yield index, result
                return
            except BrokenProcessPool as error:
                self.close()
                if attempt == ATTEMPTS:
                    raise _lost() from error
            except BaseException:
                for future in futures:
                    future.cancel()
                raise

    def _started(self) -> Any:
        if self._pool is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            # Not forked: this may be a pipeline's step, forked itself, with its parent's fork server in mind.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_end_with_parent)
        return self._pool

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _end_with_parent() -> None:
    """End this worker with the run that it works for, however that ended."""
    import multiprocessing
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run itself stops its workers
    run = multiprocessing.parent_process()
    assert run is not None

    def watch() -> None:
        run.join()  # also of one that ended before this began, as asking for the parent's number would not tell
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _lost() -> UserError:
    error = UserError(
        "engine.workers",
        f"worker processes were ended from outside {ATTEMPTS} times (out of memory?)",
        "fewer workers or smaller engine.shard_bytes, then the same command again: finished shards are kept",
    )
    error.code = 1
    return error


def _deserted() -> UserError:
    error = UserError(
        "engine.scheduler",
        f"the cluster has had no worker for {_LONGEST_ALONE:.0f} seconds",
        "start workers, then the same command again: finished shards are kept",
    )
    error.code = 1
    return error


class _Dask:
    """The workers of a Dask cluster; a task whose worker is lost is given to another by the scheduler."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.count = sum(client.nthreads().values())

    def map(self, calls: Sequence[Call], size: int) -> Iterator[tuple[int, Any]]:
        """Run all calls."""
        from distributed import KilledWorker, as_completed

        futures = {
            self._client.submit(function, *arguments, pure=False): index
            for index, (function, arguments) in enumerate(calls)
        }
        ended = threading.Event()
        threading.Thread(target=self._give_up_alone, args=(list(futures), ended), daemon=True).start()
        try:
            # With the results at once: one that still lies on a worker is lost with it.
            for future, result in as_completed(list(futures), with_results=True, loop=self._client.loop):
                if future.cancelled():  # its "result" is an exception that is not raised
                    raise _deserted()
                yield futures[future], result
        except KilledWorker as error:
            raise _lost() from error
        finally:
            ended.set()
            self._client.cancel(list(futures))

    def _give_up_alone(self, futures: list[Any], ended: threading.Event) -> None:
        """Cancel all tasks when no worker has been there for too long: the scheduler itself would wait for ever."""
        alone = 0.0
        step = min(1.0, _LONGEST_ALONE / 4)
        while not ended.wait(step):
            alone = 0.0 if self._client.nthreads() else alone + step
            if alone >= _LONGEST_ALONE:
                self._client.cancel(futures, force=True)
                return

    def expect(self, folder: Path) -> None:
        """Refuse workers with other code, or that do not see this folder: its files are all that tasks share.

        Raises: UserError.
        """
        here = pkgutil.resolve_name(_VERSION)
        for address, there in self._client.run(pkgutil.resolve_name, _VERSION, on_error="return").items():
            if there != here:
                raise UserError(
                    "engine.scheduler",
                    f"worker {address} has tuneloop {there}, not {here}",
                    f'pip install "tuneloop[cluster]=={here}" on each worker, and start it again',
                )
        token = folder / ".seen-by-workers"
        token.touch()
        try:
            blind = [address for address, sees in self._client.run(os.path.exists, str(token)).items() if not sees]
        finally:
            token.unlink(missing_ok=True)
        if blind:
            raise UserError(
                "engine.scheduler",
                f"worker {blind[0]} does not see {folder}",
                "an output_dir on a file system that all machines share, and the same working folder",
            )


@contextlib.contextmanager
def _dask(address: str, folder: Path) -> Iterator[_Dask]:
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            "engine.scheduler", "Dask is not installed", 'pip install "tuneloop[cluster]" here and on each worker'
        ) from error
    try:
        client = Client(address, timeout=_LONGEST_WAIT, set_as_default=False)
        client.wait_for_workers(1, timeout=_LONGEST_WAIT)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            "engine.scheduler",
            f"no Dask cluster with workers answers at {address} ({error})",
            "start `dask scheduler` and `dask worker ADDRESS`, or leave the key out to work on this machine",
        ) from error
    try:
        workers = _Dask(client)
        workers.expect(folder)
        yield workers
    finally:
        client.close()
