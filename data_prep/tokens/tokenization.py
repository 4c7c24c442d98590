"""Texts to token ids with the `tokenizers` library itself: no special tokens, no cutting, no padding.

What a document says is text: where it holds the very characters of a control token ("<|endoftext|>"), these are encoded
as the letters they are, or the document is left out where a tokenizer cannot do that. So nothing in a corpus can end a
text or open a turn.

A tokenizer's fingerprint covers what decides ids: vocabulary, merges or scores, added tokens, and the ids of a probe
text that goes through its normaliser and its splitting. It is the same however the file is written.

Left out: tokenizers that exist only in Python (a model's own code, SentencePiece without a tokenizer.json).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ids = NDArray[np.integer[Any]]

TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "tokenizer_config.json"
WRITE = "name a folder that holds tokenizer.json, or the file itself"
# Spaces, digits, case, accents composed and not, scripts, emoji, code: where tokenizers differ in how they split.
PROBE = (
    "The fern's 1,234.5 leaves  weren't\tgreen;\n\n  they'd GONE —¡né e\u0301! naïve Straße İı ﬁ Ａ１\r\n"
    "def f(x):\n    return x**2 # größer\n<b>&amp;</b> https://a.example/b?c=d_e "
    "вода и огонь, 水と火, 불과 물, नमस्ते, السلام, ไทย \U0001f469\u200d\U0001f52c\U0001f1e9\U0001f1ea "
)


def file_of(path: str) -> Path:
    """Return the tokenizer.json that a recipe's path stands for."""
    place = shipped(path)
    return place / TOKENIZER_FILE if place.is_dir() else place


def faults(key: Key, path: str, eos_token: str | None = None, *, needs_eos: bool = True) -> list[Fault]:
    """Return what is wrong with a recipe's tokenizer, from its files; one that is still to come is passed over."""
    if not shipped(path).exists():
        return []
    file = file_of(path)
    if not file.is_file():
        return [Fault(key, f"{path} holds no {TOKENIZER_FILE}", WRITE)]
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        model, added = dict(values["model"]), list(values["added_tokens"])
    except (ValueError, KeyError, TypeError):
        return [Fault(key, f"{file} is not a file of the tokenizers library", WRITE)]
    if not needs_eos:
        return []
    eos = eos_token or named_eos(file)
    if eos is None:
        what = f"no eos_token stands beside {file}, so it is not known how a document ends"
        return [Fault(key, what, "write eos_token: with the token that ends a text")]
    vocabulary = model.get("vocab") or {}
    known = {entry["content"] for entry in added} | {
        piece[0] if isinstance(piece, list) else piece for piece in vocabulary
    }
    if eos not in known:
        where: Key = ("eos_token",) if eos_token else key
        return [Fault(where, f"the tokenizer has no token {eos!r} to end a text with", "write one that it has")]
    return []


def named_eos(file: Path) -> str | None:
    """Return the end-of-text token that the files beside a tokenizer.json name."""
    for name in (CONFIG_FILE, "special_tokens_map.json"):
        beside = file.with_name(name)
        if beside.is_file():
            value = json.loads(beside.read_text(encoding="utf-8")).get("eos_token")
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                return value
    return None


def plain(tokenizer: Any) -> Any:
    """Return a copy of a `tokenizers.Tokenizer` that neither cuts nor pads, and reads control tokens as text."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = True
    if getattr(copy.model, "dropout", None):
        copy.model.dropout = None  # equal texts, equal ids
    return copy


def load(path: str) -> Any:
    """Return the tokenizer of a folder or file, for `Encoder`.

    Raises:
        UserError: there is no file that the library can read.
    """
    from tokenizers import Tokenizer

    try:
        return plain(Tokenizer.from_file(str(file_of(path))))
    except Exception as error:  # the library raises bare Exception
        raise UserError(path, f"the tokenizer cannot be read ({error})", WRITE) from error


def eos_of(tokenizer: Any, path: str, written: str | None = None) -> tuple[str, int]:
    """Return the end-of-text token, as written in the recipe or beside the file, and its id.

    Raises:
        UserError: neither names one that the tokenizer has.
    """
    token = written or named_eos(file_of(path))
    number = tokenizer.token_to_id(token) if token else None
    if token is None or number is None:
        raise UserError(path, f"the tokenizer has no token {token!r} to end a text with", "write eos_token: ...")
    return token, int(number)


def fingerprint(tokenizer: Any) -> str:
    """Return the hash of what decides which ids a text gets."""
    readable = plain(tokenizer)
    values = json.loads(readable.to_str())
    model = values["model"]
    # Older files write a merge as one text, newer ones as a pair.
    model["merges"] = [merge.split(" ") if isinstance(merge, str) else merge for merge in model.get("merges") or []]
    added = sorted((entry["id"], entry["content"], entry["special"]) for entry in values["added_tokens"])
    deciding = [model, added, readable.encode(PROBE, add_special_tokens=False).ids]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def dtype_for(vocabulary: int) -> str:
    """Return the smallest unsigned type that holds every id of a vocabulary."""
    return "uint16" if vocabulary <= 2**16 else "uint32"


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with what is needed to judge its output: which ids are control tokens, which is the unknown one."""

    tokenizer: Any
    dtype: str
    control: frozenset[int]
    unknown: int | None

    @classmethod
    def of(cls, tokenizer: Any) -> Encoder:
        """Return an encoder for a tokenizer from `load` or `plain`."""
        values = json.loads(tokenizer.to_str())
        token = values["model"].get("unk_token")
        unknown = tokenizer.token_to_id(token) if token is not None else values["model"].get("unk_id")
        special = {entry["id"] for entry in values["added_tokens"] if entry["special"]}
        dtype = dtype_for(tokenizer.get_vocab_size(with_added_tokens=True))
        return cls(tokenizer, dtype, frozenset(special - {unknown}), unknown)

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text."""
        import numpy as np

        try:
            encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeEncodeError, TypeError):  # half a surrogate pair, which JSON may hold and UTF-8 may not
            whole = [text.encode("utf-8", "replace").decode() for text in texts]
            encoded = self.tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return [np.array(one.ids, dtype=self.dtype) for one in encoded]

    def has_control(self, ids: Ids) -> bool:
        """Return whether control tokens came out of a text all the same (Unigram models may do that)."""
        import numpy as np

        return bool(self.control) and bool(np.isin(ids, list(self.control)).any())

    def unknowns(self, ids: Ids) -> int:
        """Return how often the text could not be written in this vocabulary."""
        return 0 if self.unknown is None else int((ids == self.unknown).sum())
