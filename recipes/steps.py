"""One process for each step of a pipeline.

Steps that need torch are forked from a server that has imported it once (`multiprocessing`'s forkserver, warm.py); it
imports while the first steps, which do not need it, are at work. Steps with `launch.num_processes` above 1 go through
`accelerate launch`. A step's output goes to its log; what a user must know comes back through a file.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO, Any, Protocol, Self

from recipes import launch, launching, surroundings
from recipes.errors import RecipeError, UserError
from recipes.load import Examined
from recipes.sections import Launch, StageRecipe

TORCH_FLOORS = ("finetune", "eval")
SAID = "TUNELOOP_SAID"
# What a stage says of its progress: "  sft  10/200  loss 1.2 ...", "  sft: going on from step 10".
OURS = re.compile(r"  (\w+ +\d+/\d+  |\w+: [a-z]|checkpoint-\d+ )")
# The line of a traceback that says what went wrong, as torchrun passes it on; its own report comes behind.
OF_A_PROCESS = re.compile(r"\[rank\d+\]: (?!Traceback )(\S.*)")
POLL_SECONDS = 0.2
INTERRUPTED = 130
# This process has no threads and has imported nothing heavy: on Linux its copy is at work at once.
LIGHT = "fork" if sys.platform.startswith("linux") else "spawn"


class Line(Protocol):
    """What shows a step's progress."""

    def update(self, said: str) -> None: ...

    def end(self, said: str | None = None) -> None: ...


class Runner:
    """Starts steps and waits for them; a context, so that the fork server ends with the pipeline."""

    def __init__(self, found: list[Examined], logs: Path) -> None:
        self.logs = logs
        self.recipes = [one.recipe for one in found if one.recipe is not None]
        surroundings.prepare(self.recipes)
        self.forking = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.forking:
            from multiprocessing import forkserver

            forkserver._forkserver._stop()  # type: ignore[attr-defined]

    def warm_up(self) -> None:
        """Start the fork server, which imports the heavy libraries beside the steps that do not need them."""
        if not self.forking:
            from multiprocessing import forkserver

            multiprocessing.get_context("forkserver").set_forkserver_preload(["recipes.warm"])
            forkserver.ensure_running()
            self.forking = True

    def run(self, step: Examined, line: Line) -> None:
        """Run one step to its end.

        Raises:
            UserError: the step could not do its work, or died.
        """
        assert step.recipe is not None and step.stage is not None
        name = Path(step.path).stem
        log = self.logs / f"{name}.log"
        section = launch_of(step.recipe)
        if any(needs_torch(recipe) and not launch_of(recipe).launched for recipe in self.recipes):
            self.warm_up()
        context = "forkserver" if needs_torch(step.recipe) else LIGHT
        if section.launched:
            end = _launched(step, section, log, line)
        else:
            end = _forked(context, step, log, line)
        if end.code != 0:
            line.end("failed")
            raise failure(name, end, log)
        line.end()


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code, negative for a signal, and the mistakes it told as (where, what, write)."""

    code: int
    said: list[list[str]]


def needs_torch(recipe: StageRecipe) -> bool:
    """Return whether a stage stands on a floor that imports torch."""
    return type(recipe).__module__.partition(".")[0] in TORCH_FLOORS


def launch_of(recipe: StageRecipe) -> Launch:
    """Return how many processes a recipe asks for, and how they share the work."""
    section = getattr(recipe, "launch", None)
    return section if isinstance(section, Launch) else Launch()


def _forked(context: str, step: Examined, log: Path, line: Line) -> End:
    """Run a step in a process of its own, forked or spawned."""
    # Mistakes come back through a pipe, not through a file: the disk may be what is full.
    hear, say_to = multiprocessing.Pipe(duplex=False)
    process: BaseProcess = multiprocessing.get_context(context).Process(  # type: ignore[attr-defined]
        target=work, args=(step.recipe, str(log), say_to, dict(os.environ)), name=f"tuneloop {step.path}"
    )
    process.start()
    say_to.close()
    try:
        while process.is_alive():
            process.join(POLL_SECONDS)
            line.update(last_line(log))
    except KeyboardInterrupt:
        _stop(process.join, process.is_alive, process.kill)
        raise
    try:
        return End(process.exitcode or 0, hear.recv())
    except EOFError:  # it said nothing
        return End(process.exitcode or 0, [])


def _stop(join: Callable[[float], Any], alive: Callable[[], bool], kill: Callable[[], None]) -> None:
    """Give a step that was interrupted as well some seconds to end by itself."""
    join(5.0)
    if alive():
        kill()
        join(5.0)


def work(recipe: StageRecipe, log: str, say_to: Connection, environment: dict[str, str]) -> None:
    """Run a stage in this process, with its output in the log; the exit code says how it went."""
    die_with_parent(signal.SIGKILL)
    os.environ.update(environment)
    surroundings.quiet()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        module = sys.modules.get(type(recipe).__module__)
        assert module is not None
        module.run(recipe)
        sys.stdout.flush()
    except UserError as error:
        say_to.send(problems_of(error))
        print(error, file=sys.stderr, flush=True)
        os._exit(error.code)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def problems_of(error: UserError) -> list[list[str]]:
    """Return each mistake as (where, what, write)."""
    problems = error.problems if isinstance(error, RecipeError) else [error]
    return [[one.where, one.what, one.write] for one in problems]


def say(error: UserError, said: Path) -> None:
    """Leave a mistake where the process that started this one finds it."""
    said.write_text(json.dumps(problems_of(error)), encoding="utf-8")


def die_with_parent(number: int) -> None:
    """Have the system signal this process when its parent dies: a step without its pipeline has no one to tell."""
    if sys.platform.startswith("linux"):
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, int(number))


def _launched(step: Examined, section: Launch, log: Path, line: Line | None) -> End:
    """Run a step in several processes, through accelerate.

    Raises:
        UserError: this machine cannot do what the launch section asks for.
    """
    assert step.stage is not None
    launching.refuse(section)
    with tempfile.TemporaryDirectory(prefix="tuneloop-") as folder:
        said = Path(folder) / "said.json"
        code = _accelerated(step, step.stage.floor, section, log, said, line)
        return End(code, json.loads(said.read_text("utf-8")) if said.exists() else [])


def _accelerated(step: Examined, floor: str, section: Launch, log: Path, said: Path, line: Line | None) -> int:
    overrides = [text.removeprefix(step.prefix) for text in step.source.overrides.values()]
    with log.open("wb") as output, log.open("rb") as written:
        process = subprocess.Popen(
            launching.command(floor, step.path, [*overrides, "--force"], section),
            env=os.environ | _variables(section, said),
            stdout=output if line else None,
            stderr=output,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),
        )
        try:
            while process.poll() is None:
                _wait(process)
                if line:
                    line.update(last_line(log))
                else:
                    show(written)
        except KeyboardInterrupt:
            _stop(lambda seconds: _wait(process, seconds), lambda: process.poll() is None, process.kill)
            raise
        if line is None:
            show(written)
    return process.returncode


def _variables(section: Launch, said: Path) -> dict[str, str]:
    """Return the environment variables by which the processes know of each other and of this one."""
    known = {launch.ASKED: str(section.num_processes), SAID: str(said), **launching.environment(section)}
    # Each machine starts its own processes: what all of them share is then the meeting point (launch.run_name).
    return known if section.num_machines > 1 else known | {launch.RUN: uuid.uuid4().hex}


def show(written: IO[bytes]) -> None:
    """Pass on the lines about the progress that have come to a log; the libraries' own lines stay in it."""
    start = written.tell()
    lines = written.read().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):  # a line in two parts is shown when the second one is there
        written.seek(start + sum(map(len, lines[:-1])))
        lines.pop()
    for line in lines:
        if OURS.match(text := line.decode(errors="replace").rstrip()):
            print(text, file=sys.stderr, flush=True)


