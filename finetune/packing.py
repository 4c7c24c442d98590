"""Documents to training rows of a fixed length.

`wrap` puts documents one after the other, each ended by EOS, and cuts the stream into rows, as GPT-3 was trained
(Brown et al. 2020, https://arxiv.org/abs/2005.14165, appendix B): nothing is dropped, nothing is padded but the last
row. Tokens may look at the end of the document before theirs; the EOS between tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, list[int]]


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


def collate_tokens(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pad rows on the right; return input_ids (B, T), labels (B, T) with -100 where no loss counts, count ().

    There is no attention mask: with causal attention no real token can see what stands to its right, and without a
    mask SDPA takes its fast causal path. `count` is the number of target tokens (labels behind the first position).
    """
    import torch

    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100, dtype=torch.long)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row["input_ids"])
        ids[index, : len(tokens)] = tokens
        if "mask" in row:
            tokens = tokens.masked_fill(torch.tensor(row["mask"]) == 0, -100)
        labels[index, : len(tokens)] = tokens
    return {"input_ids": ids, "labels": labels, "count": labels[:, 1:].ne(-100).sum()}
