"""Time and memory of commands with all processes that they start, also those that outlive their parent."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Usage:
    """What one whole chain took."""

    cpu: float = 0.0
    seconds: float = 0.0
    largest: float = 0.0  # MB, peak of the largest process
    together: float = 0.0  # MB, peak of all processes together


def measured(commands: Sequence[Sequence[str]]) -> Usage:
    """Run commands one after the other; count every process that any of them started."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    usage = Usage()
    watched = _Watch()
    began = time.perf_counter()
    for command in commands:
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            code = _reaped(process.pid, usage)
            if code:
                log.seek(0)
                sys.exit(f"{' '.join(command)}\n{log.read().decode(errors='replace')[-3000:]}")
            process.returncode = code
        while _reaped(-1, usage) is not None:  # servers and workers that outlive their parent come to us
            pass
    usage.seconds = time.perf_counter() - began
    usage.together = watched.end()
    return usage


def _reaped(pid: int, usage: Usage) -> int | None:
    """Wait for a process; return its exit code, None where there is none to wait for."""
    try:
        _, status, used = os.wait4(pid, 0)
    except ChildProcessError:
        return None
    usage.cpu += used.ru_utime + used.ru_stime
    usage.largest = max(usage.largest, used.ru_maxrss / 1024)
    return os.waitstatus_to_exitcode(status)


class _Watch:
    """Looks at the memory of all processes below this one, in a thread."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self._peak = max(self._peak, sum(map(_size, _descendants(os.getpid()))))

    def end(self) -> float:
        """Stop; return the peak in MB."""
        self._over.set()
        self._thread.join()
        return self._peak


def _descendants(root: int) -> Iterator[int]:
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)


def _size(pid: int) -> float:
    """Return a process's proportional set size in MB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
