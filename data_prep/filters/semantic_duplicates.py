"""Drop documents that say the same as an earlier one in other words, by the cosine of their embeddings.

Abbas et al. 2023, "SemDeDup: Data-efficient learning at web-scale through semantic deduplication": embeddings are put
into k-means clusters, and inside a cluster a document goes when its cosine with one that stays is above the threshold.
The paper keeps the one farthest from the centre; here the first stays, as for paragraphs.

`encoder: module:function` gets a list of texts and `model` and returns one vector a text; the default,
`finetune.text_encoder:encode`, is a transformers encoder (mean of the last layer, Reimers and Gurevych 2019). The right
threshold depends on the encoder: look at what goes (`dropped.jsonl` names both) before trusting one.

Vectors are kept as 16-bit floats on disk, 768 bytes a document at 384 dimensions; memory holds a sample for k-means and
one cluster at a time. Off unless asked for: an embedding costs a hundred times what all other steps cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from data_prep import hooks
from data_prep.engine.phases import replacing
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.errors import UserError
from recipes.sections import ModelRef, Section

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

ORDER = 78
KEY = "filters.semantic_duplicates.encoder"
SAMPLE = 20_000  # vectors that the clusters' centres are found on
ROUNDS_OF_KMEANS = 10
BLOCK = 512  # documents compared at once with those that stay
_IDS = ".ids"


class Settings(Section):
    """The encoder, and how alike is too alike."""

    model: ModelRef = Field(description="What the encoder needs: a model's folder or Hugging Face id.")
    encoder: hooks.Function = Field(
        default="finetune.text_encoder:encode", description="module:function of texts and model; returns vectors."
    )
    threshold: float = Field(default=0.95, gt=0, le=1, description="Cosine of two embeddings.")
    cluster_size: int = Field(default=1_000, ge=10, description="Documents in a cluster, about.")
    batch_size: int = Field(default=32, ge=1)


class _Embeddings:
    """The embeddings of a shard's documents, in their order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._encode = hooks.load(settings.encoder, KEY)
        self._texts: list[str] = []
        self._vectors: list[Any] = []
        self._ids: list[str] = []

    def see(self, document: Document) -> None:
        self._texts.append(document.text)
        self._ids.append(document.id)
        if len(self._texts) >= self._settings.batch_size:
            self._flush()

    def _flush(self) -> None:
        import numpy as np

        if not self._texts:
            return
        found = np.asarray(self._encode(self._texts, str(self._settings.model)), dtype=np.float32)
        if found.ndim != 2 or len(found) != len(self._texts) or not np.isfinite(found).all():
            what = f"{self._settings.encoder} gave {found.shape} for {len(self._texts)} texts, or no numbers"
            raise UserError(KEY, what, "make it return one vector of finite numbers for each text")
        lengths = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        self._vectors.append((found / lengths).astype(np.float16))
        self._texts = []

    def save(self, path: Path) -> None:
        import numpy as np

        self._flush()
        with replacing(path.with_name(path.name + _IDS)) as stream:
            stream.writelines(one.encode("utf-8", "replace").replace(b"\n", b" ") + b"\n" for one in self._ids)
        with replacing(path) as stream:
            np.save(stream, np.concatenate(self._vectors) if self._vectors else np.zeros((0, 1), np.float16))


def survey(settings: Settings) -> _Embeddings:
    """Return what embeds the documents of a shard."""
    return _Embeddings(settings)


def reduce(settings: Settings, parts: Sequence[Path], target: Path) -> None:
    """Write which documents (hashes of their ids, sorted) go because of which, and how alike they are."""
    import numpy as np

    vectors = [np.load(part, mmap_mode="r") if part.stat().st_size > 512 else np.load(part) for part in parts]
    filled = [(part, one) for part, one in zip(parts, vectors, strict=True) if len(one)]
    ids = [line for part, _ in filled for line in part.with_name(part.name + _IDS).read_bytes().splitlines()]
    rows: list[tuple[int, bytes, float]] = []
    if filled:
        matrices = [one for _, one in filled]
        for members in _clusters(matrices, settings.cluster_size):
            rows += [(_key(ids[item]), ids[kept], likeness)
                     for item, kept, likeness in _alike(matrices, members, settings.threshold)]  # fmt: skip
    width = max((len(kept) for _, kept, _ in rows), default=1)
    found = np.array(sorted(rows), dtype=[("key", "<u8"), ("kept", f"S{width}"), ("likeness", "<f4")])
    with replacing(target) as stream:
        np.save(stream, found)


