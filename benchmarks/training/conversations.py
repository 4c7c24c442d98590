"""Conversations of mixed lengths for the benchmarks of training, as text and as the tokens that all sides train on."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
WORDS = (
    "the red fern grows in rock house and wants water every second day when warm june comes to our old garden".split()
)


def made(count: int, *, mean_words: float, spread: float, longest: int, seed: int = 0) -> list[Row]:
    """Return conversations whose answers have log-normal lengths, as real ones have; `spread` is the sigma."""
    chooser = random.Random(seed)
    centre = mean_words / 2.718281828 ** (spread**2 / 2)
    rows = []
    for _ in range(count):
        words = min(longest, max(2, round(centre * chooser.lognormvariate(0, spread))))
        question, answer = (" ".join(chooser.choices(WORDS, k=size)) for size in (5, words))
        rows.append(conversation(question + "?", answer))
    return rows


def read(path: str, count: int, longest: int, seed: int = 0) -> list[Row]:
    """Return a random choice of a file's questions and answers; `longest` is in characters."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    fitting = [conversation(row["question"], row["answer"]) for row in rows if len(row["answer"]) <= longest]
    return random.Random(seed).sample(fitting, count)


def conversation(question: str, answer: str) -> Row:
    """Return one conversation."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def tokenised(rows: Sequence[Row], model: str) -> list[Row]:
    """Return `input_ids` and `labels` (-100 where nothing is learned) by the model's own chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    for row in rows:
        out = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
        pairs = zip(out["input_ids"], out["assistant_masks"], strict=True)
        found.append({"input_ids": list(out["input_ids"]), "labels": [id_ if bit else -100 for id_, bit in pairs]})
    return found


def write(rows: Sequence[Row], path: Path) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def random_llama(folder: Path, tokenizer: str, *, hidden: int = 384, layers: int = 4, seed: int = 0) -> None:
    """Write a Llama with random weights, and the tokenizer of another model."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    own = AutoTokenizer.from_pretrained(tokenizer)
    config = LlamaConfig(
        vocab_size=len(own),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 192),
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        pad_token_id=own.pad_token_id,
        eos_token_id=own.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    own.save_pretrained(folder)
