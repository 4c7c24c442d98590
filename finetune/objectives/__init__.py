"""What a base learns from plain text: one file for each objective, named in a recipe as `data.objective`.

A module has `FAMILY`, the family of models that it is for, and

    faults(data, config) -> list[Fault]                 what of a recipe's data section does not go with it
    rows(documents, data, tokenizer, seed) -> Rows      the rows of documents, as they are read by `view`
    learning(model, tokenizer, data) -> Learning        how rows become batches, and the loss of a batch
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from finetune.families import Family

Row = dict[str, Any]
Batch = dict[str, Any]
BY_FAMILY: dict[Family, str] = {
    "decoder": "next_token",
    "encoder": "masked_tokens",
    "encoder_decoder": "span_corruption",
}


@dataclass(frozen=True)
class Learning:
    """How rows become a batch, and the summed loss of one with what is reported beside it."""

    collate: Callable[[Sequence[Row]], Batch]
    loss: Callable[[Any, Batch], tuple[Any, dict[str, Any]]]


def named(name: str) -> Any:
    """Return the module of an objective."""
    return import_module(f"finetune.objectives.{name}")