def _wait(process: subprocess.Popen[bytes], seconds: float = POLL_SECONDS) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def launch_alone(step: Examined, section: Launch, folder: Path) -> None:
    """Run one stage in several processes, with its standard output and its progress on the terminal.

    Raises:
        UserError: the stage could not do its work, or died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = Path(step.path).stem
    log = folder / f"{name}.log"
    end = _launched(step, section, log, None)
    if end.code != 0:
        raise failure(name, end, log)
    log.unlink()
    with suppress(OSError):  # another stage's log is in it
        folder.rmdir()


def failure(name: str, end: End, log: Path) -> UserError:
    """Return what to tell the user of a step that failed."""
    code = end.code
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    error: UserError
    if end.said:
        error = RecipeError([UserError(f"step {name}: {where}", what, write) for where, what, write in end.said])
    elif code < 0:
        what = f"step {name} died (signal {-code}); the finished steps are kept"
        memory = " (signal 9 without a kill of yours: out of memory; lower the batch size)" if code == -9 else ""
        error = UserError(str(log), what + memory, "run the same command to go on")
    else:
        what = f"step {name} failed: {reason(log) or f'exit code {code}'}; the finished steps are kept"
        error = UserError(str(log), what, "the whole message stands in that file; run the same command to go on")
    error.code = 1
    return error


def reason(log: Path) -> str:
    """Return why a step failed: the first error of one of several processes, else the last line of its log."""
    first = next((found[1] for line in _end(log, 65536) if (found := OF_A_PROCESS.match(line))), None)
    return first or last_line(log)


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    return next((line.strip() for line in reversed(_end(log, 4096)[-20:]) if line.strip()), "")


def _end(log: Path, size: int) -> list[str]:
    """Return the last lines of a log, of so many bytes."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - size))
        return file.read().decode("utf-8", errors="replace").replace("\r", "\n").splitlines()
