"""Inputs that lie elsewhere: whatever fsspec has a protocol for (`s3://`, `gs://`, `https://`, `memory://`, `file://`).

A listing gives names, sizes and the mark by which the store itself tells versions apart (ETag, checksum or time of the
last change). These stand for the content: nothing is downloaded to find out whether a result is still what the recipe
asks for. A store that gives no mark is known by names and sizes alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from recipes.errors import UserError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
MARKS = ("ETag", "etag", "checksum", "md5Hash", "md5", "LastModified", "last_modified", "mtime", "updated", "created")
LISTING_SECONDS = 600.0  # a thousand names a request: millions of files take minutes
PROBE_SECONDS = 10.0
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a store: its URL, its name below the root (empty when it is the root), bytes (0 unknown), its mark."""

    url: str
    relative: str
    size: int
    mark: str


def is_url(path: str) -> bool:
    """Return whether a path names a place that only fsspec can reach."""
    return bool(URL.match(path))


def files(url: str) -> list[RemoteFile]:
    """Return the files at or below a URL, sorted by name.

    Raises: UserError when the protocol is unknown, its package is missing, nothing is there, or the store is silent.
    """
    return _in_time(url, lambda: _listed(url), LISTING_SECONDS)


def probe(url: str) -> None:
    """Ask the store whether something is at a URL.

    Raises: UserError as `files`.
    """

    def ask() -> None:
        system, root = _opened(url)
        if not system.exists(root):
            raise UserError(url, "there is nothing here", "correct the URL")

    _in_time(url, ask, PROBE_SECONDS)


def _listed(url: str) -> list[RemoteFile]:
    system, root = _opened(url)
    try:
        if not system.isdir(root):
            return [_file(system, root, "", system.info(root))]
        found = system.find(root, detail=True)
    except FileNotFoundError as error:
        raise UserError(url, "there is nothing here", "correct the URL") from error
    base = root.rstrip("/") + "/"
    return [_file(system, path, path.removeprefix(base), found[path]) for path in sorted(found)]


def _file(system: Any, path: str, relative: str, info: dict[str, Any]) -> RemoteFile:
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return RemoteFile(system.unstrip_protocol(path), relative, int(info.get("size") or 0), mark)


def _opened(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL and the path in it."""
    import fsspec

    protocol = url.partition(":")[0]
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise UserError(
            url, f"{protocol}:// needs a package that is not installed ({error})", _pip(protocol)
        ) from error
    except ValueError as error:
        known = ", ".join(sorted(fsspec.available_protocols())[:60])
        raise UserError(url, f"there is no protocol {protocol}://", f"one of {known}") from error
    return system, path


def _pip(protocol: str) -> str:
    from fsspec.registry import known_implementations

    packages = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
                "http": "aiohttp", "https": "aiohttp", "sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol",
                "hf": "huggingface_hub", "oci": "ocifs", "oss": "ossfs", "webhdfs": "requests"}  # fmt: skip
    hint = str(known_implementations.get(protocol, {}).get("err", "")).strip()
    return f"pip install {packages[protocol]}" if protocol in packages else hint or "install it"


def _in_time(url: str, ask: Callable[[], Answer], seconds: float) -> Answer:
    """Return the answer of a store, which may also hang for ever: some clients retry without end."""
    answers: list[Answer] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(ask())
        except BaseException as error:
            failures.append(error)

    asking = threading.Thread(target=work, daemon=True)
    asking.start()
    asking.join(seconds)
    if answers:
        return answers[0]
    if failures and isinstance(failures[0], UserError):
        raise failures[0]
    said = f"{type(failures[0]).__name__}: {failures[0]}" if failures else f"no answer in {seconds:.0f} s"
    raise UserError(url, f"cannot be listed ({said})", "check the URL, the network and the credentials")


@contextmanager
def fetched(path: str) -> Iterator[Path]:
    """Yield a local file with the content of `path`: itself, or for a URL a temporary copy that goes afterwards.

    Raises: OSError for a file that cannot be fetched; UserError as `files`.
    """
    if not is_url(path):
        yield Path(path)
        return
    system, remote = _opened(path)
    with tempfile.TemporaryDirectory(prefix="tuneloop-") as folder:
        name = re.sub(r"[^\w.-]", "_", remote.rstrip("/").rpartition("/")[2].partition("?")[0])[-100:] or "file"
        copy = Path(folder) / name
        try:
            with system.open(remote, "rb") as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        except OSError:
            raise
        except Exception as error:  # clients of stores have errors of their own for what is an input error here
            raise OSError(f"{type(error).__name__} when fetched") from error
        yield copy
