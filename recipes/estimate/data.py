"""How many tokens a recipe would train on: exact where `stage: tokens` counted them, else from a sample of its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes import provenance

INDEX = "tokens.json"
BYTES_PER_TOKEN = 4
SAMPLE_BYTES = 2**17


def tokens_in(place: Path, model: Path | None) -> tuple[float, str]:
    """Return the tokens of a file or folder, and how they are known: counted, sampled or guessed."""
    if (index := place / INDEX).is_file():
        about = json.loads(index.read_text(encoding="utf-8"))
        return float(sum(shard.get("tokens", 0) for shard in about.get("shards", ()))), "counted"
    size = size_of(place)
    if place.suffix == ".jsonl" and model and (model / "tokenizer.json").is_file():
        ratio = _tokens_per_byte(place, model / "tokenizer.json")
        if ratio:
            return size * ratio, "sampled"
    return size / BYTES_PER_TOKEN, "guessed"


def _tokens_per_byte(file: Path, tokenizer_file: Path) -> float | None:
    """Return how many tokens the texts of a file's first rows have for each byte of these rows."""
    from tokenizers import Tokenizer

    with file.open("rb") as opened:
        sample = opened.read(SAMPLE_BYTES)
    lines = sample.splitlines()[: -1 if len(sample) == SAMPLE_BYTES else None]
    try:
        texts = [text for line in lines if line.strip() for text in _texts(json.loads(line))]
        tokenizer = Tokenizer.from_file(str(tokenizer_file))
    except Exception:  # an estimate is no place to find fault with data: the stage's own check does
        return None
    tokenizer.no_truncation()
    found = sum(len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))
    return found / sum(len(line) + 1 for line in lines) if found else None


def _texts(value: Any, key: str = "") -> Iterator[str]:
    """Yield what is read of a row: its texts, without roles and identifiers."""
    if isinstance(value, str):
        if key not in ("role", "id", "source", "document_id"):
            yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, key)


def size_of(place: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if place.is_file():
        return place.stat().st_size
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file())


def named(recipe: Any) -> Path | None:
    """Return the training file of a recipe, when it is there."""
    name = getattr(getattr(recipe, "data", None), "train_file", None)
    return provenance.local(name) if name else None
