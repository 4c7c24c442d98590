"""Tokenised rows to batches, and several conversations to one row.

`wrap` puts documents one after the other, each ended by EOS, and cuts the stream into rows, as GPT-3 was trained
(Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix B): nothing is dropped, nothing is padded but the last
row. Tokens may look at the end of the document before theirs; the EOS between tells them apart. (Continued pretraining
cuts the same rows lazily, data_prep/tokens/packed_rows.py.)

`pack_conversations` fits whole conversations into rows (best-fit decreasing, data_prep/tokens/packing.py). A token must
not look at the conversation before theirs: `collate_packed` gives position ids that begin anew with each one, from
which transformers makes an attention mask that keeps them apart, and no loss stands where one conversation meets the
next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]


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


def collate_tokens(rows: Sequence[Row]) -> dict[str, Any]:
    """Pad rows on the right; return input_ids (B, T), labels (B, T) with -100 where no loss counts, count ().

    There is no attention mask: with causal attention no real token can see what stands to its right, and without a
    mask SDPA takes its fast causal path. `count` is the number of target tokens (labels behind the first position).
    """
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100, dtype=torch.long)
    for index, row in enumerate(rows):
        tokens = torch.as_tensor(row["input_ids"])
        ids[index, : len(tokens)] = tokens
        if "mask" in row:
            tokens = tokens.masked_fill(torch.as_tensor(row["mask"]) == 0, -100)
        labels[index, : len(tokens)] = tokens
    return {"input_ids": ids, "labels": labels, "count": labels[:, 1:].ne(-100).sum()}


def collate_packed(rows: Sequence[Row]) -> dict[str, Any]:
    """Do as `collate_tokens`, and give position_ids (B, T) that keep the documents of a row (`starts`) apart.

    Padding is a document of its own, so no real token is in its company.
    """
    import torch

    batch = collate_tokens(rows)
    width = batch["input_ids"].shape[1]
    positions = [position_ids(_with_padding(row, width), width) for row in rows]
    for labels, row in zip(batch["labels"], rows, strict=True):
        labels[torch.as_tensor(row["starts"])] = -100
    batch["position_ids"] = torch.stack([torch.as_tensor(one) for one in positions])
    batch["count"] = batch["labels"][:, 1:].ne(-100).sum()
    return batch


def _with_padding(row: Row, width: int) -> list[int]:
    length = len(row["input_ids"])
    return [*map(int, row["starts"]), *([length] if length < width else [])]


def token_count(rows: Sequence[Row]) -> int:
    """Return how many tokens rows hold together; packed ones know it without being read."""
    from data_prep.tokens.packed_rows import Joined, PackedRows

    if isinstance(rows, PackedRows):
        return rows.plan.counts()["tokens"]
    if isinstance(rows, Joined):
        return token_count(rows.first) + token_count(rows.second)
    return sum(len(row["input_ids"]) for row in rows)
