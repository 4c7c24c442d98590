"""Find texts that are alike among all shards, and choose which copy stays: four phases over the shards' sketches.

1. **copies** (`exact`): texts with the same characters, white space aside; of each group the first stays in the search.
2. **candidates**: items that share a whole MinHash band, in the pairs of `dedup.pairs_within`.
3. **links**: candidates whose real Jaccard index of shingles is at least the threshold.
4. **choice**: links join items to clusters. In a cluster the best copy stays, and another goes only if it is itself
   alike enough to one that stays: a chain a ~ b ~ c does not take c away because of a.

Phases 2 and 3 are many tasks, each for a slice of the keys, in bounded memory. Phases 1 and 4 are one task each; the
last holds the links and the members of clusters, some hundred bytes for each document that has a twin.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import dedup, shingles
from data_prep.corpus.sketches import SHARD_BITS, Library, source_key
from data_prep.engine import sorted_runs
from data_prep.engine.phases import Phases, Result, Task, replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Items = NDArray[np.int64]

COPY = [("key", "<u8"), ("first", "<i8")]  # key: the item that is a copy
PAIR = [("key", "<u8"), ("a", "<i8"), ("b", "<i8")]
LINK = [("a", "<i8"), ("b", "<i8"), ("likeness", "<f4")]
SHOWN = 5


@dataclass(frozen=True)
class Search:
    """What to search: the beginnings of the shards' sketch files, where results go, and what counts as alike."""

    beginnings: tuple[str, ...]
    folder: str
    threshold: float
    keep: str = "longest"

    def library(self) -> Library:
        """Return the sketches of all shards."""
        return Library([Path(one) for one in self.beginnings])


