"""Embeddings of texts under a transformers encoder, for the corpus stage's filter `semantic_duplicates`.

The mean of the last layer's vectors over the tokens of the text, which is what sentence encoders such as MiniLM are
trained for (Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084). A text is cut at the encoder's own length
(`LONGEST` at most): what is beyond does not count. Left out: encoders that want a prompt or pool otherwise; they are a
function of the user's own, named in the recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST = 512


def encode(texts: Sequence[str], model: str) -> NDArray[np.float32]:
    """Return one vector for each text, shape (texts, hidden size)."""
    import torch

    tokenizer, network, device = _loaded(model)
    longest = min(LONGEST, getattr(network.config, "max_position_embeddings", LONGEST))
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt").to(device)
    with torch.inference_mode():
        states = network(**batch).last_hidden_state.float()
    mask = batch["attention_mask"].unsqueeze(-1)
    vectors: NDArray[np.float32] = ((states * mask).sum(1) / mask.sum(1).clamp(min=1)).cpu().numpy()
    return vectors


@cache
def _loaded(model: str) -> tuple[Any, Any, Any]:
    import torch
    from transformers import AutoModel, AutoTokenizer

    from recipes.sections import shipped

    place = str(shipped(model))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = AutoTokenizer.from_pretrained(place)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, AutoModel.from_pretrained(place).to(device).eval(), device
