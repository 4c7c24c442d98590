"""The next token, from those before it, as GPTs learn (Radford et al. 2018).

Rows are cut from documents by data_prep/tokens/packed_rows.py. Documents of a row do not see each other, and no
document's first token is foretold; with `attend_across_documents` a row is one text, as GPT-3 was trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetune.objectives import Batch, Learning, Row
from recipes.sections import Fault

if TYPE_CHECKING:
    from finetune.documents import Documents

FAMILY = "decoder"


def faults(data: Any, config: dict[str, Any] | None) -> list[Fault]:
    """Return nothing: what the section itself refuses is all."""
    return []


def rows(documents: Documents, data: Any, tokenizer: Any, seed: int) -> Sequence[Row]:
    """Return rows of `max_length` ids."""
    from data_prep.tokens import packed_rows

    return packed_rows.PackedRows(documents, packed_rows.plan(documents.lengths(), data.packing, data.max_length, seed))


def view(data: Any, tokenizer: Any) -> None:
    """Return nothing: rows are read as they are."""


def learning(model: Any, tokenizer: Any, data: Any) -> Learning:
    """Return batches of documents apart, or of rows as one text each."""
    from finetune import packing

    return Learning(_as_one_text if data.attend_across_documents else packing.collate_for(model), loss)


def _as_one_text(rows: Sequence[Row]) -> Batch:
    from finetune import packing

    return packing.collate_tokens([{"input_ids": row["input_ids"]} for row in rows])


def loss(model: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
    """Summed cross-entropy (nats) of the next tokens; there is nothing else to report."""
    from finetune.losses import causal_lm_loss

    return causal_lm_loss(model, batch)[0], {}
