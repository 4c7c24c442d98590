"""Entities in tagged words, and F1 over whole ones, as the CoNLL-2000 evaluation script counts them.

A tag is O, or a prefix and a type: `B-PER` begins an entity, `I-PER` goes on, and `E-`/`L-` end, `S-`/`U-` are one of
a single word (IOB1, IOB2, IOBES, BILOU). An entity is right where its type and both its ends are. An I- that follows
nothing of its type begins an entity, as in that script and in seqeval's default mode.
Paper: Tjong Kim Sang and Buchholz 2000, https://aclanthology.org/W00-0726.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

PREFIXES = frozenset("BIELSU")
Entity = tuple[str, int, int]


def is_scheme(labels: Sequence[str]) -> bool:
    """Return whether labels mark entities: O, and others that all have a prefix."""
    marked = [label for label in labels if label != "O"]
    return bool(marked) and all(label[:1] in PREFIXES and label[1:2] == "-" and label[2:] for label in marked)


def entities(tags: Sequence[str]) -> set[Entity]:
    """Return type, first word, and the word behind the last of each entity."""
    found, begin = set(), 0
    before, kind_before = "O", ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, kind = tag.partition("-")
        if kind_before and _ends(before, prefix, kind_before, kind):
            found.add((kind_before, begin, place))
        if kind and _begins(before, prefix, kind_before, kind):
            begin = place
        before, kind_before = prefix, kind
    return found


def _ends(before: str, prefix: str, kind_before: str, kind: str) -> bool:
    """Return whether an entity ends before this tag."""
    return before in "ELSU" or prefix in ("B", "S", "U", "O") or kind != kind_before


def _begins(before: str, prefix: str, kind_before: str, kind: str) -> bool:
    """Return whether an entity begins at this tag."""
    return prefix in "BSU" or before in ("E", "L", "S", "U", "O") or kind != kind_before


def counts(predicted: Sequence[Sequence[str]], real: Sequence[Sequence[str]]) -> dict[str, tuple[int, int, int]]:
    """Return (right, predicted, real) entities of each type, over all sentences."""
    right, said, there = Counter[str](), Counter[str](), Counter[str]()
    for one, other in zip(predicted, real, strict=True):
        found, wanted = entities(one), entities(other)
        right.update(kind for kind, _, _ in found & wanted)
        said.update(kind for kind, _, _ in found)
        there.update(kind for kind, _, _ in wanted)
    return {kind: (right[kind], said[kind], there[kind]) for kind in sorted(said.keys() | there.keys())}


def scores(right: int, said: int, there: int) -> tuple[float, float, float]:
    """Return precision, recall and F1; 0 where nothing could be divided."""
    precision = right / said if said else 0.0
    recall = right / there if there else 0.0
    return precision, recall, 2 * right / (said + there) if said + there else 0.0
