"""NEFTune: noise of the paper's size for each document, in training alone, however the batch is laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import packing
from finetune.models import load
from finetune.training.noise import document_lengths, on_embeddings

ALPHA = 5.0
ROWS = [{"input_ids": list(range(5, 5 + length))} for length in (4, 9, 36)]


def noise_of(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Return what is added to the embeddings of a batch (B, T, d)."""
    seen: list[torch.Tensor] = []
    embeddings = model.get_input_embeddings()
    plain = embeddings(batch["input_ids"])
    with on_embeddings(model, ALPHA, batch):
        last = embeddings.register_forward_hook(lambda module, inputs, output: seen.append(output))
        embeddings(batch["input_ids"])
        last.remove()
    return (seen[0] - plain).detach()


def test_each_document_has_noise_of_its_own_length(tiny_model_dir: Path) -> None:
    model = load(str(tiny_model_dir), trainable=True).model
    torch.manual_seed(0)
    noise = noise_of(model, packing.collate_packed(ROWS))[0]
    width = noise.shape[-1]
    for row, part in zip(ROWS, noise[:49].split([4, 9, 36]), strict=True):
        bound = ALPHA / (len(row["input_ids"]) * width) ** 0.5
        assert 0.9 * bound < float(part.abs().max()) <= bound * (1 + 1e-5)
        assert float(part.std()) == pytest.approx(bound / 3**0.5, rel=0.15)  # of a uniform distribution


def test_padding_that_is_masked_does_not_count() -> None:
    ids = torch.ones(2, 6, dtype=torch.long)
    mask = torch.tensor([[1] * 6, [1, 1, 0, 0, 0, 0]])
    assert document_lengths({"input_ids": ids, "attention_mask": mask}).tolist() == [[6.0], [2.0]]
    assert document_lengths({"input_ids": ids}).tolist() == [[6.0], [6.0]]


def test_there_is_none_in_evaluation_and_none_is_left(tiny_model_dir: Path) -> None:
    model = load(str(tiny_model_dir)).model  # in eval mode
    batch = packing.collate_packed(ROWS)
    assert not noise_of(model, batch).any()
    model.train()
    assert noise_of(model, batch).any()
    assert not model.get_input_embeddings()._forward_hooks
