"""Exact and near duplicates: MinHash signatures, banded into candidates, each candidate verified by its real Jaccard.

The likeness of two texts is the Jaccard index of their sets of word 5-shingles (Broder 1997, "On the resemblance and
containment of documents"). Candidates come from locality-sensitive hashing: a signature of `permutations` minima is cut
into bands, and two texts that agree on a whole band are compared for real, so a coincidence costs time and never a
document. The number of bands is computed from the threshold: as few as still find a pair right at the threshold with
probability 0.995.

Texts that are alike directly or through others form a cluster; a split keeps clusters whole. Within a cluster the best
copy is kept (the caller's `rank`), and another is dropped only if it is itself alike enough to a kept one: a chain
a ~ b ~ c does not take c away because of a. In a band or cluster of thousands not all are compared with all: see
`pairs_within` and `HEADS`.

Left out: signatures on disk. All signatures and shingle sets are in memory, about 8 bytes a word of text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from data_prep import shingles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Signatures = NDArray[np.uint32]

RECALL_AT_THRESHOLD = 0.995
WINDOW = 4
HEADS = 1000  # kept copies of one cluster that another text of it is compared with; 64 cost recall on boilerplate
AT_ONCE = 256  # shingles: their products with all functions stay in a core's own cache


@dataclass(frozen=True)
class Twin:
    """Why a text is dropped: the index of the kept copy and how alike the two are."""

    kept: int
    likeness: float
    exact: bool


@dataclass
class Found:
    """The cluster of each text (its smallest index in the cluster) and the texts to drop."""

    cluster: list[int]
    twins: dict[int, Twin] = field(default_factory=dict)


def find(
    texts: Sequence[str],
    threshold: float = 0.8,
    *,
    shingle: int = 5,
    permutations: int = 128,
    rank: Callable[[int], tuple[float, ...]] | None = None,
) -> Found:
    """Return clusters of texts that are alike and which to drop; `rank` sorts the best copy first.

    By default the best copy is the one with the most words; of equals, the first.
    """
    exact = _exact(texts)
    firsts = sorted(set(exact))
    of_words = [shingles.hashes(shingles.words(texts[index])) for index in firsts]
    sets = [_unique(shingles.runs(item, shingle)) for item in of_words]
    clusters = _DisjointSets(len(firsts))
    for a, b in _candidates(signatures(sets, permutations), threshold).tolist():
        if clusters.root(a) != clusters.root(b) and alike(sets[a], sets[b], threshold) >= threshold:
            clusters.join(a, b)
    lengths = {index: len(item) for index, item in zip(firsts, of_words, strict=True)}
    order = rank or (lambda index: (-lengths[index], index))
    return _found(exact, firsts, clusters, sets, threshold, order)


def banding(threshold: float, permutations: int) -> tuple[int, int]:
    """Return (bands, rows a band) with the longest bands that still find a pair at the threshold."""
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= RECALL_AT_THRESHOLD:
            return bands, rows
    return permutations, 1


def signatures(sets: Sequence[shingles.Hashes], permutations: int) -> Signatures:
    """Return the minima of each set under `permutations` hash functions, shape (sets, permutations)."""
    import numpy as np

    result = np.zeros((len(sets), permutations), dtype=np.uint32)
    for row, members in enumerate(sets):
        result[row] = minima(members, permutations)
    return result


def minima(members: NDArray[Any], permutations: int) -> Signatures:
    """Return the minimum of a set of 32- or 64-bit shingle hashes under each of `permutations` hash functions.

    Multiply-shift hashing (Dietzfelbinger et al. 1997) to 32 bits. The minima of an empty set are the largest number.
    """
    import numpy as np

    factors, offsets = _functions(permutations)
    least = np.full(permutations, 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for start in range(0, len(members), AT_ONCE):
        part = members[None, start : start + AT_ONCE] * factors  # (permutations, shingles): one function a row
        part += offsets
        np.minimum(least, part.min(axis=1), out=least)
    return (least >> np.uint64(32)).astype(np.uint32)


@lru_cache(maxsize=4)
def _functions(permutations: int) -> tuple[Any, Any]:
    """Return factor and offset of each hash function, shape (permutations, 1)."""
    import numpy as np

    seeds = shingles.scramble(np.arange(1, 2 * permutations + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (seeds[:permutations] | np.uint64(1))[:, None], seeds[permutations:][:, None]


def band_keys(members: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """Return a 64-bit key for each band of a set's signature; equal bands have equal keys, whichever text has them."""
    import numpy as np

    signature = minima(members, bands * rows).reshape(bands, rows).astype(np.uint64)
    keys = np.arange(1, bands + 1, dtype=np.uint64)
    for row in range(rows):
        keys = shingles.scramble(keys * np.uint64(0x9E3779B97F4A7C15) + signature[:, row])
    return keys


