"""Which side a row goes to, and how often a label is shown.

Without labels the side of a group is a hash of its first row's group value (`data_prep.split`): a row stays on its side
when others come or go, and shares are met on average. With labels the split is stratified: within each label the groups
are put in the order of their hashes and taken until the share is full, so each label's share is met to the row, as far
as groups can be put whole. A row of several labels counts for the rarest of them; iterative stratification (Sechidis et
al. 2011) is left out.

Balance acts on the training side alone. Weights are n / (k * n_label), as scikit-learn's "balanced".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from data_prep import split
from data_prep.supervised.kept import Kept

SIDES = ("train", "validation", "test")


@dataclass(frozen=True)
class Shares:
    """The shares that are held back, and the seed."""

    validation: float
    test: float
    seed: int


def assign(rows: Sequence[Kept], groups: Sequence[int], left: Sequence[int], shares: Shares) -> dict[int, str]:
    """Return the side of each row in `left`; rows of one group stand on one side."""
    if any(rows[index].labels for index in left):
        return _stratified(rows, groups, left, shares)
    sides = {
        group: split.side(rows[group].group, validation=shares.validation, test=shares.test, seed=shares.seed)
        for group in {groups[index] for index in left}
    }
    return {index: sides[groups[index]] for index in left}


def _stratified(rows: Sequence[Kept], groups: Sequence[int], left: Sequence[int], shares: Shares) -> dict[int, str]:
    counts = Counter(label for index in left for label in rows[index].labels)
    members: dict[int, list[int]] = {}
    for index in left:
        members.setdefault(groups[index], []).append(index)
    strata: dict[str, list[int]] = {}
    for group, inside in members.items():
        strata.setdefault(_stratum(rows[inside[0]], counts), []).append(group)
    sides: dict[int, str] = {}
    for label in sorted(strata):
        sides |= _filled(strata[label], {group: len(members[group]) for group in strata[label]}, rows, shares)
    return {index: sides[groups[index]] for index in left}


def _stratum(row: Kept, counts: Mapping[str, int]) -> str:
    return min(row.labels, key=lambda label: (counts[label], label), default="")


def _filled(groups: Sequence[int], sizes: Mapping[int, int], rows: Sequence[Kept], shares: Shares) -> dict[int, str]:
    """Return the side of each group of one label."""
    total = sum(sizes.values())
    room = {"validation": round(shares.validation * total), "test": round(shares.test * total)}
    sides = {}
    for group in sorted(groups, key=lambda group: (place(rows[group].group, shares.seed), group)):
        side = next((side for side, left in room.items() if sizes[group] <= left), "train")
        if side in room:
            room[side] -= sizes[group]
        sides[group] = side
    return sides


def place(name: str, seed: int) -> bytes:
    """Return where a name stands in an order that only the seed decides."""
    return blake2b(f"{seed}\0{name}".encode("utf-8", "replace"), digest_size=8).digest()


def weights(rows: Sequence[Kept], train: Sequence[int]) -> dict[str, float]:
    """Return the weight of each label: all labels weigh the same together."""
    counts = Counter(rows[index].labels[0] for index in train)
    return {label: round(len(train) / (len(counts) * count), 6) for label, count in sorted(counts.items())}


def copies(rows: Sequence[Kept], train: Sequence[int], balance: str, seed: int) -> dict[int, int]:
    """Return how often each training row is written so that all labels have as many rows.

    `undersample`: as many as the rarest label, `oversample`: as many as the most frequent one, rows repeated in turn.
    """
    members: dict[str, list[int]] = {}
    for index in train:
        members.setdefault(rows[index].labels[0], []).append(index)
    wanted = (min if balance == "undersample" else max)(map(len, members.values()))
    found = dict.fromkeys(train, 0)
    for inside in members.values():
        inside.sort(key=lambda index: (place(f"{rows[index].place}\0{rows[index].prompt}", seed), index))
        for number in range(wanted):
            found[inside[number % len(inside)]] += 1
    return found
