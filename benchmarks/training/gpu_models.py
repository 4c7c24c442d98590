"""The models of gpu.py, Llamas of published shapes with random weights, and rows of documents to train them on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

BASE = Path(__file__).parents[2] / "recipes" / "base" / "tuneloop-base-4m"
SHAPES: dict[str, dict[str, Any]] = {
    "1b": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256, "tie_word_embeddings": True,
    },
    "8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256, "tie_word_embeddings": False,
    },
    "tiny": {
        "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 512, "tie_word_embeddings": True,
    },
}  # fmt: skip


def make_model(shape: str, folder: Path) -> None:
    """Write a Llama of this shape with random weights in bf16, once; its tokenizer is only there to be loaded."""
    if (folder / "config.json").exists():
        return
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[shape], max_position_embeddings=16384, rope_parameters={"rope_type": "default", "rope_theta": 5e5},
        rms_norm_eps=1e-5, pad_token_id=0, eos_token_id=1, bos_token_id=None, dtype="bfloat16",
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)


def documents(rows: int, length: int, vocabulary: int, seed: int = 0) -> list[list[list[int]]]:
    """Return rows of documents that fill `length` tokens each: lengths uneven, as those of conversations."""
    chooser = random.Random(seed)
    found = []
    for _ in range(rows):
        left, row = length, []
        while left:
            size = min(left, max(16, int(length / 6 * chooser.lognormvariate(0, 0.8))))
            size = left if left - size < 16 else size
            row.append(chooser.choices(range(2, vocabulary), k=size))
            left -= size
        found.append(row)
    return found
