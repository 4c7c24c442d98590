"""The two passes of a mixture over its documents: how long each is, then which are written and where.

Both are tasks over pieces of files (row_ranges.py) with equal bytes from any number of workers. The second writes
runs: lines in the order of their shuffle hashes. `assemble` merges the runs, slice of hashes by slice of hashes, into
one file: an external shuffle that holds `SLICE_BYTES` of text at a time.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.tokens import mixing, row_ranges

if TYPE_CHECKING:
    from data_prep.tokens.tokenization import Encoder

Columns = tuple[str, str, str | None]  # of the text, of the id, and what to stratify by
RUN_BYTES = 32 * 2**20
SLICE_BYTES = 32 * 2**20


def content(row: dict[str, Any], text_column: str) -> str | None:
    """Return what a row says: its text, or what is said in its conversation."""
    text = row.get(text_column)
    if isinstance(text, str):
        return text
    messages = row.get("messages")
    if not isinstance(messages, list):
        messages = [row.get("prompt"), row.get("completion")]
    said = [turn.get("content") if isinstance(turn, dict) else turn for turn in messages]
    texts = [one for one in said if isinstance(one, str)]
    return "\n".join(texts) if texts and len(texts) == len(said) else None


def usable(piece: row_ranges.Range, text_column: str, reasons: Counter[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the rows that say something, with what they say; count in `reasons` the others."""
    for _, row, wrong in row_ranges.rows(piece):
        text = content(row, text_column) if row is not None else None
        if row is None or text is None:
            reasons[wrong or f"no text in column {text_column}, and no conversation"] += 1
        elif not text:
            reasons["empty text"] += 1
        elif len(text) > row_ranges.LONGEST_TEXT:
            reasons[f"longer than {row_ranges.LONGEST_TEXT} characters"] += 1
        else:
            yield row, text


def measure(
    piece: row_ranges.Range,
    target: str,
    name: str,
    seed: int,
    columns: Columns,
    tokenizer: str | None,
) -> dict[str, Any]:
    """Write key, units and stratum of each document of a piece; return counts and the names of the strata."""
    import numpy as np

    from data_prep.engine.phases import replacing
    from data_prep.tokens.token_shards import batches

    text_column, id_column, stratum_column = columns
    encoder = _encoder(tokenizer) if tokenizer else None
    reasons: Counter[str] = Counter()
    strata: dict[str, int] = {}
    found: list[tuple[int, int, int]] = []
    for batch in batches(usable(piece, text_column, reasons)):
        units = _units([text for _, text in batch], encoder)
        for (row, text), size in zip(batch, units, strict=True):
            stratum = str(row.get(stratum_column)) if stratum_column else ""
            place = strata.setdefault(stratum, len(strata))
            found.append((mixing.key_of(seed, name, row.get(id_column) or text), size, min(place, 2**16 - 1)))
    records = np.array(found, dtype=mixing.MEASURED)
    with replacing(Path(target)) as stream:
        np.save(stream, records)
    sizes = np.bincount(records["stratum"], weights=records["units"], minlength=len(strata))
    # In the order of their numbers in the records.
    listed = [[stratum, int(sizes[place])] for stratum, place in strata.items() if place < 2**16]
    return {"documents": len(found), "strata": listed, "left_out": dict(sorted(reasons.items()))}


def _encoder(tokenizer: str) -> Encoder:
    from data_prep.tokens import token_shards

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return token_shards.shared_encoder(tokenizer)


def _units(texts: list[str], encoder: Encoder | None) -> list[int]:
    if encoder is None:
        return [len(text.split()) for text in texts]
    return [len(ids) for ids in encoder.ids(texts)]


def select(
    piece: row_ranges.Range,
    measured: str,
    target: str,
    name: str,
    seed: int,
    columns: Columns,
    full: int,
    limits: dict[str, int],
) -> dict[str, Any]:
    """Write the documents of a piece that are chosen, `full` times and once more up to their stratum's limit.

    Lines go to runs `target`-N.jsonl with their hashes and ends in `target`-N.npy, sorted by the hash of the shuffle.
    """
    import numpy as np

    from data_prep.records import to_line

    text_column, id_column, stratum_column = columns
    records = np.load(measured, mmap_mode="r") if Path(measured).stat().st_size > 512 else np.load(measured)
    counts: Counter[str] = Counter()
    lines: list[tuple[int, bytes]] = []
    size = runs = 0
    for place, (row, text) in enumerate(usable(piece, text_column, Counter())):
        key, units, _ = records[place].tolist()
        stratum = str(row.get(stratum_column)) if stratum_column else ""
        times = full + (key <= limits[stratum])
        counts.update(documents=times, units=units * times, left_out=times == 0, repeated=max(0, times - 1))
        for repetition in range(times):
            line = to_line({**row, "input": name, "repetition": repetition}).encode("utf-8", "replace") + b"\n"
            lines.append((mixing.key_of(seed, "order", name, row.get(id_column) or text, repetition), line))
            size += len(line)
        if size > RUN_BYTES:
            _write_run(f"{target}-{runs}", lines)
            lines, size, runs = [], 0, runs + 1
    if lines:
        _write_run(f"{target}-{runs}", lines)
        runs += 1
    return {**counts, "runs": runs}


def _write_run(target: str, lines: list[tuple[int, bytes]]) -> None:
    import numpy as np

    from data_prep.engine.phases import replacing

    lines.sort()
    with replacing(Path(f"{target}.jsonl")) as stream:
        stream.writelines(line for _, line in lines)
    index = np.empty(len(lines), dtype=[("key", "<u8"), ("end", "<u8")])
    index["key"] = [key for key, _ in lines]
    index["end"] = np.cumsum([len(line) for _, line in lines], dtype=np.uint64)
    with replacing(Path(f"{target}.npy")) as stream:
        np.save(stream, index)


def assemble(runs: Sequence[str], output: Path) -> None:
    """Merge runs into one file, in the order of their hashes."""
    from data_prep.engine.phases import replacing

    size = sum(Path(f"{run}.jsonl").stat().st_size for run in runs)
    count = max(1, -(-size // SLICE_BYTES))
    edges = [(2**64 * index) // count for index in range(count + 1)]
    with replacing(output) as stream:
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            lines = [entry for run in runs for entry in _slice(run, low, high - 1)]
            lines.sort()
            stream.writelines(line for _, line in lines)


def _slice(run: str, low: int, high: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a run whose hashes lie between two, both included."""
    import numpy as np

    index = np.load(f"{run}.npy", mmap_mode="r")
    first = int(np.searchsorted(index["key"], np.uint64(low), side="left"))
    last = int(np.searchsorted(index["key"], np.uint64(high), side="right"))
    if first == last:
        return
    place = int(index["end"][first - 1]) if first else 0
    with open(f"{run}.jsonl", "rb") as stream:
        stream.seek(place)
        for key, end in index[first:last].tolist():
            yield key, stream.read(end - place)
            place = end
