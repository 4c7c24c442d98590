"""Masked tokens: some are hidden, and an encoder tells from both sides what stood there (cloze).

Of a row's tokens 15 % are chosen; of these 80 % become the mask token, 10 % another token, 10 % stay (Devlin et al.
2019, https://arxiv.org/abs/1810.04805, section 3.1), anew at each visit (Liu et al. 2019, RoBERTa,
https://arxiv.org/abs/1907.11692, section 4.1). With whole words, a word's pieces are chosen together, until the share
is reached (BERT's later release). Rows are RoBERTa's FULL-SENTENCES with `packing: wrap`: one stream of documents, a
separator between them. With `best_fit` each document (or piece of a long one) has its own first and last token, and
none sees another. Left out: next-sentence prediction, which RoBERTa found not to help; spans (SpanBERT).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from finetune.objectives import Batch, Learning, Row
from recipes.errors import UserError
from recipes.sections import Fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finetune.documents import Documents

    Ids = NDArray[np.int64]
    Truths = NDArray[np.bool_]

FAMILY = "encoder"
LEFT_OUT = -100
KEPT, RANDOM = 0.1, 0.1


def faults(data: Any, config: dict[str, Any] | None) -> list[Fault]:
    """Refuse documents of one stream that do not see each other: each would need its own first and last token."""
    return stream_faults(data, "an encoder")


def stream_faults(data: Any, whose: str) -> list[Fault]:
    """Refuse a value of attend_across_documents that contradicts the packing."""
    if "attend_across_documents" not in data.model_fields_set or data.attend_across_documents == (
        data.packing == "wrap"
    ):
        return []
    seen = "see each other" if data.packing == "wrap" else "do not see each other"
    other = "best_fit" if data.packing == "wrap" else "wrap"
    what = f"with packing: {data.packing} the documents of {whose}'s row {seen}"
    return [Fault(("data", "attend_across_documents"), what, f"write packing: {other}, or leave the key out")]


def rows(documents: Documents, data: Any, tokenizer: Any, seed: int) -> Sequence[Row]:
    """Return rows of at most `max_length` ids with first and last tokens in place."""
    from data_prep.tokens import packed_rows

    first, last = ends(tokenizer)
    if data.packing == "wrap":
        plan = packed_rows.plan(documents.lengths(), "wrap", data.max_length - len(first) - 1, seed)
        return Framed(packed_rows.PackedRows(documents, plan), first, last)
    pieces = Pieces(documents, data.max_length, first, last)
    return packed_rows.PackedRows(pieces, packed_rows.plan(pieces.lengths(), "best_fit", data.max_length, seed))


def ends(tokenizer: Any) -> tuple[list[int], int]:
    """Return the ids before a text (none or one), and the one behind it.

    Raises:
        UserError: the tokenizer has no token that ends a text, or none that masks.
    """
    last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    if last is None or tokenizer.mask_token_id is None:
        missing = "mask_token" if last is not None else "sep_token and no eos_token"
        raise UserError(str(tokenizer.name_or_path), f"its tokenizer has no {missing}", "name a masked language model")
    return ([] if first is None else [first]), last


class Framed(Sequence[Row]):
    """Rows of a stream with the first token put before and the last one behind, where it does not stand there."""

    def __init__(self, rows: Sequence[Row], first: list[int], last: int) -> None:
        self.rows, self.first, self.last = rows, first, last

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a list of several."""
        import numpy as np

        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        ids = self.rows[index]["input_ids"]
        behind = [] if ids[-1] == self.last else [self.last]
        return {"input_ids": np.concatenate((self.first, ids, behind)).astype(np.int64)}


