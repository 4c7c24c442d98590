"""Reward models: a base with a scalar head, read at the last token; loaded to be trained, or to score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetune import quantization
from finetune.adapters import add_adapter, attach
from finetune.bases import adapter_settings, base_of, load_tokenizer
from finetune.loaded import Loaded, device_of, dtype_of, right_pad
from recipes.errors import UserError
from recipes.sections import Adapter

if TYPE_CHECKING:
    import torch


@dataclass
class Reward:
    """A reward model: a base with a scalar head, read at the last token."""

    model: Any
    tokenizer: Any
    device: torch.device

    def score(self, sequences: list[list[int]], *, batch_size: int = 64) -> list[float]:
        """Return the reward of each whole sequence (prompt and answer ids, without padding)."""
        import torch

        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        scores = [0.0] * len(sequences)
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                chunk = order[start : start + batch_size]
                ids, last = right_pad([sequences[index] for index in chunk], self.device)
                for index, value in zip(chunk, last_token_scores(self.model, ids, last).tolist(), strict=True):
                    scores[index] = value
        return scores


def last_token_scores(model: Any, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return the scalar head's output (B,) at the positions `last` (B,) of right-padded ids (B, T).

    The trunk is called directly: transformers' classification models guess the last token from the pad id, which is
    wrong wherever pad and EOS are the same token. No mask is needed: nothing sees what stands to its right.
    """
    import torch

    classifier = model.get_base_model() if hasattr(model, "get_base_model") else model
    trunk = getattr(classifier, classifier.base_model_prefix)
    hidden = trunk(input_ids=ids, use_cache=False).last_hidden_state
    rows = torch.arange(len(last), device=hidden.device)
    return classifier.score(hidden[rows, last]).squeeze(-1).float()


def load_reward_base(
    ref: str,
    adapter: Adapter,
    *,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    quantize: quantization.Settings | None = None,
) -> Loaded:
    """Load `ref` with a fresh scalar head for training as a reward model; its adapter, if any, is copied and goes on.

    The head starts at zero, so that before training every answer has the same reward and the loss is ln 2.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    base, former = base_of(ref)
    where = device_of()
    kind = dtype_of(dtype, where)
    arguments: dict[str, Any] = {"dtype": kind, "attn_implementation": attn_implementation}
    if quantize:
        arguments |= {"quantization_config": quantization.config(quantize, kind), "device_map": {"": where}}
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, **arguments)
    if quantize:
        quantization.steady(model)
    with torch.no_grad():
        model.score.weight.zero_()
    tokenizer = load_tokenizer(former or base)
    loaded = Loaded(model, tokenizer, where, base, former, "sequence_classification")
    loaded.quantization = quantize.kind if quantize else None
    add_adapter(loaded, adapter)
    loaded.model.config.pad_token_id = tokenizer.pad_token_id
    if not quantize:
        loaded.model.to(where)
    return loaded


def load_reward(ref: str, *, dtype: str = "auto", device: str | None = None) -> Reward:
    """Load a finished reward model (a LoRA adapter with a score head on its base, or a whole classifier).

    Raises:
        UserError: `ref` is not a reward model, or its base is gone or another one.
    """
    from transformers import AutoModelForSequenceClassification

    base, adapter = base_of(ref)
    if adapter:
        task = adapter_settings(adapter).get("task_type")
        if task != "SEQ_CLS":
            raise UserError(adapter, f"not a reward model but an adapter for {task}", "name a `stage: reward` folder")
    where = device_of(device)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=dtype_of(dtype, where))
    if adapter:
        model = attach(model, adapter)
    model.to(where).eval()
    return Reward(model, load_tokenizer(adapter or base), where)