def pairs_within(items: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return pairs of members of the same group, shape (pairs, 2), the smaller item first, sorted, each once.

    Each member is paired with the next `WINDOW` of its group and with the first `WINDOW`: all pairs of a small group,
    and a group of thousands costs thousands of comparisons and not millions.
    """
    import numpy as np

    group = np.repeat(np.arange(len(starts)), counts)
    place = np.arange(len(items)) - starts[group] if len(items) else items
    one: list[Any] = [np.zeros(0, np.int64)]
    other: list[Any] = [np.zeros(0, np.int64)]
    for distance in range(1, WINDOW + 1):
        later = np.flatnonzero(place >= distance)
        one.append(items[later - distance])
        other.append(items[later])
        beyond = later[place[later] >= WINDOW + distance]  # nearer ones are neighbours of the first few already
        one.append(items[starts[group[beyond]] + distance - 1])
        other.append(items[beyond])
    a, b = np.concatenate(one), np.concatenate(other)
    return np.unique(np.stack((np.minimum(a, b), np.maximum(a, b)), axis=1), axis=0)


def _candidates(minima: Signatures, threshold: float) -> NDArray[np.int64]:
    """Return pairs of rows that agree on a whole band, each once."""
    import numpy as np

    bands, rows = banding(threshold, minima.shape[1])
    found = [np.zeros((0, 2), np.int64)]
    for band in range(bands):
        part = np.ascontiguousarray(minima[:, band * rows : (band + 1) * rows])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * rows))).ravel()
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(inverse, kind="stable")
        found.append(pairs_within(order, np.cumsum(counts) - counts, counts))
    return np.unique(np.concatenate(found), axis=0)


def jaccard(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the Jaccard index of two sorted arrays without repetitions; that of two empty ones is 1."""
    import numpy as np

    if not len(a) and not len(b):
        return 1.0
    both = np.concatenate((a, b))
    both.sort(kind="stable")
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)


def alike(a: NDArray[Any], b: NDArray[Any], threshold: float) -> float:
    """Return the Jaccard index, or 0 where the sizes alone rule the threshold out."""
    small, big = sorted((len(a), len(b)))
    return jaccard(a, b) if small >= threshold * big else 0.0


class _DisjointSets:
    """Union-find; the root of a set is its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, a: int, b: int) -> None:
        a, b = self.root(a), self.root(b)
        self._parent[max(a, b)] = min(a, b)


def _exact(texts: Sequence[str]) -> list[int]:
    """Return for each text the index of the first with the same characters, white space aside."""
    first: dict[bytes, int] = {}
    return [
        first.setdefault(blake2b(" ".join(text.split()).encode("utf-8", "replace"), digest_size=16).digest(), index)
        for index, text in enumerate(texts)
    ]


def _unique(values: shingles.Hashes) -> shingles.Hashes:
    import numpy as np

    return np.unique(values)


def _found(
    exact: list[int],
    firsts: list[int],
    clusters: _DisjointSets,
    sets: list[shingles.Hashes],
    threshold: float,
    order: Callable[[int], tuple[float, ...]],
) -> Found:
    place = {index: position for position, index in enumerate(firsts)}
    found = Found([firsts[clusters.root(place[first])] for first in exact])
    members: dict[int, list[int]] = {}
    for index in firsts:
        members.setdefault(found.cluster[index], []).append(index)
    for cluster in members.values():
        kept: list[int] = []
        for index in sorted(cluster, key=order) if len(cluster) > 1 else ():
            mine = sets[place[index]]
            near = [(alike(mine, sets[place[other]], threshold), -other) for other in kept[:HEADS]]
            best, other = max(near, default=(0.0, 0))
            if best >= threshold:
                found.twins[index] = Twin(-other, best, exact=False)
            else:
                kept.append(index)
    for index, first in enumerate(exact):
        if index != first:
            # The first of equal copies may itself have gone for a better near-duplicate; so do all of them.
            found.twins[index] = found.twins.get(first, Twin(first, 1.0, exact=True))
    return found
