"""Batches and the loss of an encoder-decoder: what it writes, token by token, given what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finetune.objectives import Batch, Row

LEFT_OUT = -100


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """Pad input_ids (B, S) and labels (B, T) on the right; a mask where the encoder would see padding.

    `count` is the number of target tokens, `tokens` of real ones on both sides.
    """
    import torch

    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    labels = _padded([row["labels"] for row in rows], LEFT_OUT)
    count = labels.ne(LEFT_OUT).sum()
    batch = {
        "input_ids": _padded([row["input_ids"] for row in rows], pad),
        "labels": labels,
        "count": count,
        "tokens": lengths.sum() + count,
    }
    if int(lengths.min()) < int(lengths.max()):
        batch["attention_mask"] = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    return batch


def _padded(rows: Sequence[Any], value: int) -> Any:
    import torch

    return torch.nn.utils.rnn.pad_sequence(
        [torch.as_tensor(row, dtype=torch.long) for row in rows], batch_first=True, padding_value=value
    )


def loss(model: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
    """Summed cross-entropy (nats) of the targets, and how many of them were the model's first choice.

    What the decoder reads are the targets, shifted as the model does it: T5 begins with padding, BART with EOS, mBART
    with the language.
    """
    from torch.nn.functional import cross_entropy

    from finetune.attention import base_of

    labels = batch["labels"]
    shifted = base_of(model).prepare_decoder_input_ids_from_labels(labels=labels)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    logits = model(**inputs, decoder_input_ids=shifted, use_cache=False).logits
    counted = labels.ne(LEFT_OUT)
    wanted, logits = labels[counted], logits[counted].float()
    right = (logits.detach().argmax(-1) == wanted).sum()
    return cross_entropy(logits, wanted, reduction="sum"), {"accuracy": right}
