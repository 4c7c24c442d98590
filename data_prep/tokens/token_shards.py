"""Tokenised documents on disk, read through memory maps: what `stage: tokens` writes and training reads.

`shard-00000.bin` holds the ids of its documents one after the other, each ended by EOS, little-endian uint16 or
uint32; `shard-00000.ends.npy` where each document ends (uint64, in ids); `shard-00000.documents.jsonl` the id and
source of each. `tokens.json` has the shards in order, the counts, and the tokenizer's fingerprint. Rows of a training
length are not stored: they are cut from here when they are read (packed_rows.py), so one tokenising serves every
length.
"""

from __future__ import annotations

import itertools
import json
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.tokens import row_ranges, tokenization
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data_prep.tokens.tokenization import Encoder, Ids

INDEX = "tokens.json"
FORMAT = 1
SOURCES = 1_000  # of a shard whose tokens are counted by name
BATCH_BYTES = 2**19  # of text encoded at a time
BATCH_ROWS = 512


def is_tokens(path: str) -> bool:
    """Return whether a path is a folder of tokenised documents."""
    return (shipped(path) / INDEX).is_file()


def texts(
    piece: row_ranges.Range, text_column: str, id_column: str, longest: int, reasons: Counter[str]
) -> Iterator[tuple[dict[str, str], str]]:
    """Yield name (id, source) and text of each document of a piece; count in `reasons` the rows that have none."""
    for where, row, wrong in row_ranges.rows(piece):
        text = row.get(text_column) if row is not None else None
        if row is None or not isinstance(text, str):
            reasons[wrong or f"no text in column {text_column}"] += 1
        elif not text:
            reasons["empty text"] += 1
        elif len(text) > longest:
            reasons[f"longer than {longest} characters"] += 1
        else:
            yield {"id": str(row.get(id_column) or where), "source": str(row.get("source") or "")}, text


def batches(items: Iterable[tuple[Any, str]]) -> Iterator[list[tuple[Any, str]]]:
    """Yield items in batches of about as many letters as the tokenizer takes at a time."""
    batch: list[tuple[Any, str]] = []
    letters = 0
    for item in items:
        batch.append(item)
        letters += len(item[1])
        if letters >= BATCH_BYTES or len(batch) >= BATCH_ROWS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch


def encoded(
    documents: Iterable[tuple[Any, str]], encoder: Encoder, eos: int, reasons: Counter[str]
) -> Iterator[tuple[Any, str, Ids]]:
    """Yield name, text and ids (EOS at the end) of each document; count in `reasons` those that are left out."""
    import numpy as np

    end = np.array([eos], dtype=encoder.dtype)
    for batch in batches(documents):
        found = encoder.ids([text for _, text in batch])
        suspect = encoder.has_control(np.concatenate(found))
        for (name, text), ids in zip(batch, found, strict=True):
            if suspect and encoder.has_control(ids):
                reasons["the tokenizer makes a control token of its text"] += 1
            else:
                yield name, text, np.concatenate((ids, end))


def write_shard(
    piece: row_ranges.Range, target: str, tokenizer: str, eos: int, text_column: str, id_column: str, longest: int
) -> dict[str, Any]:
    """Tokenise a piece into `target`.bin, .ends.npy and .documents.jsonl; return the counts.

    Equal arguments and files give equal bytes; each file appears whole or not at all.
    """
    import numpy as np

    from data_prep.engine.phases import replacing
    from data_prep.records import to_line

    # A worker is one process among others: threads of the library's own would only be in each other's way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    encoder = shared_encoder(tokenizer)
    stored = np.dtype(encoder.dtype).newbyteorder("<")
    reasons: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    lengths = []
    documents = texts(piece, text_column, id_column, longest, reasons)
    with replacing(Path(f"{target}.bin")) as ids_file, replacing(Path(f"{target}.documents.jsonl")) as names_file:
        for name, text, ids in encoded(documents, encoder, eos, reasons):
            ids_file.write(ids.astype(stored, copy=False).tobytes())
            names_file.write(to_line(name).encode("utf-8", "replace") + b"\n")
            lengths.append(len(ids))
            counts["bytes"] += len(text.encode("utf-8", "replace"))
            counts["words"] += len(text.split())
            counts["unknown"] += encoder.unknowns(ids)
            sources[name["source"]] += len(ids) - 1
    with replacing(Path(f"{target}.ends.npy")) as stream:
        np.save(stream, np.cumsum(np.array(lengths, dtype=np.uint64)))
    return {
        "documents": len(lengths),
        "tokens": sum(lengths) - len(lengths),
        **{name: counts[name] for name in ("bytes", "words", "unknown")},
        "left_out": dict(sorted(reasons.items())),
        "sources": dict(sorted(sources.most_common(SOURCES))),
    }


