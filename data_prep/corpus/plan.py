"""Which files, and parts of big ones, make up which shard; the same for any number of workers.

A shard holds files of one input, in order, up to `shard_bytes` together. A file above that is divided where its format
allows (JSON lines, Parquet); where it does not, it is a shard of its own, and is still read row by row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.engine.phases import replacing
from recipes.hashing import text_hash

if TYPE_CHECKING:
    from data_prep.inputs import Input
    from data_prep.readers import Unit

UNITS = 2_000  # in a shard: many small files are many tasks too


@dataclass(frozen=True)
class Shard:
    """A part of one input: `units` lists its files in `file`, one JSON object a line."""

    number: int
    input: int
    file: str
    first: int
    count: int
    size: int

    @property
    def name(self) -> str:
        """Return the beginning of this shard's files."""
        return f"{self.number:05d}"


def make(inputs: list[Input], folder: Path, shard_bytes: int) -> list[Shard]:
    """Return the shards of all inputs; their files are listed in `folder`."""
    from data_prep.inputs import units_of

    shards: list[Shard] = []
    for number, item in enumerate(inputs):
        listing = folder / f"units-{number:03d}.jsonl"
        with replacing(listing) as stream:
            for group in _grouped(units_of(item, shard_bytes), shard_bytes):
                first = shards[-1].first + shards[-1].count if shards and shards[-1].input == number else 0
                size = sum(unit.size for unit in group)
                shards.append(Shard(len(shards), number, str(listing), first, len(group), size))
                stream.writelines(_line(unit) for unit in group)
    return shards


def _grouped(units: Iterator[Unit], shard_bytes: int) -> Iterator[list[Unit]]:
    group: list[Unit] = []
    size = 0
    for unit in units:
        if group and (size + unit.size > shard_bytes or len(group) >= UNITS):
            yield group
            group, size = [], 0
        group.append(unit)
        size += unit.size
    if group:
        yield group


def layout(shards: list[Shard]) -> str:
    """Return a hash of which shard holds what."""
    digests = {shard.file: text_hash(Path(shard.file).read_text(encoding="utf-8")) for shard in shards}
    return text_hash(json.dumps([[asdict(shard) for shard in shards], digests], sort_keys=True))


def units_in(shard: Shard) -> Iterator[Unit]:
    """Yield the files of a shard."""
    from data_prep.readers import Unit

    with open(shard.file, "rb") as stream:
        for number, line in enumerate(stream):
            if number >= shard.first + shard.count:
                return
            if number >= shard.first:
                row: dict[str, Any] = json.loads(line)
                yield Unit(**{**row, "part": tuple(row["part"])})


def _line(unit: Unit) -> bytes:
    # File names need not be UTF-8: escaped, half surrogates survive.
    return json.dumps(asdict(unit)).encode("ascii") + b"\n"
