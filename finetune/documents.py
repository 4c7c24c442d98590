"""Documents as tokens: from JSON lines, tokenised here, or from the shards of `stage: tokens`; the same tokens.

Tokens made with another tokenizer than the model's are refused: their ids would be other words to it. Looked at twice:
in the files when a recipe is checked, and with the tokenizer that was loaded, before the weights are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.tokens import token_shards, tokenization
from finetune import families
from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped

WRITE = "run `stage: tokens` with this model's tokenizer, or name the documents themselves"


def faults(files: Mapping[tuple[str, str], str | None], tokenizer: str) -> list[Fault]:
    """Return a fault for each folder that holds no tokens, or those of another tokenizer than `tokenizer`."""
    found = []
    for key, path in files.items():
        if path is None or not shipped(path).is_dir():
            continue
        if not token_shards.is_tokens(path):
            what = f"{path} is a folder without tokenised documents (no {token_shards.INDEX})"
            found.append(Fault(key, what, "name a file of documents, or the folder of `stage: tokens`"))
        elif tokenization.file_of(tokenizer).is_file():
            found += _other_tokenizer(key, path, tokenizer)
    return found


def _other_tokenizer(key: Key, path: str, tokenizer: str) -> Iterator[Fault]:
    about = token_shards.TokenShards(shipped(path)).about
    known = tokenization.load(tokenizer)
    if tokenization.fingerprint(known) != about["fingerprint"]:
        yield Fault(key, f"{path} was tokenised with another tokenizer than that of {tokenizer}", WRITE)


def context_faults(key: Key, max_length: int, model: str) -> list[Fault]:
    """Return a fault for rows that are longer than the model's context, where its files say how long that is."""
    config = families.config_of(model)
    context = families.context_of(config) if config else None
    if context is not None and max_length > context:
        return [Fault(key, f"{max_length} is more than the model's context of {context} tokens", f"at most {context}")]
    return []


@dataclass(frozen=True)
class Documents(Sequence[Any]):
    """Tokenised documents, each with its end; `bytes` is how much UTF-8 text they were."""

    ids: Sequence[Any]
    sizes: Any
    bytes: int

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Any:
        """Return the ids of a document."""
        return self.ids[index]

    def lengths(self) -> Any:
        """Return the number of ids of each document."""
        return self.sizes

    def tokens_per_byte(self) -> float:
        """Return how many tokens a byte of text costs, ends of text included."""
        return float(self.sizes.sum()) / max(1, self.bytes)


def read(
    path: str, tokenizer: Any, text_of: Callable[[dict[str, Any], str], str], end: int, left_out: Counter[str]
) -> Documents:
    """Return the documents of a file or of a folder of tokens; count in `left_out` those that are not used.

    Raises:
        UserError: a row has no text, or the tokens are another tokenizer's.
    """
    import numpy as np

    if token_shards.is_tokens(path):
        shards = token_shards.TokenShards(shipped(path))
        require_same(shards, tokenizer, path, end)
        return Documents(shards, shards.lengths(), int(shards.about["bytes"]))
    found, size = [], 0
    for ids, text in tokenised(path, tokenizer, text_of, end, left_out):
        found.append(ids)
        size += len(text.encode("utf-8", "replace"))
    return Documents(found, np.array([len(ids) for ids in found], dtype=np.int64), size)


def tokenised(
    path: str, tokenizer: Any, text_of: Callable[[dict[str, Any], str], str], end: int, left_out: Counter[str]
) -> Iterator[tuple[Any, str]]:
    """Yield ids, with `end` behind them, and text of each document; what a text says never becomes a control token."""
    from data_prep.records import numbered_rows

    def documents() -> Iterator[tuple[None, str]]:
        for number, row in numbered_rows(path):
            text = text_of(row, f"{path}:{number}")
            if text:
                yield None, text
            else:
                left_out["empty text"] += 1

    encoder = tokenization.Encoder.of(tokenization.plain(backend(tokenizer)))
    for _, text, ids in token_shards.encoded(documents(), encoder, end, left_out):
        yield ids, text


def backend(tokenizer: Any) -> Any:
    """Return the `tokenizers.Tokenizer` behind transformers' tokenizer.

    Raises:
        UserError: it is one that exists only in Python.
    """
    found = getattr(tokenizer, "backend_tokenizer", None)
    if found is None or not hasattr(found, "to_str"):
        raise UserError(
            str(tokenizer.name_or_path), "its tokenizer is not one of the tokenizers library", "put tokenizer.json in"
        )
    return found


def require_same(shards: token_shards.TokenShards, tokenizer: Any, path: str, end: int) -> None:
    """Refuse tokens of another tokenizer than the one that was loaded, or with another end of text.

    Raises:
        UserError: they are not the same.
    """
    if tokenization.fingerprint(backend(tokenizer)) != shards.about["fingerprint"]:
        raise UserError(path, f"tokenised with another tokenizer than that of {tokenizer.name_or_path}", WRITE)
    if end != shards.about["eos_id"]:
        used, own = shards.about["eos_token"], tokenizer.decode([end])
        raise UserError(path, f"its documents end with {used!r}, those of the model with {own!r}", WRITE)
