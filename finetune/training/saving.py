"""Checkpoints that a run can trust: whole or not at all, with checksums, and the best one never deleted.

A checkpoint is written under another name; when every file of it is on disk, their SHA-256 are written beside them and
the folder takes its name in one step. A kill or a full disk leaves the ones before as they were. What is read again is
compared with the checksums first: a damaged checkpoint is set aside, told, and the one before is used.

On GPUs the weights and the optimiser's state are copied to main memory, and a thread writes them while training goes
on; on CPUs, which would have to do the writing themselves, and for sharded models the run waits.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from recipes import publish
from recipes.hashing import file_hash

if TYPE_CHECKING:
    from finetune.training.loop import StageTrainer

MARKER = "complete.json"
WHOLE, NEW, DAMAGED = "checkpoint-", "incoming-", "damaged-"
LOOP = "loop_{rank}.json"


class Saver:
    """Writes a run's checkpoints into `folder`; at most one is being written at a time."""

    def __init__(self, trainer: StageTrainer, folder: Path, keep: int, *, background: bool) -> None:
        self.trainer, self.folder, self.keep, self.background = trainer, folder, keep, background
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, best: int | None) -> None:
        """Write the run's state as of this step; `best` is the step of the checkpoint that must stay.

        Every process has to call it.
        """
        self.wait()
        step = self.trainer.state.global_step
        new = self.folder / f"{NEW}{step}"
        main = self.trainer.is_world_process_zero()
        if main:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
        barrier()
        self.trainer._save_rng_state(str(new))
        rank = self.trainer.args.process_index
        (new / LOOP.format(rank=rank)).write_text(json.dumps(self.trainer.carried()), encoding="utf-8")
        if main:
            self.trainer.state.save_to_json(str(new / "trainer_state.json"))
        write = self._snapshot(new) if self.background else self._write_now(new)
        barrier()

        def finish() -> None:
            write()
            seal(new)
            take_place(new, self.folder / f"{WHOLE}{step}")
            rotate(self.folder, self.keep, best)

        if not main:
            return
        if self.background:
            self._thread = threading.Thread(target=self._guarded, args=(finish, new), name="checkpoint")
            self._thread.start()
        else:
            self._guarded(finish, new)
            self.wait()

    def wait(self) -> None:
        """Wait for the checkpoint that is being written; raise what went wrong with it."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _guarded(self, finish: Callable[[], None], new: Path) -> None:
        try:
            finish()
        except BaseException as error:
            shutil.rmtree(new, ignore_errors=True)  # on a full disk, room for the user to go on with
            self._error = error

    def _write_now(self, new: Path) -> Callable[[], None]:
        """Write weights and optimiser with all processes, as sharded ones need it."""
        try:
            self.trainer.save_model(str(new), _internal_call=True)
            self.trainer._save_optimizer_and_scheduler(str(new))
            self.trainer._save_scaler(str(new))
        except BaseException:
            if self.trainer.is_world_process_zero():
                shutil.rmtree(new, ignore_errors=True)
            raise
        return lambda: None

    def _snapshot(self, new: Path) -> Callable[[], None]:
        """Copy what training changes to main memory; return what writes it."""
        trainer = self.trainer
        if not trainer.is_world_process_zero():
            return lambda: None
        trainer._save_scaler(str(new))
        model = trainer.accelerator.unwrap_model(trainer.model)
        weights = changing(model)
        optimizer, schedule = copied(trainer.optimizer.state_dict()), copied(trainer.lr_scheduler.state_dict())

        def write() -> None:
            model.save_pretrained(new, state_dict=weights)
            torch.save(optimizer, new / "optimizer.pt")
            torch.save(schedule, new / "scheduler.pt")

        return write


def changing(model: Any) -> dict[str, torch.Tensor]:
    """Return a model's state dict with a copy in main memory of all that training changes; frozen weights stay."""
    moving = {value.data_ptr() for value in model.parameters() if value.requires_grad}
    moving |= {value.data_ptr() for value in model.buffers()}
    made: dict[int, torch.Tensor] = {}  # tied weights stay one tensor
    state = model.state_dict()
    for name, value in state.items():
        if isinstance(value, torch.Tensor) and value.data_ptr() in moving:
            state[name] = made.setdefault(value.data_ptr(), value.detach().to("cpu", copy=True))
    return dict(state)


def copied(value: Any) -> Any:
    """Return a copy of a state dict with its tensors in main memory."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value


def barrier() -> None:
    """Wait for all processes of the run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def seal(folder: Path) -> None:
    """Put every file on disk, and write their checksums last."""
    sums = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != MARKER:
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
            sums[str(file.relative_to(folder))] = file_hash(file)
    with (folder / MARKER).open("w", encoding="utf-8") as stream:
        json.dump(sums, stream)
        stream.flush()
        os.fsync(stream.fileno())


def take_place(new: Path, final: Path) -> None:
    """Give a sealed checkpoint its name; one of the same step that is there (made anew after a fall-back) goes."""
    publish.sync_one(new)
    if final.exists():
        shutil.rmtree(final)
    new.rename(final)
    publish.sync_one(final.parent)


def is_whole(checkpoint: Path) -> bool:
    """Return whether every file of a checkpoint is there with the bytes that were written."""
    try:
        sums = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
        return bool(sums) and all(file_hash(checkpoint / name) == digest for name, digest in sums.items())
    except (OSError, ValueError, AttributeError):
        return False


def step_of(checkpoint: Path) -> int:
    """Return the optimiser step at which a checkpoint was taken."""
    return int(checkpoint.name.removeprefix(WHOLE))


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, the newest first."""
    found = (path for path in folder.glob(f"{WHOLE}*") if path.name.removeprefix(WHOLE).isdigit())
    return sorted(found, key=step_of, reverse=True)


def last_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint that is whole; set aside those that are not, saying so."""
    for left in folder.glob(f"{NEW}*"):
        shutil.rmtree(left)
    for checkpoint in checkpoints(folder):
        if is_whole(checkpoint):
            return checkpoint
        print(f"  {checkpoint.name} is not whole; going back to the one before", file=sys.stderr, flush=True)
        aside = folder / f"{DAMAGED}{checkpoint.name}"
        shutil.rmtree(aside, ignore_errors=True)
        checkpoint.rename(aside)
    return None


def rotate(folder: Path, keep: int, best: int | None) -> None:
    """Delete all checkpoints but the newest `keep` and the one of step `best`."""
    for old in checkpoints(folder)[keep:]:
        if step_of(old) != best:
            with suppress(FileNotFoundError):
                shutil.rmtree(old)
