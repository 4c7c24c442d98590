"""Tokenised rows to batches, and several documents or conversations to one row.

A row is a dictionary: `input_ids`, and perhaps `mask` (1 where the loss counts a token) and `starts` (where in the row
a document begins). Documents of a row never see each other, whichever way it becomes a batch:
- `collate_packed`: everything in one row without padding; attention.py keeps documents apart by their lengths;
- `collate_tokens`: one document a row, padded on the right, for models that cannot do that.
Both give the same loss, and so does packing several conversations into a row beforehand: what is computed for a token
depends on its own document alone.

`wrap` puts documents one after the other, each ended by EOS, and cuts the stream into rows, as GPT-3 was trained
(Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix B): nothing is dropped. Tokens may look at the end of the
document before theirs; the EOS between tells them apart. (Continued pretraining cuts rows lazily and keeps their
documents apart, data_prep/tokens/packed_rows.py.) `pack_conversations` fits whole conversations into rows (best-fit
decreasing, data_prep/tokens/packing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Row = dict[str, Any]
Batch = dict[str, Any]
LEFT_OUT = -100
# oneDNN compiles and keeps a kernel for each width it meets in bfloat16. Batches of any width cost 1.4 GB and 8 % more
# time on a small model than batches whose width is a multiple of 64 (0.9 GB); of short ones that would be too much.
FILLED_TO, SHORT, SHORT_FILLED_TO = 64, 512, 16


def collate_for(model: Any) -> Callable[[Sequence[Row]], Batch]:
    """Return how to batch rows for a loaded model: without padding, and its attention switched to that, if it can."""
    from finetune import attention

    return collate_packed if attention.prepare(model) else collate_tokens


def wrap(documents: Iterable[Sequence[int]], eos: int, max_length: int) -> list[Row]:
    """Return rows of `max_length` ids (the last may be shorter); every token of every document is in exactly one."""
    stream: list[int] = []
    rows: list[Row] = []
    for document in documents:
        stream.extend(document)
        if not document or document[-1] != eos:
            stream.append(eos)
        while len(stream) >= max_length:
            rows.append({"input_ids": stream[:max_length]})
            stream = stream[max_length:]
    if len(stream) > 1:
        rows.append({"input_ids": stream})
    return rows


def pack_conversations(rows: Sequence[Row], max_length: int) -> list[Row]:
    """Return rows of `input_ids`, `mask` and `starts`, each of several conversations, none of them cut.

    Raises:
        ValueError: a conversation is longer than `max_length`.
    """
    import numpy as np

    from data_prep.tokens.packing import best_fit

    order, first = best_fit(np.array([len(row["input_ids"]) for row in rows], dtype=np.int64), max_length)
    packed = []
    for begin, end in zip(first[:-1], first[1:], strict=True):
        inside = [rows[index] for index in order[begin:end]]
        ids, masks = ([np.asarray(row[name], dtype=np.int64) for row in inside] for name in ("input_ids", "mask"))
        starts = np.cumsum([0, *map(len, ids)])[:-1]
        packed.append({"input_ids": np.concatenate(ids), "mask": np.concatenate(masks), "starts": starts})
    return packed


def position_ids(starts: Sequence[int], length: int) -> Any:
    """Return positions (T,) that begin at 0 with each document of a row; `starts` is where they begin."""
    import numpy as np

    places = np.arange(length)
    begins = np.asarray(starts, dtype=np.int64)
    return places - begins[np.searchsorted(begins, places, side="right") - 1]


def collate_tokens(rows: Sequence[Row]) -> Batch:
    """Give each document a row (B, T) of its own, padded on the right; -100 in labels (B, T) where no loss counts.

    There is no attention mask: with causal attention no real token can see what stands to its right, and without a
    mask SDPA takes its fast causal path.
    """
    import torch

    documents = [document for row in rows for document in _documents(row)]
    width = max(len(ids) for ids, _ in documents)
    ids = torch.zeros(len(documents), width, dtype=torch.long)
    labels = torch.full((len(documents), width), LEFT_OUT)
    for index, (tokens, targets) in enumerate(documents):
        ids[index, : len(tokens)] = torch.from_numpy(tokens)
        labels[index, 1 : len(tokens)] = torch.from_numpy(targets[1:])
    return {"input_ids": ids, **_counted(labels, sum(len(tokens) for tokens, _ in documents))}


def collate_packed(rows: Sequence[Row]) -> Batch:
    """Put all documents one behind the other into one row (1, T) without padding, for attention that keeps them apart.

    Labels (1, T) are -100 where nothing counts, and at each document's first token, which nothing foretells. T is a
    multiple of FILLED_TO (see there): what is missing is one more document, which counts nothing.
    """
    import numpy as np
    import torch

    documents = [document for row in rows for document in _documents(row)]
    tokens = sum(len(ids) for ids, _ in documents)
    if missing := -tokens % (FILLED_TO if tokens >= SHORT else SHORT_FILLED_TO):
        documents.append((np.zeros(missing, dtype=np.int64), np.full(missing, LEFT_OUT)))
    batch = concatenated([ids for ids, _ in documents])
    labels = torch.from_numpy(np.concatenate([targets for _, targets in documents]))[None]
    labels[0, batch["cu_seq_lens_q"][:-1].long()] = LEFT_OUT
    return {**batch, **_counted(labels, tokens)}


def concatenated(documents: Sequence[Sequence[int]]) -> Batch:
    """Return what a model needs to read documents from one row: ids and positions (1, T), and where each one ends."""
    import numpy as np
    import torch

    lengths = [len(document) for document in documents]
    ends = np.cumsum([0, *lengths], dtype=np.int32)
    longest = max(lengths)  # a Python number: from a tensor every layer would wait for the GPU
    return {
        "input_ids": torch.from_numpy(np.concatenate([np.asarray(one, dtype=np.int64) for one in documents]))[None],
        "position_ids": torch.from_numpy(position_ids(ends[:-1].tolist(), int(ends[-1])))[None],
        "cu_seq_lens_q": torch.from_numpy(ends),
        "cu_seq_lens_k": torch.from_numpy(ends),
        "max_length_q": longest,
        "max_length_k": longest,
    }


def _counted(labels: Any, tokens: int) -> Batch:
    """Return labels (B, T), and what follows from them, reckoned on the CPU so that no step waits for a GPU.

    `target_index` (N,) are the places (of B * T) whose next token counts, `target_ids` (N,) that token, `count` is N.
    """
    import torch

    index = labels.flatten()[1:].ne(LEFT_OUT).nonzero()[:, 0]
    return {
        "labels": labels,
        "target_index": index,
        "target_ids": labels.flatten()[1:][index],
        "count": torch.tensor(len(index)),
        "tokens": torch.tensor(tokens),
    }


def _documents(row: Row) -> Iterator[tuple[Any, Any]]:
    """Yield ids and labels of each document of a row."""
    import numpy as np

    ids = np.asarray(row["input_ids"], dtype=np.int64)
    labels = np.where(np.asarray(row["mask"], dtype=bool), ids, LEFT_OUT) if "mask" in row else ids
    starts = [int(start) for start in row["starts"]] if "starts" in row else [0]
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        if end > start:
            yield ids[start:end], labels[start:end]


def token_count(rows: Sequence[Row]) -> int:
    """Return how many tokens rows hold together; packed ones know it without being read."""
    from data_prep.tokens.packed_rows import Joined, PackedRows

    if isinstance(rows, PackedRows):
        return rows.plan.counts()["tokens"]
    if isinstance(rows, Joined):
        return token_count(rows.first) + token_count(rows.second)
    return sum(len(row["input_ids"]) for row in rows)
