"""How many bytes of text each token of a byte-level tokenizer stands for: where tokens are, without asking for offsets.

Such tokenizers (GPT-2's, Llama 3's, Qwen's) write every byte as one letter of a token, so lengths add up to places in
the text. Where they do not add up to the text (a normaliser, an added token that swallows blanks), there is no answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

_known: WeakKeyDictionary[Any, tuple[int, Any]] = WeakKeyDictionary()


def lengths(tokenizer: Any) -> Any | None:
    """Return the bytes of each token (V,); None for a tokenizer that is not byte-level, or changes the text first."""
    known = _known.get(tokenizer)
    if known is None or known[0] != len(tokenizer):
        known = _known[tokenizer] = (len(tokenizer), _counted(tokenizer))
    return known[1]


def _counted(tokenizer: Any) -> Any | None:
    import numpy as np

    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    splitters = (parts.get("pre_tokenizer") or {}).get("pretokenizers") or [parts.get("pre_tokenizer") or {}]
    level = [one for one in splitters if one.get("type") == "ByteLevel"]
    if (
        not level
        or level[0].get("add_prefix_space")
        or (parts.get("normalizer") or {}).get("type") not in (None, "NFC")
    ):
        return None
    vocabulary = tokenizer.get_vocab()
    found = np.zeros(max(vocabulary.values()) + 1, np.int64)
    for token, index in vocabulary.items():
        found[index] = len(token)
    for index, token in tokenizer.added_tokens_decoder.items():
        found[index] = len(token.content.encode())
    return found


def mask(lengths: Any, ids: list[int], text: str, spans: Sequence[tuple[int, int]]) -> bytes | None:
    """Return 1 for each token that has bytes in a span of characters; None if the tokens do not add up to the text."""
    import unicodedata

    import numpy as np

    ends = lengths[np.array(ids, np.int64)].cumsum()
    plain = text.isascii()
    size = len(text) if plain else len(text.encode())
    if not len(ids) or ends[-1] != size or not (plain or unicodedata.is_normalized("NFC", text)):
        return None
    bits = bytearray(len(ids))
    for start, end in spans:
        if start < end:
            places = (start, end) if plain else (len(text[:start].encode()), len(text[:end].encode()))
            first, last = int(ends.searchsorted(places[0], "right")), int(ends.searchsorted(places[1], "left")) + 1
            bits[first:last] = b"\1" * (last - first)
    return bytes(bits)