_encoders: dict[str, Encoder] = {}


def shared_encoder(path: str) -> Encoder:
    """Return the encoder of a tokenizer, read once in a process for as long as the file stays the same."""
    state = tokenization.file_of(path).stat()
    key = f"{path} {state.st_ino} {state.st_size} {state.st_mtime_ns}"
    if key not in _encoders:
        _encoders.clear()
        _encoders[key] = tokenization.Encoder.of(tokenization.load(path))
    return _encoders[key]


class TokenShards(Sequence["Ids"]):
    """The documents of a folder, each as its ids with EOS; nothing is read before it is asked for."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        file = self.folder / INDEX
        try:
            self.about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(str(file), f"no index of tokenised documents ({error})", "run its stage again") from error
        if self.about.get("format") != FORMAT:
            what = f"tokens in format {self.about.get('format')}, where {FORMAT} is read"
            raise UserError(str(file), what, "run `stage: tokens` again")
        # Before shard N there are `_first[N]` documents.
        self._first = list(itertools.accumulate((shard["documents"] for shard in self.about["shards"]), initial=0))

    def __len__(self) -> int:
        return int(self._first[-1])

    def __getitem__(self, index: Any) -> Any:
        """Return the ids of a document, without copying them."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = bisect_right(self._first, index) - 1
        ids, ends = self._maps[shard]
        place = index - self._first[shard]
        return ids[int(ends[place - 1]) if place else 0 : int(ends[place])]

    @cached_property
    def _maps(self) -> list[tuple[Ids, NDArray[np.uint64]]]:
        import numpy as np

        dtype = np.dtype(self.about["dtype"]).newbyteorder("<")
        found = []
        for shard in self.about["shards"]:
            name, size = self.folder / shard["name"], (self.folder / f"{shard['name']}.bin").stat().st_size
            # An empty file cannot be mapped.
            ids = np.memmap(f"{name}.bin", dtype=dtype, mode="r") if size else np.zeros(0, dtype)
            ends = np.load(f"{name}.ends.npy", mmap_mode="r" if size else None)
            if len(ends) != shard["documents"] or (len(ends) and int(ends[-1]) != len(ids)):
                raise UserError(f"{name}.bin", "the shard and its index do not go together", "run its stage again")
            found.append((ids, ends))
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maps out: pickled, they would be copies of the data."""
        return {name: value for name, value in self.__dict__.items() if name != "_maps"}

    def lengths(self) -> NDArray[np.int64]:
        """Return the number of ids of each document, EOS included."""
        import numpy as np

        whole = [np.diff(ends.astype(np.int64), prepend=0) for _, ends in self._maps]
        return np.concatenate(whole) if whole else np.zeros(0, np.int64)

    def names(self) -> Iterator[dict[str, str]]:
        """Yield id and source of each document, in order."""
        for shard in self.about["shards"]:
            with open(self.folder / f"{shard['name']}.documents.jsonl", encoding="utf-8") as stream:
                yield from map(json.loads, stream)

    def find(self, document: str) -> list[int]:
        """Return where the documents of this id are: several, when a mixture repeats one."""
        return [index for index, name in enumerate(self.names()) if name["id"] == document]
