"""What the search for duplicates keeps of each text: its shingles, its MinHash bands, a hash of all of it, its length.

One set of files a shard (`Sketches.save`):

- `.sets.npy`, `.ends.npy`: the sorted 32-bit hashes of each text's word shingles, one text after the other;
- `.bands.npy`: a sorted run of (key of a band, item), to find candidates (`data_prep.dedup.banding`);
- `.exact.npy`: a sorted run of (128-bit hash of the text, white space aside; item), to find copies;
- `.ranks.npy`: words and source of each item, to choose the best copy and to keep sources together;
- `.ids`: the document's id of each item, one JSON text a line.

An item is a text's number in its shard; with the shard's number in the upper 32 bits it is unique in the corpus, and
sorted as the documents are. With 32-bit hashes a shingle is taken for another one in four thousand million times, which
no Jaccard index here can show.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import dedup, shingles
from data_prep.engine import sorted_runs
from data_prep.engine.phases import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHARD_BITS = 32
BAND = [("key", "<u8"), ("item", "<i8")]
EXACT = [("key", "<u8"), ("check", "<u8"), ("item", "<i8")]
RANK = [("words", "<u4"), ("source", "<u8")]
ENDINGS = (".sets.npy", ".ends.npy", ".bands.npy", ".exact.npy", ".ranks.npy", ".ids")


class Sketches:
    """The sketches of a shard's texts, in their order."""

    def __init__(self, shard: int, *, shingle: int, bands: int, rows: int) -> None:
        self._shard = shard
        self._shingle = shingle
        self._bands = bands
        self._rows = rows
        self._sets: list[NDArray[np.uint32]] = []
        self._keys: list[NDArray[np.uint64]] = []
        self._exact: list[bytes] = []
        self._ranks: list[tuple[int, int]] = []
        self._ids: list[str] = []

    def add(self, text: str, document: str, source: str) -> None:
        """Sketch a text of a document."""
        import numpy as np

        words = shingles.text_hashes(text)
        runs = shingles.runs(words, self._shingle)
        self._sets.append(np.unique((runs >> np.uint64(32)).astype(np.uint32)))
        self._keys.append(dedup.band_keys(self._sets[-1], self._bands, self._rows))
        whole = " ".join(text.split()).encode("utf-8", "replace")
        self._exact.append(blake2b(whole, digest_size=16).digest())
        self._ranks.append((len(words), source_key(source)))
        self._ids.append(document)

    def save(self, path: Path) -> None:
        """Write the files of this shard; `path` is their common beginning."""
        import numpy as np

        count = len(self._ids)
        items = np.arange(count, dtype=np.int64) + (self._shard << SHARD_BITS)
        sets = np.concatenate(self._sets) if count else np.zeros(0, np.uint32)
        _put(path, ".sets.npy", sets)
        _put(path, ".ends.npy", np.cumsum([len(one) for one in self._sets], dtype=np.int64))
        _put(path, ".ranks.npy", np.array(self._ranks, dtype=RANK))
        bands = np.zeros(count * self._bands, dtype=BAND)
        bands["key"] = np.concatenate(self._keys) if count else 0
        bands["item"] = np.repeat(items, self._bands)
        # A text without a word is like no other.
        bands = bands[np.repeat([len(one) > 0 for one in self._sets], self._bands)] if count else bands
        sorted_runs.write(_with(path, ".bands.npy"), bands)
        exact = np.zeros(count, dtype=EXACT)
        halves = np.frombuffer(b"".join(self._exact), dtype="<u8").reshape(-1, 2)
        exact["key"], exact["check"], exact["item"] = halves[:, 0], halves[:, 1], items
        sorted_runs.write(_with(path, ".exact.npy"), exact)
        with replacing(_with(path, ".ids")) as stream:
            stream.writelines(json.dumps(one).encode() + b"\n" for one in self._ids)


def source_key(source: str) -> int:
    """Return 64 bits that stand for a source."""
    return int.from_bytes(blake2b(source.encode("utf-8", "replace"), digest_size=8).digest(), "little")


class Library:
    """The sketches of all shards, each read where it is asked for."""

    def __init__(self, beginnings: Sequence[Path]) -> None:
        self._beginnings = list(beginnings)
        self._opened = lru_cache(maxsize=128)(self._open)

    def files(self, ending: str) -> list[Path]:
        """Return one kind of file of all shards."""
        return [_with(path, ending) for path in self._beginnings]

    def shingles(self, item: int) -> Any:
        """Return the sorted shingle hashes of an item."""
        sets, ends = self._opened(item >> SHARD_BITS)
        place = item & (2**SHARD_BITS - 1)
        return sets.part(int(ends[place - 1]) if place else 0, int(ends[place]))

    def likeness(self, a: int, b: int) -> float:
        """Return the Jaccard index of two items."""
        return dedup.jaccard(self.shingles(a), self.shingles(b))

    def _open(self, shard: int) -> tuple[_Array, Any]:
        import numpy as np

        path = self._beginnings[shard]
        return _Array(_with(path, ".sets.npy")), np.load(_with(path, ".ends.npy"))

    def ranks(self, items: NDArray[np.int64]) -> Any:
        """Return words and source of items, which are sorted."""
        import numpy as np

        found = np.zeros(len(items), dtype=RANK)
        for shard, part in _by_shard(items):
            found[part] = np.load(_with(self._beginnings[shard], ".ranks.npy"))[_places(items[part])]
        return found

    def ids(self, items: NDArray[np.int64]) -> dict[int, str]:
        """Return the document's id of each of the items, which are sorted."""
        found: dict[int, str] = {}
        for shard, part in _by_shard(items):
            wanted = _places(items[part]).tolist()
            for place, line in _lines_at(_with(self._beginnings[shard], ".ids"), wanted):
                found[(shard << SHARD_BITS) + place] = json.loads(line)
        return found


class _Array:
    """A file of 32-bit numbers, read where asked: the pages of a memory map would stay in this process's memory."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        self._stream = path.open("rb", buffering=0)
        np.lib.format.read_magic(self._stream)
        np.lib.format.read_array_header_1_0(self._stream)
        self._start = self._stream.tell()

    def part(self, start: int, end: int) -> NDArray[np.uint32]:
        """Return the numbers from `start` up to `end`."""
        import numpy as np

        found = os.pread(self._stream.fileno(), 4 * (end - start), self._start + 4 * start)
        return np.frombuffer(found, dtype=np.uint32)


def _lines_at(path: Path, wanted: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines with these numbers, which are sorted."""
    todo = iter(wanted)
    following = next(todo, None)
    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if number == following:
                yield number, line
                following = next(todo, None)
                if following is None:
                    return


def _by_shard(items: NDArray[np.int64]) -> Iterator[tuple[int, slice]]:
    import numpy as np

    shards = items >> SHARD_BITS
    for shard in np.unique(shards).tolist():
        yield shard, slice(int(np.searchsorted(shards, shard)), int(np.searchsorted(shards, shard, side="right")))


def _places(items: NDArray[np.int64]) -> NDArray[np.int64]:
    places: NDArray[np.int64] = items & (2**SHARD_BITS - 1)
    return places


def _put(path: Path, ending: str, array: Any) -> None:
    import numpy as np

    with replacing(_with(path, ending)) as stream:
        np.save(stream, array)


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
