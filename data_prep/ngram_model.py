"""A language model of bytes without torch: how surprising is a text, given a reference text?

Interpolated Witten-Bell smoothing (Witten and Bell 1991; Chen and Goodman 1998, section 2.6) of byte n-grams:

    p(b | c) = (count(cb) + types(c) * p(b | c')) / (count(c) + types(c))

where c' is the context c without its first byte and types(c) is how many different bytes follow c. An n-gram counts
once for each different byte before it (Kneser and Ney 1995), so that what the reference text says over and over does
not count for more. Bytes need no vocabulary, and every language and every kind of damage has a probability; the model
is mixed with the uniform one (2 %), so that a few bytes that the reference text never had do not outweigh a whole text.
`perplexity` is exp of the mean of -ln p over the bytes of a text. Under a model of 5 MB of medical pages: 3.3 to 7 for
other medical pages, 6 to 14 for speeches and stories, 40 for German, 100 and more for tables of figures and random
letters.

n-grams are kept in one table an order, found by a hash, so that a text is scored in a few NumPy operations for each
order. A table has at least four places for each n-gram, and an n-gram may stand in one of four; of the rarest about one
in 500 finds none and counts as not seen.

A model is saved as one .npz file. Left out: words as units, and reference texts beyond `LIMIT` bytes (the rest is not
read).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]

ORDER = 6  # at most 7: an n-gram with the byte before it is held in 64 bits
LIMIT = 20_000_000
UNIFORM = 0.02
CHUNK = 1 << 17  # bytes scored at once
PROBES = 4  # places in a table that an n-gram may have
SCALE = 2047.0  # steps to a nat: log-probabilities from 0 to -32 in 16 bits
MODEL = ".npz"
_FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9


@dataclass(frozen=True)
class Model:
    """Log-probability of each byte, log of its weight as a context, and the tables of orders 2 and up.

    A table's entry: 32 bits that tell n-grams in one place apart, 16 bits of log-probability, 16 bits of the log of the
    weight that the n-gram, as a context, leaves to shorter contexts; both negated and in steps of 1 / SCALE.
    """

    single: NDArray[np.float32]
    single_weight: NDArray[np.float32]
    tables: tuple[Keys, ...]

    def log_probabilities(self, data: bytes) -> NDArray[np.float32]:
        """Return ln p of each byte, given those before it, (bytes,)."""
        import numpy as np

        codes = np.frombuffer(data, dtype=np.uint8)
        found = self.single[codes]
        weight = self.single_weight[codes]
        wide = keys = codes.astype(np.uint64)
        for order, table in enumerate(self.tables, 2):
            if len(codes) < order:
                break
            keys = (wide[: len(codes) - order + 1] << np.uint64(8 * (order - 1))) | keys[1:]
            entries, seen = _looked_up(keys, table)
            known = ((entries >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.float32) / -SCALE
            found[order - 1 :] = np.where(seen, known, found[order - 1 :] + weight[:-1])
            if order <= len(self.tables):
                weight = np.where(seen, (entries & np.uint64(0xFFFF)).astype(np.float32) / -SCALE, np.float32(0))
        # No byte costs more than ln(256 / UNIFORM).
        mixed: NDArray[np.float32] = np.log(np.exp(found) * np.float32(1 - UNIFORM) + np.float32(UNIFORM / 256))
        return mixed

    def perplexity(self, text: str) -> float:
        """Return the perplexity of a text per byte; infinity for an empty one."""
        import numpy as np

        data, total = text.encode("utf-8", "replace"), 0.0
        for start in range(0, len(data), CHUNK):
            context = min(start, len(self.tables))  # bytes before the chunk that its first byte depends on
            found = self.log_probabilities(data[start - context : start + CHUNK])
            total += float(found[context:].sum(dtype=np.float64))
        return math.exp(-total / len(data)) if data else math.inf

    def save(self, path: Path) -> None:
        """Write the model to a file."""
        import numpy as np

        tables: dict[str, Any] = {f"order_{order}": table for order, table in enumerate(self.tables, 2)}
        with path.open("wb") as file:
            np.savez_compressed(file, single=self.single, single_weight=self.single_weight, **tables)


def score(text: str, model: str) -> float:
    """Return the perplexity of a text under a saved model, or under one trained here from a reference text."""
    return loaded(model).perplexity(text)


@cache
def loaded(path: str) -> Model:
    """Return the model in a .npz file, or one trained from text: a .txt or .jsonl file, plain or gzip.

    Raises:
        UserError: the file is no model, or has no text in it.
    """
    return read(Path(path)) if path.endswith(MODEL) else train(texts(Path(path)), path)


def read(path: Path) -> Model:
    """Return a saved model.

    Raises:
        UserError: it is none.
    """
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as saved:
            orders = sorted(name for name in saved.files if name.startswith("order_"))
            return Model(saved["single"], saved["single_weight"], tuple(saved[name] for name in orders))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(str(path), f"no n-gram model ({error})", "a file that data_prep.ngram_model wrote") from error


def texts(path: Path) -> Iterator[str]:
    """Yield the texts of a reference file: the `text` of JSON lines, or the lines of any other file."""
    from data_prep import records

    if path.name.removesuffix(".gz").endswith(".jsonl"):
        for row in records.read_rows(path):
            if isinstance(row.get("text"), str):
                yield row["text"]
    else:
        for _, line in records.lines(path):
            yield line.decode("utf-8", "replace").rstrip("\n")


def train(reference: Iterable[str], name: str = "reference", order: int = ORDER) -> Model:
    """Return the model of a reference text.

    Raises:
        UserError: there is no text.
    """
    import numpy as np

    codes = np.frombuffer(_joined(reference), dtype=np.uint8)
    if len(codes) < 3:
        raise UserError(name, "there is no text to learn from", "a text file, or JSON lines with `text`")
    counted = _counted(codes, min(order, len(codes) - 1))
    grams, counts = next(counted)
    single = np.zeros(256)
    single[grams.astype(np.int64)] = counts
    single = (single + len(grams) / 256) / (counts.sum() + len(grams))
    shorter, given = np.arange(256, dtype=np.uint64), single
    levels = []  # n-grams, their log-probability, their weight as a context (filled in by the next level), their counts
    weights = [np.zeros(256)]
    for size, (grams, counts) in enumerate(counted, 2):
        contexts, given, left = _smoothed(grams, counts, shorter, given, size)
        weights[-1][np.searchsorted(shorter, contexts)] = np.log(left)
        levels.append((grams, np.log(given), counts))
        weights.append(np.zeros(len(grams)))
        shorter = grams
    tables = [_table(*level, weight) for level, weight in zip(levels, weights[1:], strict=True)]
    return Model(np.log(single).astype(np.float32), weights[0].astype(np.float32), tuple(tables))


def _counted(codes: NDArray[np.uint8], order: int) -> Iterator[tuple[Keys, NDArray[np.int64]]]:
    """Yield, for 1, 2, ... bytes, the n-grams in order and before how many different bytes each was seen."""
    import numpy as np

    keys = codes.astype(np.uint64)
    for size in range(1, order + 1):
        keys = (codes[: len(codes) - size].astype(np.uint64) << np.uint64(8 * size)) | keys[1:]
        yield np.unique(np.unique(keys) & np.uint64((1 << (8 * size)) - 1), return_counts=True)


def _joined(reference: Iterable[str]) -> bytes:
    """Return the reference as bytes, a text a line, up to LIMIT."""
    parts, size = [], 0
    for text in reference:
        data = text.encode("utf-8", "replace") + b"\n"
        parts.append(data)
        size += len(data)
        if size >= LIMIT:
            break
    return b"".join(parts)[:LIMIT]


def _smoothed(
    grams: Keys, counts: NDArray[np.int64], shorter: Keys, given: NDArray[np.float64], size: int
) -> tuple[Keys, NDArray[np.float64], NDArray[np.float64]]:
    """Return the contexts of sorted n-grams, p of each n-gram's last byte, and what contexts leave to shorter ones.

    Every n-gram's suffix is among the `shorter` ones, as both were counted in the same text.
    """
    import numpy as np

    contexts, first, group, types = np.unique(
        grams >> np.uint64(8), return_index=True, return_inverse=True, return_counts=True
    )
    totals = np.add.reduceat(counts, first)
    suffix = given[np.searchsorted(shorter, grams & np.uint64((1 << (8 * (size - 1))) - 1))]
    probability = (counts + types[group] * suffix) / (totals + types)[group]
    return contexts, probability, types / (totals + types)


def _table(grams: Keys, logs: NDArray[np.float64], counts: NDArray[np.int64], weights: NDArray[np.float64]) -> Keys:
    """Return the table of n-grams; where two want one place, the more frequent gets it and the other its next one."""
    import numpy as np

    size = 1 << max(10, math.ceil(math.log2(4 * len(grams))))
    places, marks = _places(grams, size)
    entries = (marks << np.uint64(32)) | (_steps(logs) << np.uint64(16)) | _steps(weights)
    table = np.zeros(size, dtype=np.uint64)
    left = np.argsort(counts, kind="stable")
    for _ in range(PROBES):
        free = left[table[places[left]] == 0]
        table[places[free]] = entries[free]  # of values for one place NumPy keeps the last, the most frequent here
        left = left[table[places[left]] != entries[left]]
        places[left] = _next(places[left], marks[left], size)
    return table


def _looked_up(keys: Keys, table: Keys) -> tuple[Keys, NDArray[np.bool_]]:
    """Return the entry of each n-gram, and whether it is that n-gram's own."""
    import numpy as np

    places, marks = _places(keys, len(table))
    entries = table[places]
    seen = (entries >> np.uint64(32)) == marks
    left = np.flatnonzero(~seen & (entries != 0))  # another n-gram is there: look where this one would be then
    places, marks = places[left], marks[left]
    for _ in range(PROBES - 1):
        places = _next(places, marks, len(table))
        found = table[places]
        own = (found >> np.uint64(32)) == marks
        entries[left[own]] = found[own]
        seen[left[own]] = True
        other = ~own & (found != 0)
        left, places, marks = left[other], places[other], marks[other]
    return entries, seen


