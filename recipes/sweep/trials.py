"""One run of a trial: a normal stage in a process of its own, whose log is read while it works.

A stage that imports torch is forked from the warm server of steps.py, so a trial does not pay for the imports. A trial
for several processes, or one that is bound to a GPU of its own, goes through `tuneloop run`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from recipes import artifact, publish, steps
from recipes.errors import UserError
from recipes.load import Examined
from recipes.sections import StageRecipe

LOG = "log.jsonl"
STOP_SECONDS = 10.0
FREE_SECONDS = 60.0


@dataclass
class Run:
    """A trial with one seed: its recipe, and its process once it has been started."""

    examined: Examined
    overrides: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: Any = None
    hear: Connection | None = None
    said: Path | None = None

    @property
    def recipe(self) -> StageRecipe:
        """Return the recipe that it runs."""
        assert self.examined.recipe is not None
        return self.examined.recipe

    @property
    def folder(self) -> Path:
        """Return where its result goes."""
        return Path(self.recipe.output_dir)

    @property
    def partial(self) -> Path:
        """Return where it works."""
        return partial_of(self.folder)

    def finished(self) -> bool:
        """Return whether its whole result is there, made from just this recipe and these inputs."""
        return artifact.matches(self.recipe)

    def start(self) -> None:
        """Start the process, as soon as one that a killed sweep has left behind is gone."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        _wait_until_free(self.folder)
        environment = dict(os.environ) | self.environment
        if steps.launch_of(self.recipe).launched:
            self._launch(environment)
            return
        context = "forkserver" if steps.needs_torch(self.recipe) else steps.LIGHT
        # Mistakes come back through a pipe, not through a file: the disk may be what is full.
        self.hear, say_to = multiprocessing.Pipe(duplex=False)
        self.process = multiprocessing.get_context(context).Process(  # type: ignore[attr-defined]
            target=steps.work, args=(self.recipe, str(self.log), say_to, environment), name=f"trial {self.folder.name}"
        )
        self.process.start()
        say_to.close()

    def _launch(self, environment: dict[str, str]) -> None:
        """Start several processes through the command that a user would write."""
        self.said = Path(tempfile.mkdtemp(prefix="tuneloop-")) / "said.json"
        command = [sys.executable, "-m", "recipes.run", "run", self.examined.path, *self.overrides]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment | {steps.SAID: str(self.said)},
                stdout=output,
                stderr=output,
                preexec_fn=lambda: steps.die_with_parent(signal.SIGTERM),
            )

    def ended(self) -> bool:
        """Return whether the process has come to its end."""
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll() is not None
        return not self.process.is_alive()

    def reason(self) -> str:
        """Return why a process that has ended failed; nothing when it did not.

        Raises:
            KeyboardInterrupt: somebody interrupted it.
        """
        code = self.process.returncode if isinstance(self.process, subprocess.Popen) else self.process.exitcode
        said = self._said()
        if code in (steps.INTERRUPTED, -signal.SIGINT):
            raise KeyboardInterrupt
        if said:
            return "; ".join(f"{what} ({where})" for where, what, _ in said)
        if code == -signal.SIGKILL:
            return "killed (signal 9; without a kill of yours: out of memory)"
        if code:
            return f"died (signal {-code})" if code < 0 else steps.last_line(self.log) or f"exit code {code}"
        return ""

    def _said(self) -> list[list[str]]:
        if self.hear is not None:
            with suppress(EOFError, OSError):
                return list(self.hear.recv()) if self.hear.poll() else []
        if self.said is not None:
            found = json.loads(self.said.read_text("utf-8")) if self.said.exists() else []
            shutil.rmtree(self.said.parent, ignore_errors=True)
            return list(found)
        return []

    def stop(self) -> None:
        """End the process: checkpoints are whole or not at all, so it may be cut anywhere."""
        self.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while not self.ended() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not self.ended():
            self.process.kill()
        _join(self.process)


def _join(process: Any) -> None:
    process.wait() if isinstance(process, subprocess.Popen) else process.join()


def partial_of(folder: Path) -> Path:
    """Return the folder that a result is made in."""
    return folder.with_name(folder.name + ".partial")


def _wait_until_free(folder: Path) -> None:
    """Wait for a trial that has lost its sweep: it dies with it, but not in the same moment.

    Raises:
        UserError: it is still there.
    """
    deadline = time.monotonic() + FREE_SECONDS
    while True:
        try:
            with publish.lock(folder):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the whole rows of a trial's log, wherever the trial stands."""
    for place in (partial_of(folder), folder):
        with suppress(FileNotFoundError):
            text = (place / LOG).read_bytes()
            return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    return []


def log_size(folder: Path) -> int:
    """Return how long the log of a trial at work is, in bytes."""
    with suppress(FileNotFoundError):
        return (partial_of(folder) / LOG).stat().st_size
    return 0


def metric_of(folder: Path, metric: str) -> float | None:
    """Return a metric of a result: from its manifest, else the last row of its log that has it; None without one."""
    manifest = artifact.read(folder)
    found: Any = manifest.metrics if manifest else None
    for part in metric.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if found is None:
        found = next((row[metric] for row in reversed(rows(folder)) if metric in row), None)
    try:
        return float(found) if not isinstance(found, bool | dict | list) and found is not None else None
    except ValueError:
        return None


def there_are(folder: Path) -> list[str]:
    """Return the metrics that a result has, for who asked for another one."""
    manifest = artifact.read(folder)
    numbers = [name for name, value in (manifest.metrics if manifest else {}).items() if isinstance(value, int | float)]
    logged = [name for row in rows(folder) for name in row if name not in ("step", "epoch")]
    return sorted({*numbers, *logged})
