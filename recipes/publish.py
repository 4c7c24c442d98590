"""A finished folder takes the place of a former one in one step, and only one run at a time writes it.

`rename` puts a new folder in place; where a folder is already there, Linux's `renameat2(RENAME_EXCHANGE)` swaps the two
(both are atomic on one file system). The former result then moves to `.previous/` beside it. Where the system cannot
swap, two renames do it, and `artifact.settle` finishes at the next start what a kill between the two left undone.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recipes.errors import UserError

PREVIOUS = ".previous"
LOCKS = ".locks"
TRASH = ".trash-"
AT_FDCWD = -100
RENAME_EXCHANGE = 2
CANNOT_SWAP = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold the one lock that whoever writes `folder` needs; it ends with the process, however that ends.

    Raises:
        UserError: another process holds it.
    """
    path = folder.parent / LOCKS / folder.name
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    _close_in_children.add(descriptor)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 100, 0).decode(errors="replace").strip() or "unknown"
            raise UserError(
                str(folder),
                f"another run (process {holder}) is writing this folder now",
                f"wait for it, or stop it (kill {holder}); another output_dir runs beside it",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        if descriptor in _close_in_children:  # else this is a child that came here, and has let go of it already
            _close_in_children.remove(descriptor)
            os.close(descriptor)


# A forked child (a data loader's worker, say) shares its parent's lock: left open there, it would outlive the parent.
_close_in_children: set[int] = set()


def _forget_locks() -> None:
    for descriptor in _close_in_children:
        os.close(descriptor)
    _close_in_children.clear()


os.register_at_fork(after_in_child=_forget_locks)


def sync(folder: Path) -> None:
    """Make sure that everything in `folder` has reached the disk."""
    for here, _, names in os.walk(folder):
        for name in names:
            sync_one(Path(here) / name)
        sync_one(Path(here))


def sync_one(path: Path) -> None:
    """Make sure that one file or folder has reached the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put(finished: Path, target: Path, label: str | None) -> None:
    """Move `finished` to `target`; a former folder there goes to `.previous/<name>-<label>`; without a label, away."""
    if not target.exists() or not any(target.iterdir()):
        os.rename(finished, target)
    elif exchange(finished, target):
        keep(finished, target, label)
    else:
        keep(target, target, label)
        os.rename(finished, target)
    sync_one(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; return False where the system has no such call."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in CANNOT_SWAP:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def keep(folder: Path, target: Path, label: str | None) -> None:
    """Move `folder` to `.previous/<name of target>-<label>`; without a label, or when that is there, it goes away."""
    kept = previous(target, label or "")
    kept.parent.mkdir(parents=True, exist_ok=True)
    if label and not kept.exists():
        os.rename(folder, kept)
    else:
        remove(folder, target)


def previous(target: Path, label: str) -> Path:
    """Return where a former folder of `target` is kept."""
    return target.parent / PREVIOUS / f"{target.name}-{label}"


def remove(folder: Path, target: Path) -> None:
    """Delete a folder: out of sight in one step first, so that a kill leaves no half-deleted folder under its name."""
    trash = target.parent / PREVIOUS / f"{TRASH}{target.name}-{os.getpid()}"
    trash.parent.mkdir(parents=True, exist_ok=True)
    os.rename(folder, trash)
    empty_trash(target)


def empty_trash(target: Path) -> None:
    """Delete what an interrupted `remove` left; call it with the lock held."""
    for trash in (target.parent / PREVIOUS).glob(f"{TRASH}{target.name}-*"):
        shutil.rmtree(trash)
    with suppress(OSError):  # not empty, or never made: both are fine
        (target.parent / PREVIOUS).rmdir()
