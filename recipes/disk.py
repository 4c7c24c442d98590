"""A full, closed or read-only disk, told in one line; what was written so far stays where it is."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recipes.errors import UserError

FULL = {errno.ENOSPC, errno.EDQUOT}
# What torch says when less was written than it asked for; by then what was half-written may be gone, and space there.
TORCH_WRITER = ("unexpected pos", "PytorchStreamWriter failed writing file")
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def told(target: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one line; what was written so far stays in the work folder."""
    try:
        yield
    except Exception as error:
        if mistake := mistake_of(error, target):
            raise mistake from error
        raise


def mistake_of(error: Exception, target: Path) -> UserError | None:
    """Return what to tell the user when `error` comes from a full or read-only disk, else None."""
    code = error.errno if isinstance(error, OSError) else None
    # safetensors (Rust) and torch wrap the system's error in their own; only the text is left.
    wrapped = type(error).__name__ in ("SafetensorError", "RuntimeError")
    text = str(error)
    half_written = any(words in text for words in ("No space left", "StorageFull", *TORCH_WRITER))
    if code == errno.EFBIG or (wrapped and f"os error {errno.EFBIG}" in text):
        write = "raise the limit (ulimit -f), or name a folder on another file system"
        mistake = UserError(str(target), "the system refuses a file this large", write)
    elif code in FULL or (wrapped and (half_written or _full(target))):
        free = shutil.disk_usage(_existing(target)).free
        what = f"no space left on the disk ({free / 1e6:.0f} MB free)"
        mistake = UserError(
            str(target), what, "free some space and run the same command again: what is finished is kept"
        )
    elif code in DENIED:
        place = str(getattr(error, "filename", None) or target)
        mistake = UserError(
            place, f"no permission ({os.strerror(code or 0)})", "make it accessible, or name another path"
        )
    else:
        return None
    mistake.code = 1
    return mistake


def _full(target: Path) -> bool:
    return shutil.disk_usage(_existing(target)).free < 2**20


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
