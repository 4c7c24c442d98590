"""Adapters on tiny models: trained on one batch, looked at by their logits, or written with weights moved at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from finetune import models
from recipes.sections import Adapter, Model

IDS = torch.randint(3, 390, (2, 12), generator=torch.Generator().manual_seed(0))
LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8}


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, use_cache=False).logits
    return found


def train(model: Any, steps: int = 12, rate: float = 2e-2) -> list[float]:
    """Learn one batch by heart; return the losses."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer, losses = torch.optim.AdamW(parameters, lr=rate), []
    for _ in range(steps):
        out = model(input_ids=IDS, use_cache=False).logits
        loss = cross_entropy(out[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def write_adapter(
    base: Path,
    folder: Path,
    section: dict[str, Any],
    seed: int = 1,
    head: Any = "causal",
    labels: Any = None,
    **keys: Any,
) -> Path:
    """Write an adapter whose every trained weight is moved at random."""
    torch.manual_seed(seed)
    loaded = models.load_for(Model(model_name_or_path=str(base), **keys), head, labels)
    models.add_adapter(loaded, Adapter(**section))
    with torch.no_grad():
        for one in loaded.model.parameters():
            if one.requires_grad:
                one += 0.05 * torch.randn_like(one)
    models.save(loaded.model, loaded.tokenizer, folder)
    return folder