def _clusters(matrices: Sequence[Any], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the numbers of the documents of each cluster, in order (k-means; Lloyd 1982)."""
    import numpy as np

    count = sum(map(len, matrices))
    centres = _centres(matrices, count, max(1, count // size))
    labels = np.concatenate([_nearest(part, centres) for part in matrices])
    order = np.argsort(labels, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _centres(matrices: Sequence[Any], count: int, clusters: int) -> Vectors:
    """Return the centres found on an even sample, started from an even sample of that: no chance, no seed."""
    import numpy as np

    sample = _rows(matrices, np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)))
    centres = sample[np.linspace(0, len(sample) - 1, min(clusters, len(sample))).astype(np.int64)]
    for _ in range(ROUNDS_OF_KMEANS):
        labels = _nearest(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, labels, sample)
        filled = np.bincount(labels, minlength=len(centres)) > 0
        centres[filled] = sums[filled] / np.maximum(np.linalg.norm(sums[filled], axis=1, keepdims=True), 1e-12)
    return centres


def _nearest(part: Any, centres: Vectors) -> NDArray[np.int64]:
    import numpy as np

    found = np.zeros(len(part), dtype=np.int64)
    for start in range(0, len(part), BLOCK):
        found[start : start + BLOCK] = (part[start : start + BLOCK].astype(np.float32) @ centres.T).argmax(axis=1)
    return found


def _rows(matrices: Sequence[Any], numbers: NDArray[np.int64]) -> Vectors:
    """Return the vectors with these numbers, which are sorted."""
    import numpy as np

    starts = np.cumsum([0, *map(len, matrices)])
    edges = np.searchsorted(numbers, starts)
    picked = [part[numbers[edges[at] : edges[at + 1]] - starts[at]] for at, part in enumerate(matrices)]
    joined: Vectors = np.concatenate(picked).astype(np.float32)
    return joined


def _alike(matrices: Sequence[Any], members: NDArray[np.int64], threshold: float) -> Iterator[tuple[int, int, float]]:
    """Yield the members that go, each with the earlier one that stays and their cosine."""
    import numpy as np

    vectors = _rows(matrices, members)
    kept: list[int] = []
    for start in range(0, len(members), BLOCK):
        block = vectors[start : start + BLOCK]
        earlier = block @ vectors[kept].T if kept else np.zeros((len(block), 0), np.float32)
        inside = block @ block.T
        before = len(kept)
        stays: list[int] = []
        for row in range(len(block)):
            scores = np.concatenate((earlier[row], inside[row][stays]))
            best = int(scores.argmax()) if len(scores) else -1
            if best >= 0 and scores[best] >= threshold:
                other = kept[best] if best < before else start + stays[best - before]
                yield int(members[start + row]), int(members[other]), float(scores[best])
            else:
                stays.append(row)
        kept += [start + row for row in stays]


def build(settings: Settings, model: Path) -> Check:
    """Return a check that drops what the reduction has named."""
    import numpy as np

    known = {key: (kept, likeness) for key, kept, likeness in np.load(model).tolist()}

    def check(document: Document) -> Drop | None:
        found = known.get(_key(document.id.encode("utf-8", "replace").replace(b"\n", b" ")))
        if found is None:
            return None
        return Drop("semantic_duplicate", f"{found[0].decode()} has a cosine of {found[1]:.3f}")

    return check


def _key(document: bytes) -> int:
    return int.from_bytes(blake2b(document, digest_size=8).digest(), "little")