class Pieces(Sequence[Any]):
    """Documents as pieces that fit a row, each with its first and last token; an end of a document is not doubled."""

    def __init__(self, documents: Documents, max_length: int, first: list[int], last: int) -> None:
        import numpy as np

        self.documents, self.first, self.last = documents, first, last
        self.room = max_length - len(first) - 1
        self.sizes = np.maximum(documents.lengths() - 1, 0)  # without their own ends
        self.counts = -(-self.sizes // self.room)
        self.begins = np.concatenate(([0], np.cumsum(self.counts)))

    def __len__(self) -> int:
        return int(self.begins[-1])

    def __getitem__(self, index: Any) -> Any:
        """Return the ids of a piece."""
        import numpy as np

        if not 0 <= index < len(self):
            raise IndexError(index)
        document = int(self.begins.searchsorted(index, side="right")) - 1
        start = (index - int(self.begins[document])) * self.room
        inside = self.documents[document][start : min(start + self.room, int(self.sizes[document]))]
        return np.concatenate((self.first, inside, [self.last])).astype(np.int64)

    def lengths(self) -> Any:
        """Return the number of ids of each piece."""
        import numpy as np

        document = np.repeat(np.arange(len(self.counts)), self.counts)
        start = (np.arange(len(self)) - self.begins[document]) * self.room
        return np.minimum(self.sizes[document] - start, self.room) + len(self.first) + 1


def view(data: Any, tokenizer: Any) -> Any:
    """Return what masks a row of ids, given its generator."""
    import numpy as np

    special = np.zeros(len(tokenizer), dtype=bool)
    special[[token for token in tokenizer.all_special_ids if token < len(tokenizer)]] = True
    return partial(
        _masked,
        special=special,
        ordinary=np.flatnonzero(~special),
        inside=inside_words(tokenizer) if data.whole_word_mask else None,
        mask_id=tokenizer.mask_token_id,
        probability=data.mlm_probability,
    )


def _masked(
    row: Row, generator: Any, *, special: Truths, ordinary: Ids, inside: Truths | None, mask_id: int, probability: float
) -> Row:
    ids = row["input_ids"]
    chosen = choose(~special[ids], None if inside is None else inside[ids], probability, generator)
    inputs = replace(ids, chosen, mask_id, ordinary, generator)
    return {**row, "input_ids": inputs, "labels": _where(chosen, ids)}


def _where(chosen: Truths, ids: Ids) -> Ids:
    import numpy as np

    return np.where(chosen, ids, LEFT_OUT)


def choose(maskable: Truths, inside: Truths | None, probability: float, generator: Any) -> Truths:
    """Choose which tokens (T,) are to be told: a share of the maskable ones, rounded at random, at least one.

    `inside` says which tokens go on with the word before them; then words are chosen, none that would exceed the share
    unless nothing else was chosen.
    """
    import numpy as np

    places = np.flatnonzero(maskable)
    chosen = np.zeros(len(maskable), dtype=bool)
    if not len(places):
        return chosen
    wanted = max(1, int(probability * len(places) + generator.random()))
    if inside is None:
        chosen[generator.choice(places, wanted, replace=False)] = True
        return chosen
    starts = np.flatnonzero(~inside[places] | np.concatenate(([True], np.diff(places) > 1)))
    words = np.split(places, starts[1:])
    left = wanted
    for word in (words[index] for index in generator.permutation(len(words))):
        if len(word) <= left or left == wanted:
            chosen[word] = True
            left -= len(word)
        if left <= 0:
            break
    return chosen


def replace(ids: Ids, chosen: Truths, mask_id: int, ordinary: Ids, generator: Any) -> Ids:
    """Return ids (T,) with 80 % of the chosen ones masked, 10 % replaced by an ordinary token, 10 % as they are."""
    import numpy as np

    draw = generator.random(len(ids))
    others = generator.choice(ordinary, len(ids))
    inputs = np.where(chosen & (draw >= KEPT + RANDOM), mask_id, ids)
    return np.where(chosen & (draw < RANDOM), others, inputs)


def inside_words(tokenizer: Any) -> Truths:
    """Return for each id whether its token goes on with the word before it.

    Raises:
        UserError: the tokens do not say where words begin.
    """
    import numpy as np

    tokens = [str(token) for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))]
    if sum(token.startswith("##") for token in tokens) > 1:
        return np.array([token.startswith("##") for token in tokens])
    for blank in ("Ġ", "▁"):
        if sum(token.startswith(blank) for token in tokens) > 1:
            return np.array([not token.startswith((blank, "Ċ")) for token in tokens])
    what = "its tokens do not say where words begin (no ##, Ġ or ▁)"
    raise UserError("data.whole_word_mask", what, "write whole_word_mask: false")


def learning(model: Any, tokenizer: Any, data: Any) -> Learning:
    """Return batches without padding where the model's attention keeps documents apart, else padded ones."""
    from finetune import attention

    pad = tokenizer.pad_token_id or 0
    return Learning(batch_of_documents if attention.prepare(model) else partial(padded, pad=pad), loss)


def documents_of(row: Row) -> list[tuple[Any, Any]]:
    """Return ids and labels of each document of a row."""
    import numpy as np

    cuts = np.asarray(row.get("starts", [0]))[1:]
    return list(zip(np.split(row["input_ids"], cuts), np.split(row["labels"], cuts), strict=True))


def batch_of_documents(rows: Sequence[Row]) -> Batch:
    """Put all documents one behind the other into one row (1, T)."""
    import numpy as np
    import torch

    from finetune.packing import concatenated

    documents = [document for row in rows for document in documents_of(row)]
    labels = torch.from_numpy(np.concatenate([labels for _, labels in documents]))[None]
    return {**concatenated([ids for ids, _ in documents]), **_counted(labels, labels.shape[1])}


def padded(rows: Sequence[Row], pad: int) -> Batch:
    """Give each document a row (B, T) of its own, padded on the right, with a mask where there is padding."""
    import torch

    documents = [document for row in rows for document in documents_of(row)]
    lengths = torch.tensor([len(ids) for ids, _ in documents])
    width = int(lengths.max())
    inputs = torch.full((len(documents), width), pad)
    labels = torch.full((len(documents), width), LEFT_OUT)
    for index, (ids, targets) in enumerate(documents):
        inputs[index, : len(ids)] = torch.from_numpy(ids)
        labels[index, : len(ids)] = torch.from_numpy(targets)
    batch = {"input_ids": inputs, **_counted(labels, int(lengths.sum()))}
    if int(lengths.min()) < width:
        batch["attention_mask"] = (torch.arange(width) < lengths[:, None]).long()
    return batch


def _counted(labels: Any, tokens: int) -> Batch:
    import torch

    places = labels.flatten().ne(LEFT_OUT).nonzero()[:, 0]
    return {
        "target_index": places,
        "target_ids": labels.flatten()[places],
        "count": torch.tensor(len(places)),
        "tokens": torch.tensor(tokens),
    }


def loss(model: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
    """Summed cross-entropy (nats) of the hidden tokens, and how many of them were the model's first choice."""
    from torch.nn.functional import cross_entropy

    from finetune.objectives.targets import target_logits

    logits = target_logits(model, batch).float()
    right = (logits.detach().argmax(-1) == batch["target_ids"]).sum()
    return cross_entropy(logits, batch["target_ids"], reduction="sum"), {"accuracy": right}
