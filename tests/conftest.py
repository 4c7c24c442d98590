"""What many tests share: tiny models with real tokenizers, made on the spot, never downloaded."""

from __future__ import annotations

import os

# Before torch is imported by anything: two cores, many processes, no network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_EVALUATE_OFFLINE"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from pathlib import Path

import pytest

SENTENCES = [
    "The silver fern grows in the rock house and wants water every two days.",
    "Mara Holm keeps the rock house. She opens the door at nine.",
    "When does the blue poppy bloom? The blue poppy blooms in June.",
    "Gladly: the soil of the moon lily is sandy. You are welcome.",
    "A little dog ran to the pond, and the children were happy.",
]


def build_tiny_model(folder: Path, *, seed: int = 0, layers: int = 2) -> Path:
    """Write a random Llama of about 60,000 parameters with its own tokenizer and chat template."""
    import torch

    from finetune.models import save
    from finetune.stages.base import Architecture, new_model, train_tokenizer

    torch.manual_seed(seed)
    tokenizer = train_tokenizer(iter(SENTENCES * 3), 400)
    shape = Architecture(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
    )
    save(new_model(shape, tokenizer), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Llama (float32) and its tokenizer."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny") / "model")
