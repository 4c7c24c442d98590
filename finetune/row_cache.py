"""Tokenised rows as flat files mapped into memory, written once by one process, and never stale or half.

A folder `rows-KEY` holds `ids` (int32), `mask` (uint8), `ends` (int64: where each row ends) and `counts.json`. KEY is a
hash of everything that the rows depend on. It is written under another name and then renamed; a lock lets other
processes wait for it. One whose files are not as long as they should be is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recipes import hashing

FILES = {"ids": "int32", "mask": "uint8", "ends": "int64"}


class Chunk(NamedTuple):
    """Some rows behind each other: ids (T,), mask (T,), and the length of each row."""

    ids: Any
    mask: Any
    lengths: list[int]


@dataclass
class Rows(Sequence[dict[str, Any]]):
    """Rows of `input_ids` (int32) and `mask` (uint8); `left_out` and `told` count what is not, or not wholly, there."""

    ids: Any
    mask: Any
    ends: Any
    left_out: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        start, end = (int(self.ends[index - 1]) if index else 0), int(self.ends[index])
        return {"input_ids": self.ids[start:end], "mask": self.mask[start:end]}

    def supervised_share(self) -> float:
        """Return which share of the tokens the loss counts."""
        return float(self.mask.sum(dtype="int64")) / max(1, len(self.mask))


def joined(rows: Sequence[tuple[Sequence[int], bytes]]) -> Chunk:
    """Return rows of ids and mask as one chunk."""
    import numpy as np

    ids = np.concatenate([np.array(one, np.int32) for one, _ in rows]) if rows else np.zeros(0, np.int32)
    return Chunk(ids, np.frombuffer(b"".join(mask for _, mask in rows), np.uint8), [len(one) for one, _ in rows])


def in_memory(chunks: Iterable[Chunk]) -> Rows:
    """Return rows that are not kept."""
    import numpy as np

    parts = list(chunks)
    ids, masks = (np.concatenate([part[place] for part in parts] or [[]]) for place in (0, 1))
    lengths = [length for part in parts for length in part.lengths]
    return Rows(ids.astype(np.int32), masks.astype(np.uint8), np.cumsum(lengths, dtype=np.int64))


def kept(
    folder: Path, depends_on: Any, make: Callable[[], Iterable[Chunk]], counts: Callable[[], dict[str, Any]]
) -> Rows:
    """Return the rows that are there for `depends_on`, or make them; `counts` is asked once all are made."""
    target = folder / f"rows-{hashing.text_hash(json.dumps(depends_on, sort_keys=True))[:32]}"
    if (found := _opened(target)) is None:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{target.name}.lock"):
            if (found := _opened(target)) is None:
                _write(target, make(), counts)
                found = _opened(target)
    assert found is not None
    return found


def _opened(folder: Path) -> Rows | None:
    """Return the rows of a folder; None if it is not there, or not whole."""
    import numpy as np

    try:
        counts = json.loads((folder / "counts.json").read_text(encoding="utf-8"))
        if any((folder / name).stat().st_size != counts["bytes"][name] for name in FILES):
            return None
    except (OSError, ValueError, KeyError):
        return None
    # A plain view of the mapped file: slices of numpy's own memmap cost ten times as much.
    arrays = {
        name: np.asarray(np.memmap(folder / name, kind, "r")) if counts["bytes"][name] else np.zeros(0, kind)
        for name, kind in FILES.items()
    }
    return Rows(**arrays, left_out=counts["left_out"], told=counts["told"])


def _write(target: Path, chunks: Iterable[Chunk], counts: Callable[[], dict[str, Any]]) -> None:
    import numpy as np

    waiting = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir()
    try:
        lengths: list[int] = []
        with (waiting / "ids").open("wb") as ids, (waiting / "mask").open("wb") as mask:
            for chunk in chunks:
                ids.write(np.asarray(chunk.ids, np.int32).tobytes())
                mask.write(np.asarray(chunk.mask, np.uint8).tobytes())
                lengths += chunk.lengths
        np.cumsum(lengths, dtype=np.int64).tofile(waiting / "ends")
        sizes = {name: (waiting / name).stat().st_size for name in FILES}
        (waiting / "counts.json").write_text(json.dumps({"bytes": sizes, **counts()}), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        waiting.rename(target)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Hold a lock that the operating system takes back when the process ends, however it ends."""
    import fcntl

    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
