"""Which side a document goes to: train, validation or test.

The side is a hash of the document's cluster of near-duplicates, so that no two texts that are alike stand on two sides,
and a document stays on its side when others come or go. Shares are therefore met on average, not to the document.
"""

from __future__ import annotations

from hashlib import blake2b

SIDES = ("train", "validation", "test")


def side(cluster: str, *, validation: float, test: float, seed: int) -> str:
    """Return the side of a cluster, named by something that does not change."""
    digest = blake2b(f"{seed}\0{cluster}".encode("utf-8", "replace"), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    if place < validation:
        return "validation"
    return "test" if place < validation + test else "train"
