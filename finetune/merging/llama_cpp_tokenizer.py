"""A byte-level BPE tokenizer as llama.cpp reads it: tokens with their kinds, merges, and a splitting that it knows.

llama.cpp has no general pre-tokenizer: a file names one of those that are written into it, and a tokenizer that splits
text in another way would get other ids without a word. Those here are told apart by their very patterns; what is none
of them is refused. Leaves out: SentencePiece and WordPiece tokenizers, and Unicode normalisation, which llama.cpp does
not do for BPE (a tokenizer with NFC gets the same ids for text that is composed already, as nearly all is).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from recipes.errors import UserError

CONVERTER = "export it with layout: huggingface, and run llama.cpp's convert_hf_to_gguf.py on that"
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # gguf.TokenType
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
# How text is split, and whether merges are passed over for a whole piece that is a token: llama.cpp's name of both.
NAMES = {
    (("bytes", True),): {False: "gpt-2"},
    (("digits",), ("bytes", True)): {False: "smollm"},
    (("split", LLAMA_3), ("bytes", False)): {True: "llama-bpe", False: "smaug-bpe"},
    (("split", QWEN_2), ("bytes", False)): {False: "qwen2"},
}


@dataclass(frozen=True)
class Vocabulary:
    """What a GGUF file says of a tokenizer."""

    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    adds_bos: bool
    normalized: bool


@cache
def _values(file: Path, _: int) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return values


def vocabulary(file: Path, rows: int | None) -> Vocabulary:
    """Return the vocabulary of a tokenizer.json, filled up to the rows of the embedding where they are known.

    Raises:
        UserError: llama.cpp would get other ids from it.
    """
    if not file.is_file():
        raise UserError(str(file), "there is no tokenizer.json", CONVERTER)
    values = _values(file, file.stat().st_mtime_ns)
    model = values["model"]
    _require_plain(file, values)
    by_id = {number: (token, NORMAL) for token, number in model["vocab"].items()}
    for entry in values["added_tokens"]:
        by_id[entry["id"]] = (entry["content"], CONTROL if entry["special"] else USER_DEFINED)
    rows = max(by_id) + 1 if rows is None else rows
    if max(by_id) >= rows:
        what = f"the tokenizer has a token {max(by_id)}, and the model has {rows} rows"
        raise UserError(str(file), what, "name a model with its own tokenizer")
    listed = [by_id.get(number, (f"[PAD{number}]", UNUSED)) for number in range(rows)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    tokens, kinds = [token for token, _ in listed], [kind for _, kind in listed]
    pre, adds_bos = pre_tokenizer(file, values), _adds_bos(file, values)
    return Vocabulary(pre, tokens, kinds, merges, adds_bos, values["normalizer"] is not None)


def _require_plain(file: Path, values: dict[str, Any]) -> None:
    """Refuse tokenizers that are no byte-level BPE, and settings that llama.cpp has no word for."""
    model = values["model"]
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = f"{model.get('type')} with byte_fallback" if model.get("byte_fallback") else model.get("type")
        raise UserError(str(file), f"a {kind} tokenizer; only byte-level BPE is written here", CONVERTER)
    odd = [key for key in ("continuing_subword_prefix", "end_of_word_suffix", "unk_token") if model.get(key)]
    normalizer = (values["normalizer"] or {}).get("type", "NFC")
    odd += [] if normalizer == "NFC" else [f"the normalizer {normalizer}"]
    for entry in values["added_tokens"]:
        odd += [f"{key} of {entry['content']!r}" for key in ("lstrip", "rstrip", "single_word") if entry.get(key)]
    if odd:
        raise UserError(str(file), f"llama.cpp does not know {odd[0]}, and would get other ids", CONVERTER)


def pre_tokenizer(file: Path, values: dict[str, Any]) -> str:
    """Return llama.cpp's name for how a tokenizer splits text.

    Raises:
        UserError: it has none.
    """
    entry = values["pre_tokenizer"] or {}
    parts = entry["pretokenizers"] if entry.get("type") == "Sequence" else [entry]
    names = NAMES.get(tuple(_part(part) for part in parts), {})
    found = names.get(bool(values["model"].get("ignore_merges")))
    if found is None:
        shown = json.dumps(parts)[:120]
        raise UserError(str(file), f"llama.cpp has no name for how this tokenizer splits text: {shown}", CONVERTER)
    return found


def _part(part: dict[str, Any]) -> tuple[Any, ...]:
    kind = part.get("type")
    if kind == "Digits" and part["individual_digits"]:
        return ("digits",)
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return ("bytes", part["use_regex"])
    if kind == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
        return ("split", part["pattern"].get("Regex"))
    return (kind, "other")


def _adds_bos(file: Path, values: dict[str, Any]) -> bool:
    """Return whether one token is put before every text; anything else that is added cannot be said."""
    entry = values["post_processor"] or {"type": "ByteLevel"}
    parts = entry["processors"] if entry["type"] == "Sequence" else [entry]
    added: list[str] = []
    for part in parts:
        if part["type"] not in ("ByteLevel", "TemplateProcessing"):
            raise UserError(str(file), f"llama.cpp does not do what {part['type']} adds to a text", CONVERTER)
        added += [next(iter(piece)) for piece in part.get("single", ())]
    if added in ([], ["Sequence"], ["SpecialToken", "Sequence"]):
        return added[:1] == ["SpecialToken"]
    raise UserError(str(file), "llama.cpp does not add more than one token to a text, before it", CONVERTER)