def find(search: Search, phases: Phases, name: str, size: int) -> Result:
    """Run the search; return its counts. `marks_of` tells what it says of each shard's items."""
    folder, library = Path(search.folder), search.library()
    title = "duplicates" if name == "duplicates" else "duplicate paragraphs"
    phases.run(f"{name}-exact", [Task("all", exact, (search,), size)], f"{title}: copies")
    slices = sorted_runs.bounds(library.files(".bands.npy"))
    tasks = [Task(f"{low:016x}", candidates, (search, low, high), size // len(slices)) for low, high in slices]
    phases.run(f"{name}-candidates", tasks, f"{title}: candidates")
    pairs = sorted(folder.glob("candidates-*.npy"))
    slices = sorted_runs.bounds(pairs)
    tasks = [Task(f"{low:016x}", links, (search, low, high), size // len(slices)) for low, high in slices]
    phases.run(f"{name}-links", tasks, f"{title}: comparing")
    (counts,) = phases.run(f"{name}-choice", [Task("all", choice, (search,), size)], f"{title}: choosing")
    return counts


def exact(search: Search) -> Result:
    """Write which items are copies of which first one."""
    import numpy as np

    found = [np.zeros(0, dtype=COPY)]
    for records in sorted_runs.slices(search.library().files(".exact.npy")):
        order = np.lexsort((records["item"], records["check"], records["key"]))
        records = records[order]
        same = (records["key"][1:] == records["key"][:-1]) & (records["check"][1:] == records["check"][:-1])
        start = np.concatenate(([True], ~same)) if len(records) else np.zeros(0, bool)
        first = records["item"][np.flatnonzero(start)][np.cumsum(start) - 1]
        copies = np.zeros(int(np.count_nonzero(~start)), dtype=COPY)
        copies["key"], copies["first"] = records["item"][~start], first[~start]
        found.append(copies)
    copies = np.concatenate(found)
    sorted_runs.write(Path(search.folder) / "copies.npy", copies)
    return {"copies": len(copies)}


def candidates(search: Search, low: int, high: int) -> Result:
    """Write the pairs of items that share a band whose key lies in this slice."""
    import numpy as np

    records = sorted_runs.between(search.library().files(".bands.npy"), low, high)
    copies = sorted_runs.open_run(Path(search.folder) / "copies.npy")["key"]
    if len(copies):
        items = records["item"].astype(np.uint64)
        place = np.minimum(np.searchsorted(copies, items), len(copies) - 1)
        records = records[copies[place] != items]
    pairs = _paired(records)
    sorted_runs.write(Path(search.folder) / f"candidates-{low:016x}.npy", pairs)
    return {"candidates": len(pairs)}


def _paired(records: sorted_runs.Records) -> sorted_runs.Records:
    """Return pairs of members of the same band, each with a key of its own."""
    import numpy as np

    starts, counts = sorted_runs.groups(records)
    pairs = dedup.pairs_within(records["item"], starts, counts)
    found = np.zeros(len(pairs), dtype=PAIR)
    found["a"], found["b"] = pairs[:, 0], pairs[:, 1]
    found["key"] = shingles.scramble(
        found["a"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + found["b"].astype(np.uint64)
    )
    return found


def links(search: Search, low: int, high: int) -> Result:
    """Write the candidates of this slice that are alike."""
    import numpy as np

    folder, library = Path(search.folder), search.library()
    records = sorted_runs.between(sorted(folder.glob("candidates-*.npy")), low, high)
    # A pair that shares several bands stands here several times. Sorted, neighbours read the same shards.
    pairs = np.unique(np.stack((records["a"], records["b"]), axis=1), axis=0)
    found = []
    last = -1
    mine: Any = None
    for a, b in pairs.tolist():
        if a != last:
            last, mine = a, library.shingles(a)
        likeness = dedup.alike(mine, library.shingles(b), search.threshold)
        if likeness >= search.threshold:
            found.append((a, b, likeness))
    with replacing(folder / f"links-{low:016x}.npy") as stream:
        np.save(stream, np.array(found, dtype=LINK))
    return {"compared": len(pairs), "alike": len(found)}


def choice(search: Search) -> Result:
    """Write, for each shard, which items go and because of which, and the cluster of each that is in one."""
    import numpy as np

    folder, library = Path(search.folder), search.library()
    copies = np.load(folder / "copies.npy")
    linked = np.concatenate([np.zeros(0, dtype=LINK), *(np.load(path) for path in sorted(folder.glob("links-*.npy")))])
    members, roots = components(linked["a"], linked["b"])
    twins = _twins(search, library, linked, members, roots)
    copied = dict(zip(copies["key"].astype(np.int64).tolist(), copies["first"].tolist(), strict=True))
    root = dict(zip(members.tolist(), roots.tolist(), strict=True))
    for item, first in copied.items():
        # The first of equal copies may itself have gone for a better near-duplicate; so do all of them.
        twins[item] = twins.get(first, (first, 1.0, True))
        root[item] = root.setdefault(first, first)
    together = _sources_together(library, root)
    _write_marks(folder, library, twins, root)
    sizes = np.unique(np.array(list(root.values()), dtype=np.int64), return_counts=True)
    near = {item: twin for item, twin in twins.items() if not twin[2]}
    shown = sorted(near, key=lambda item: (near[item][1], item))[:SHOWN]
    largest = sorted(zip(sizes[1].tolist(), sizes[0].tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))[:10]
    names = library.ids(np.unique(np.array([one for _, one in largest], dtype=np.int64)))
    return {
        "exact": len(twins) - len(near),
        "near": len(near),
        "clusters": len(sizes[0]),
        "largest": [{"size": size, "id": names[one]} for size, one in largest],
        "shown": [[round(near[item][1], 3), item, near[item][0]] for item in shown],
        "together": together,
    }


def components(a: Items, b: Items) -> tuple[Items, Items]:
    """Return the items that have a link, sorted, and the smallest item of the component of each.

    Labels spread along links and through each other's labels until nothing changes (Shiloach and Vishkin 1982).
    """
    import numpy as np

    members, places = np.unique(np.concatenate((a, b)), return_inverse=True)
    one, other = places[: len(a)], places[len(a) :]
    labels = np.arange(len(members))
    while True:
        least = np.minimum(labels[one], labels[other])
        new = labels.copy()
        for end in (one, other):
            np.minimum.at(new, end, least)
            np.minimum.at(new, labels[end], least)
        new = new[new]
        if np.array_equal(new, labels):
            return members, members[labels] if len(members) else members
        labels = new


Twin = tuple[int, float, bool]


def _twins(search: Search, library: Library, linked: NDArray[np.void], members: Items, roots: Items) -> dict[int, Twin]:
    """Return for each item that goes the kept one, how alike they are, and whether they are copies."""
    import numpy as np

    known = {
        (a, b): likeness
        for a, b, likeness in zip(
            linked["a"].tolist(), linked["b"].tolist(), linked["likeness"].astype(np.float64).tolist(), strict=True
        )
    }
    ranks = library.ranks(members)
    order = np.lexsort((members, *_preference(search, ranks), roots))
    twins: dict[int, Twin] = {}
    for cluster in np.split(members[order], np.flatnonzero(np.diff(roots[order])) + 1):
        kept: list[int] = []
        for item in cluster.tolist():
            best = _nearest(item, kept, known, library, search.threshold)
            if best is None:
                kept.append(item)
            else:
                twins[item] = best
    return twins


def _nearest(
    item: int, kept: Sequence[int], known: Mapping[tuple[int, int], float], library: Library, threshold: float
) -> Twin | None:
    """Return the kept item that is most alike, if one is alike enough; of equals the first."""
    found: Twin | None = None
    for number, other in enumerate(kept):
        pair = (min(item, other), max(item, other))
        if pair not in known and number >= dedup.HEADS:
            continue
        likeness = known[pair] if pair in known else library.likeness(*pair)
        if likeness >= threshold and (found is None or likeness > found[1]):
            found = (other, likeness, False)
    return found


def _preference(search: Search, ranks: Any) -> tuple[Any, ...]:
    """Return sort keys by which the best copy comes first; of equals, and without a key, the first one stays."""
    return (-ranks["words"].astype("i8"),) if search.keep == "longest" else ()


def _sources_together(library: Library, root: Mapping[int, int]) -> list[list[str]]:
    """Return pairs of sources (keys in hexadecimal) that share a cluster: a split by source keeps them together."""
    import numpy as np

    items = np.array(sorted(root), dtype=np.int64)
    sources = dict(zip(items.tolist(), library.ranks(items)["source"].tolist(), strict=True))
    pairs = {tuple(sorted((sources[item], sources[first]))) for item, first in root.items() if first in sources}
    return [[f"{a:016x}", f"{b:016x}"] for a, b in sorted(pairs) if a != b]


def _write_marks(folder: Path, library: Library, twins: Mapping[int, Twin], root: Mapping[int, int]) -> None:
    """Write one file for each shard that has something to say."""
    import numpy as np

    named = sorted({twin[0] for twin in twins.values()} | set(root.values()))
    ids = library.ids(np.array(named, dtype=np.int64))
    marks: dict[int, dict[str, dict[str, Any]]] = {}
    for item in sorted(root):
        here = marks.setdefault(item >> SHARD_BITS, {"drops": {}, "roots": {}})
        place = str(item & (2**SHARD_BITS - 1))
        here["roots"][place] = ids[root[item]]
        if item in twins:
            kept, likeness, copy = twins[item]
            here["drops"][place] = [ids[kept], round(likeness, 4), copy]
    for shard, found in marks.items():
        with replacing(folder / f"marks-{shard:05d}.json") as stream:
            stream.write(json.dumps(found).encode())


@dataclass
class Marks:
    """What the search says of one shard's items, by their number: `drops` (kept id, likeness, copy) and `roots`."""

    drops: dict[str, list[Any]] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)


def marks_of(folder: Path, shard: int) -> Marks:
    """Return the marks of a shard."""
    path = folder / f"marks-{shard:05d}.json"
    return Marks(**json.loads(path.read_bytes())) if path.exists() else Marks()


def source_groups(together: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """Return a function that gives the group (a key in hexadecimal) of a source's name."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.get(key, key) != key:
            key = parent[key]
        return key

    for a, b in together:
        one, other = sorted((root(a), root(b)))
        parent[other] = one
    return lambda source: root(f"{source_key(source):016x}")