def _next(places: NDArray[np.int64], marks: Keys, size: int) -> NDArray[np.int64]:
    """Return where n-grams may stand whose place is taken; the odd stride leads through the whole table."""
    import numpy as np

    return (places + marks.astype(np.int64)) & (size - 1)


def _steps(logs: NDArray[np.float64]) -> Keys:
    import numpy as np

    return np.minimum(np.rint(-logs * SCALE), 0xFFFF).astype(np.uint64)


def _places(keys: Keys, size: int) -> tuple[NDArray[np.int64], Keys]:
    """Return each n-gram's place in a table of `size`, a power of two, and 32 more bits, an odd number."""
    import numpy as np

    mixed = (keys + np.uint64(1)) * np.uint64(_FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(_SECOND)
    places = (mixed >> np.uint64(64 - (size.bit_length() - 1))).astype(np.int64)
    marks = (mixed & np.uint64(0xFFFFFFFF)) | np.uint64(1)
    return places, marks


def main() -> None:
    """Train a model: python -m data_prep.ngram_model REFERENCE MODEL.npz."""
    parser = argparse.ArgumentParser(description="Train an n-gram model for filters.perplexity.")
    parser.add_argument("reference", help="a .txt or .jsonl file, plain or gzip")
    parser.add_argument("model", help="the .npz file to write")
    arguments = parser.parse_args()
    model = train(texts(Path(arguments.reference)), arguments.reference)
    model.save(Path(arguments.model))
    print(f"{arguments.model}: {sum(int((table > 0).sum()) for table in model.tables):,} n-grams")


if __name__ == "__main__":
    main()
