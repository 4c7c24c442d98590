"""How much of each source goes into a mixture, and which of its documents. Arithmetic and hashes; no text is held.

Shares come from weights, or from sizes by temperature sampling, p_i ~ n_i^(1/T) (T = 1: in proportion; mT5, Xue et al.
2021, https://arxiv.org/abs/2010.11934, and XLM-R write the exponent as alpha = 1/T); a source with a share of its own,
replayed general text say, has it whatever the others weigh. A source may be read more than once: up to four times
repeated tokens are worth nearly as much as new ones, and less and less from there (Muennighoff et al. 2023, "Scaling
Data-Constrained Language Models", https://arxiv.org/abs/2305.16264).

Documents are chosen by their hash: the part of a source that is wanted is every document up to a hash, found from
counts by hash in one pass over 14 bytes a document. With strata each of them gives the same part of itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import RecipeError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEASURED = [("key", "<u8"), ("units", "<u4"), ("stratum", "<u2")]
WORTH_REPEATING = 4.0  # epochs
MOST_STRATA = 1000
BUCKETS = 4096


@dataclass(frozen=True)
class Source:
    """A source of the mixture: its size in units (tokens or words) and what the recipe says of it."""

    name: str
    size: int
    weight: float | None = None
    share: float | None = None
    max_epochs: float = WORTH_REPEATING


def shares(sources: Sequence[Source], temperature: float) -> list[float]:
    """Return each source's share of the mixture; they add up to 1."""
    fixed = sum(source.share or 0.0 for source in sources)
    raw = [_raw(source, temperature) for source in sources]
    whole = sum(raw)
    return [
        source.share if source.share is not None else (1 - fixed) * one / whole if whole else 0.0
        for source, one in zip(sources, raw, strict=True)
    ]


def _raw(source: Source, temperature: float) -> float:
    if source.share is not None:
        return 0.0
    if source.weight is not None:
        return source.weight
    # A large T would overflow nothing: sizes are at least 1, exponents at most 1/T.
    return float(source.size) ** (1 / temperature) if source.size else 0.0


def budgets(sources: Sequence[Source], wanted: Sequence[float], total: int | None) -> list[int]:
    """Return how many units of each source are asked for; without a total, as many as need no repetition.

    Raises:
        RecipeError: sources that are too small for that, each with what to write.
    """
    if total is None:
        total = int(min(source.size / share for source, share in zip(sources, wanted, strict=True) if share > 0))
    asked = [round(total * share) for share in wanted]
    most = min(
        source.max_epochs * source.size / share for source, share in zip(sources, wanted, strict=True) if share > 0
    )
    wrong = [
        _too_small(source, share, units, total, int(most))
        for source, share, units in zip(sources, wanted, asked, strict=True)
        if units > source.max_epochs * source.size
    ]
    if wrong:
        raise RecipeError(wrong)
    return asked


def _too_small(source: Source, share: float, units: int, total: int, most: int) -> UserError:
    given = (
        f"it has {source.size:,}, and max_epochs {source.max_epochs:g} allows {source.max_epochs * source.size:,.0f}"
    )
    what = f"{units:,} asked for ({share:.4g} of {total:,}), but {given}"
    needed = f"max_epochs: {-(-units // source.size)}, " if source.size else ""
    return UserError(f"input {source.name}", what, f"write {needed}a smaller weight, or a total of at most {most:,}")


def key_of(*parts: object) -> int:
    """Return 64 bits that depend on nothing but the parts."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Run:
    """A file of MEASURED records of one source; `strata` are its strata's numbers among those of the whole source."""

    path: Path
    strata: Sequence[int]


def limits(runs: Sequence[Run], wanted: Sequence[float]) -> list[int]:
    """Return for each stratum the hash up to which its documents come nearest to the units wanted; -1: none of them.

    Memory: the counts, and the records of one bucket of hashes.
    """
    import numpy as np

    strata = range(len(wanted))
    counts = np.zeros((len(wanted), BUCKETS), dtype=np.int64)
    for stratum, measured in _chunks(runs):
        np.add.at(counts, (stratum, _bucket(measured["key"])), measured["units"].astype(np.int64))
    sums = counts.cumsum(axis=1)
    bucket = np.array([int(np.searchsorted(sums[one], wanted[one], side="left")) for one in strata], dtype=np.int64)
    before = [int(sums[one, bucket[one] - 1]) if bucket[one] else 0 for one in strata]
    inside: list[list[NDArray[np.void]]] = [[] for _ in strata]
    for stratum, measured in _chunks(runs):
        near = _bucket(measured["key"]) == bucket[stratum]
        for one in np.unique(stratum[near]):
            inside[one].append(measured[near & (stratum == one)])
    return [_limit(inside[one], before[one], wanted[one], int(bucket[one])) for one in strata]


def _limit(inside: list[Any], before: int, wanted: float, bucket: int) -> int:
    """Return the last hash of the prefix, within one bucket, whose sum with what is before comes nearest."""
    import numpy as np

    if wanted <= 0:
        return -1
    start = (bucket << 52) - 1  # the last hash of the bucket before
    if not inside:
        return start
    records = np.concatenate(inside)
    records = records[np.argsort(records["key"], kind="stable")]
    sums = before + np.concatenate(([0], np.cumsum(records["units"].astype(np.int64))))
    nearest = int(np.abs(sums - wanted).argmin())
    return int(records["key"][nearest - 1]) if nearest else start


def _bucket(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    import numpy as np

    return (keys >> np.uint64(52)).astype(np.int64)


def _chunks(runs: Sequence[Run], rows: int = 2_000_000) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
    """Yield the strata and the records of all runs, some at a time."""
    import numpy as np

    from data_prep.engine.sorted_runs import open_run

    for run in runs:
        measured, strata = open_run(run.path), np.array(run.strata, dtype=np.int64)
        for start in range(0, len(measured), rows):
            chunk = np.array(measured[start : start + rows])
            yield strata[chunk["stratum"]], chunk
