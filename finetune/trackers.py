"""Where the history of a run goes besides log.jsonl: TensorBoard, Weights & Biases, MLflow, trackio.

log.jsonl is the truth: its rows are read and passed on, so a tracker shows exactly what stands there, and nothing else
leaves the run (no weights, no code, no gradients, no settings of the machine). Files go into the result's folder; no
library calls home unless the user has told it where (WANDB_MODE, MLFLOW_TRACKING_URI). A run that goes on continues
its TensorBoard run and drops the points behind its checkpoint; the other trackers' local runs are written anew.

`tensorboard` is a dependency; the others are installed by whoever names them in `training.report_to`.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from recipes.launch import rank
from recipes.trackers import faults

__all__ = ["callbacks", "close", "faults", "files"]
LOG = "log.jsonl"
PROJECT = "tuneloop"
HIDDEN = ("epoch",)  # steps are the axis


class Tracker(Protocol):
    """One open run of a tracker."""

    def log(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in `<result>/tensorboard`."""

    def __init__(self, folder: Path, run_name: str, resume_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if not resume_step:
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        # What was logged behind the checkpoint comes again: readers drop it from there on.
        purge = resume_step + 1 if resume_step else None
        self.first = resume_step + 1
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=purge)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one row, through to the system: a kill loses none."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """End the event file."""
        self.writer.close()


class WeightsAndBiases:
    """A run of wandb in `<result>/wandb`, offline unless WANDB_MODE says otherwise (`wandb sync` uploads it later)."""

    def __init__(self, folder: Path, run_name: str, resume_step: int) -> None:
        os.environ.setdefault("WANDB_MODE", "offline")
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self.folder, self.first = folder / "wandb", 0
        shutil.rmtree(self.folder, ignore_errors=True)
        wandb = import_module("wandb")
        settings = wandb.Settings(console="off", disable_git=True, disable_code=True, x_disable_stats=True)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self.run: Any = wandb.init(project=project, name=run_name, dir=str(folder), settings=settings)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one row."""
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        """End the run; links to its files would break when the result takes its place."""
        self.run.finish()
        for path in self.folder.rglob("*"):
            if path.is_symlink():
                path.unlink()


class MLflow:
    """A run of MLflow in `<result>/mlflow.db`, or where MLFLOW_TRACKING_URI says."""

    def __init__(self, folder: Path, run_name: str, resume_step: int) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        tracking, entities = import_module("mlflow.tracking"), import_module("mlflow.entities")
        self.metric = entities.Metric
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            (folder / "mlflow.db").unlink(missing_ok=True)
        self.client: Any = tracking.MlflowClient(uri or f"sqlite:///{folder.absolute() / 'mlflow.db'}")
        self.note, self.first = folder / "mlflow_run.txt", 0
        self._drop_former(bool(uri))
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self.client.get_experiment_by_name(project)
        files = (
            None if uri else (folder.absolute() / "mlflow").as_uri()
        )  # none are written; else ./mlruns would be made
        experiment = found.experiment_id if found else self.client.create_experiment(project, files)
        self.run = self.client.create_run(experiment, run_name=run_name).info.run_id
        self.note.write_text(self.run, encoding="utf-8")

    def _drop_former(self, elsewhere: bool) -> None:
        if elsewhere and self.note.exists():
            self.client.delete_run(self.note.read_text(encoding="utf-8"))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one row."""
        now = int(time.time() * 1000)
        self.client.log_batch(self.run, metrics=[self.metric(name, value, now, step) for name, value in values.items()])

    def close(self) -> None:
        """Mark the run as finished."""
        self.client.set_terminated(self.run)


class Trackio:
    """A run of trackio in `<result>/trackio` (`TRACKIO_DIR=<result>/trackio trackio show` opens it)."""

    def __init__(self, folder: Path, run_name: str, resume_step: int) -> None:
        place = folder / "trackio"
        shutil.rmtree(place, ignore_errors=True)
        os.environ["TRACKIO_DIR"] = str(place.absolute())  # read when trackio is imported
        self.first = 0
        self.library: Any = import_module("trackio")
        self.run: Any = self.library.init(project=PROJECT, name=run_name, embed=False)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log one row."""
        self.library.log(dict(values), step=step)

    def close(self) -> None:
        """Write what is still in memory."""
        self.library.finish()


TRACKERS: dict[str, type[Any]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
PLACES = ("tensorboard", "wandb", "trackio", "mlflow.db", "mlflow_run.txt")


def callbacks(names: Sequence[str], folder: Path, run_name: str, resume_step: int = 0) -> list[Any]:
    """Return the Trainer callback that passes the rows of `folder`/log.jsonl on; put it behind what writes them."""
    if not names or rank() != 0:
        return []
    from finetune.tracker_callback import Passing

    return [Passing(History(names, folder, run_name, resume_step))]


def close(several: Iterable[Any]) -> set[str]:
    """Pass the last rows on and end all runs; return the files they wrote, which hold times (`work.volatile`)."""
    written: set[str] = set()
    for callback in several:
        if hasattr(callback, "history"):
            callback.history.close()
            written |= files(callback.history.folder)
    return written


def files(folder: Path) -> set[str]:
    """Return the names of all files of trackers in a result's folder."""
    found = [path for place in PLACES for path in (folder / place, *(folder / place).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix() for path in found}


class History:
    """The rows of a log on their way to trackers, which are opened with the first one."""

    def __init__(self, names: Sequence[str], folder: Path, run_name: str, resume_step: int) -> None:
        self.names, self.folder, self.run_name, self.resume_step = list(names), folder, run_name, resume_step
        self.opened: dict[str, Any] = {}
        self.position = 0

    def forward(self) -> None:
        """Pass on the rows that are new; a tracker that fails is left out from there on, and the training goes on."""
        rows, self.position = read(self.folder / LOG, self.position)
        if not rows:
            return
        for name in list(self.names):
            try:
                self._pass(name, rows)
            except Exception as error:
                print(f"  {name} takes no more rows ({type(error).__name__}: {error})", file=sys.stderr, flush=True)
                self.names.remove(name)

    def _pass(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if name not in self.opened:
            self.opened[name] = TRACKERS[name](self.folder, self.run_name, self.resume_step)
        tracker = self.opened[name]
        for row in rows:
            if int(row["step"]) >= tracker.first:
                tracker.log(int(row["step"]), named(row))

    def close(self) -> None:
        """Pass on what is new and end the runs."""
        self.forward()
        for name in self.names:
            if name in self.opened:
                with suppress(Exception):
                    self.opened.pop(name).close()


def read(log: Path, position: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the whole rows of a log from a byte on, and the byte behind them; a line being written comes later."""
    if not log.exists():
        return [], position
    with log.open("rb") as file:
        file.seek(position)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], position + len(whole)


def named(row: Mapping[str, Any]) -> dict[str, float]:
    """Return a row's numbers by the names that transformers' own trackers give them: eval_loss is eval/loss."""
    numbers = {key: value for key, value in row.items() if isinstance(value, int | float) and math.isfinite(value)}
    return {
        f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}": float(value)
        for key, value in numbers.items()
        if key not in ("step", *HIDDEN)
    }
