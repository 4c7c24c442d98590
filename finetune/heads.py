"""Read a classifier's outputs, whatever its base and its padding.

transformers finds a decoder's last token by the pad id, which is wrong wherever pad and EOS are one token. Here the
attention mask says which tokens are real, and the scores of all tokens are picked from by position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def class_logits(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """Return logits (B, C) of a sequence classifier for right- or left-padded ids (B, T) with their mask (B, T).

    Encoders pool by themselves; a decoder is read at its last real token. The whole classifier is called, not its
    trunk, so that data parallelism sees the forward pass.
    """
    import torch

    inner = model.module if hasattr(model, "module") else model
    classifier = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    if not reads_last_token(classifier):
        return model(input_ids=input_ids, attention_mask=attention_mask, **inputs).logits
    kept: list[torch.Tensor] = []
    hook = classifier.score.register_forward_hook(lambda module, given, output: kept.append(output))
    try:
        model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False, **inputs)
    finally:
        hook.remove()
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (positions * attention_mask.to(positions)).argmax(-1)
    return kept[0][torch.arange(len(last), device=last.device), last]


def reads_last_token(classifier: Any) -> bool:
    """Return whether a sequence classifier is a decoder with a `score` for each token."""
    return hasattr(classifier, "score") and not getattr(classifier.config, "is_encoder_decoder", False)
