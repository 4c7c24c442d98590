"""Span corruption: spans of a text give way to sentinels, and an encoder-decoder writes what stood there.

Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4, as in the authors' code (t5/data/preprocessors.py,
`random_spans_noise_mask` and `random_spans_helper`): 15 % of the tokens in spans of 3 on average; the input has a
sentinel for each span, the target each sentinel with its span; both end with EOS. Rows are cut so long that the input
has just `max_length` tokens. With `packing: wrap` they are one stream of documents, as there; with `best_fit` no row
has more than one document. Left out: the mixture of denoisers of UL2, BART's permuted sentences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from finetune.objectives import Learning, Row
from finetune.objectives.masked_tokens import stream_faults
from recipes.errors import UserError
from recipes.sections import Fault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from finetune.documents import Documents

    Ids = NDArray[np.int64]
    Truths = NDArray[np.bool_]

FAMILY = "encoder_decoder"
SENTINEL = re.compile(r"<extra_id_(\d+)>")


def faults(data: Any, config: dict[str, Any] | None) -> list[Fault]:
    """Refuse a packing that contradicts what documents may see."""
    return stream_faults(data, "an encoder-decoder")


def lengths(tokens: int, density: float, mean_span: float) -> tuple[int, int]:
    """Return how long input and target become, EOS included, of a row of so many tokens."""
    noise, spans = _noise(tokens, density, mean_span)
    return tokens - noise + spans + 1, noise + spans + 1


def _noise(tokens: int, density: float, mean_span: float) -> tuple[int, int]:
    """Return the number of tokens that are taken out, and of spans."""
    noise = min(max(round(tokens * density), 1), tokens - 1)
    return noise, min(max(round(noise / mean_span), 1), tokens - noise)


def row_length(max_length: int, density: float, mean_span: float) -> int:
    """Return the longest row whose input has no more than `max_length` tokens."""
    tokens = max_length - 1
    while lengths(tokens + 1, density, mean_span)[0] <= max_length:
        tokens += 1
    return tokens


def noise_mask(tokens: int, density: float, mean_span: float, generator: Any) -> Truths:
    """Return which tokens (T,) are taken out: spans between kept ones, beginning with kept ones, ending with a span."""
    import numpy as np

    noise, spans = _noise(tokens, density, mean_span)
    kept = _segments(tokens - noise, spans, generator)
    taken = _segments(noise, spans, generator)
    return np.repeat(np.tile([False, True], spans), np.stack([kept, taken], 1).ravel())


def _segments(items: int, segments: int, generator: Any) -> Ids:
    """Return the lengths of non-empty segments that add up to `items`; each way to cut is equally likely."""
    import numpy as np

    cuts = np.sort(generator.choice(items - 1, segments - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], cuts, [items]))).astype(np.int64)


def corrupt(ids: Ids, taken: Truths, sentinels: Sequence[int], eos: int) -> tuple[Ids, Ids]:
    """Return input and target of ids (T,) whose `taken` ones give way to sentinels."""
    return _with_sentinels(ids, taken, sentinels, eos), _with_sentinels(ids, ~taken, sentinels, eos)


def _with_sentinels(ids: Ids, gone: Truths, sentinels: Sequence[int], eos: int) -> Ids:
    """Return ids where each run of `gone` ones is one sentinel, and EOS behind them."""
    import numpy as np

    first = gone & ~np.concatenate(([False], gone[:-1]))
    number = np.cumsum(first) - 1
    with_them = np.where(first, np.asarray(sentinels)[number.clip(0)], ids)
    return np.concatenate((with_them[~gone | first], [eos])).astype(np.int64)


def sentinels_of(tokenizer: Any, wanted: int) -> list[int]:
    """Return the ids of the sentinels, <extra_id_0> first.

    Raises:
        UserError: there are not enough of them.
    """
    numbered = {
        int(match[1]): id for token, id in tokenizer.get_vocab().items() if (match := SENTINEL.fullmatch(token))
    }
    found = [numbered[number] for number in range(len(numbered)) if number in numbered]
    if len(found) < wanted:
        what = f"a row needs up to {wanted} sentinels, and the tokenizer has {len(found)} (<extra_id_0> and on)"
        write = "name a T5-like model" if not found else "write a shorter data.max_length"
        raise UserError(str(tokenizer.name_or_path), what, write)
    return found


def rows(documents: Documents, data: Any, tokenizer: Any, seed: int) -> Sequence[Row]:
    """Return rows of ids that are still whole."""
    from data_prep.tokens import packed_rows

    longest = row_length(data.max_length, data.noise_density, data.mean_noise_span_length)
    if data.packing == "wrap":
        return packed_rows.PackedRows(documents, packed_rows.plan(documents.lengths(), "wrap", longest, seed))
    return Pieces(documents, longest)


class Pieces(Sequence[Row]):
    """Rows of one document or a piece of it, without its EOS; a piece of one token teaches nothing and is left out."""

    def __init__(self, documents: Documents, longest: int) -> None:
        self.documents, self.longest = documents, longest
        self.places = [
            (index, start)
            for index, size in enumerate((documents.lengths() - 1).tolist())  # without their own ends
            for start in range(0, size, longest)
            if size - start > 1
        ]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> Any:
        """Return a row, or a list of several."""
        import numpy as np

        if isinstance(index, slice):
            return [self[one] for one in range(len(self))[index]]
        document, start = self.places[index]
        return {"input_ids": np.asarray(self.documents[document][:-1][start : start + self.longest], dtype=np.int64)}


def view(data: Any, tokenizer: Any) -> Any:
    """Return what corrupts a row of ids, given its generator."""
    density, span = data.noise_density, data.mean_noise_span_length
    spans = _noise(row_length(data.max_length, density, span), density, span)[1]
    sentinels = sentinels_of(tokenizer, spans)
    return partial(_corrupted, density=density, span=span, sentinels=sentinels, eos=tokenizer.eos_token_id)


def _corrupted(row: Row, generator: Any, *, density: float, span: float, sentinels: list[int], eos: int) -> Row:
    ids = row["input_ids"]
    source, target = corrupt(ids, noise_mask(len(ids), density, span, generator), sentinels, eos)
    return {"input_ids": source, "labels": target}


def learning(model: Any, tokenizer: Any, data: Any) -> Learning:
    """Return batches of sources and targets."""
    from finetune.objectives import encoder_decoder

    return Learning(partial(encoder_decoder.collate, pad=tokenizer.pad_token_id or 0), encoder_decoder.loss)
