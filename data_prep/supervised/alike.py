"""Near-duplicates among rows of supervised data, and which rows must stand on one side of a split.

Texts are compared by the Jaccard index of their sets of word 3-shingles (`data_prep.dedup`; documents are compared by
5-shingles, but a prompt of ten words has too few of those). A row is dropped when its prompt and each of its answers
are like those of a kept row, and its labels are the same: one prompt with two different answers is no duplicate. Rows
of fewer than `SHORTEST` words are only dropped when they are equal: "2 + 2" and "2 * 2" have the same words.

Rows with prompts that are alike stand on one side, and so do rows of one group. Sentences that a share of all prompts
has in common ("Classify the following sentence.") are left out of the comparison: else every prompt of a template would
be like every other.

Memory: all prompts and answers, and about 8 bytes a word of them for shingles. Meant for up to a million rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from data_prep import dedup, shingles
from data_prep.supervised.kept import Kept

SHORTEST = 8  # words of a row
TEMPLATE_SHARE, TEMPLATE_ROWS = 0.02, 20
COMPARED = 50  # kept rows of one cluster that a row is compared with
_SENTENCE = re.compile(r"(?<=[.?!:])\s+|\n+")


@dataclass
class Found:
    """What is alike: rows to drop with the kept row and how alike they are, and the group of each row."""

    dropped: dict[int, tuple[int, float]] = field(default_factory=dict)
    groups: list[int] = field(default_factory=list)
    other_labels: list[tuple[int, int]] = field(default_factory=list)


def find(rows: Sequence[Kept], threshold: float, shingle: int) -> Found:
    """Return near-duplicates and groups; at a threshold of 1 only equal groups and prompts go together."""
    found = Found()
    prompts = list(range(len(rows)))
    if threshold < 1:
        bare = without_templates([row.prompt for row in rows])
        prompts = dedup.find(bare, threshold, shingle=shingle).cluster
        found.dropped, found.other_labels = _dropped(rows, bare, prompts, threshold, shingle)
    found.groups = _groups(rows, prompts)
    return found


def without_templates(prompts: Sequence[str]) -> list[str]:
    """Return the prompts without the sentences that many of them have in common; one that is nothing else stays."""
    counts: Counter[bytes] = Counter()
    for prompt in prompts:
        counts.update({_hash(sentence) for sentence in _SENTENCE.split(prompt) if sentence})
    often = max(TEMPLATE_ROWS, TEMPLATE_SHARE * len(prompts))
    templates = {digest for digest, count in counts.items() if count > often}
    if not templates:
        return list(prompts)
    return [_without(prompt, templates) for prompt in prompts]


def _without(prompt: str, templates: set[bytes]) -> str:
    left = [sentence for sentence in _SENTENCE.split(prompt) if sentence and _hash(sentence) not in templates]
    return "\n".join(left) or prompt


def _hash(sentence: str) -> bytes:
    return blake2b(" ".join(sentence.casefold().split()).encode("utf-8", "replace"), digest_size=8).digest()


def _dropped(
    rows: Sequence[Kept], prompts: Sequence[str], clusters: Sequence[int], threshold: float, shingle: int
) -> tuple[dict[int, tuple[int, float]], list[tuple[int, int]]]:
    """Return the rows to drop, and pairs of rows that are alike but for their labels."""
    answer_clusters = _answer_clusters(rows, clusters, threshold, shingle)
    members: dict[tuple[int, ...], list[int]] = {}
    for index, cluster in enumerate(clusters):
        members.setdefault((cluster, *answer_clusters.get(index, ())), []).append(index)
    dropped: dict[int, tuple[int, float]] = {}
    contrary: list[tuple[int, int]] = []
    for alike in members.values():
        kept: list[int] = []
        for index in alike if len(alike) > 1 else ():
            twin = _twin(rows, prompts, index, kept[-COMPARED:], threshold, shingle)
            if twin and rows[twin[0]].labels == rows[index].labels:
                dropped[index] = twin
                continue
            if twin:
                contrary.append((index, twin[0]))
            kept.append(index)
    return dropped, contrary


def _answer_clusters(
    rows: Sequence[Kept], clusters: Sequence[int], threshold: float, shingle: int
) -> dict[int, tuple[int, ...]]:
    """Return the clusters of the answers of each row whose prompt is like another's."""
    sizes = Counter(clusters)
    asked = [index for index, cluster in enumerate(clusters) if sizes[cluster] > 1 and rows[index].answers]
    texts = [answer for index in asked for answer in rows[index].answers]
    found = iter(dedup.find(texts, threshold, shingle=shingle).cluster if texts else ())
    return {index: tuple(next(found) for _ in rows[index].answers) for index in asked}


def _twin(
    rows: Sequence[Kept], prompts: Sequence[str], index: int, kept: Sequence[int], threshold: float, shingle: int
) -> tuple[int, float] | None:
    """Return a kept row all of whose texts are like this row's, and how alike the least alike of them are."""
    mine = (prompts[index], *rows[index].answers)
    long = sum(len(shingles.words(text)) for text in mine) >= SHORTEST
    for other in kept:
        theirs = (prompts[other], *rows[other].answers)
        likeness = min(_likeness(a, b, shingle) for a, b in zip(mine, theirs, strict=True))
        if likeness >= threshold and (long or all(map(_equal, mine, theirs))):
            return other, likeness
    return None


def _likeness(one: str, other: str, length: int) -> float:
    """Return the Jaccard index of two texts' shingles; texts without a word are alike when they are equal."""
    import numpy as np

    a, b = shingles.shingles(one, length), shingles.shingles(other, length)
    if not len(a) or not len(b):
        return float(_equal(one, other))
    shared = len(np.intersect1d(a, b, assume_unique=True))
    return shared / (len(a) + len(b) - shared)


def _equal(one: str, other: str) -> bool:
    return one.casefold().split() == other.casefold().split()


def _groups(rows: Sequence[Kept], clusters: Sequence[int]) -> list[int]:
    """Return for each row the first row of its group: rows of one group value or of prompts that are alike."""
    parent = list(range(len(rows)))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    firsts: dict[str, int] = {}
    for index, row in enumerate(rows):
        for other in (clusters[index], firsts.setdefault(row.group, index)):
            a, b = root(index), root(other)
            parent[max(a, b)] = min(a, b)
    return [root(index) for index in range(len(rows))]


def largest(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first row and the size of each group, the largest first."""
    yield from Counter(groups).most_common()
