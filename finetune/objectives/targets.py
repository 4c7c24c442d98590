"""Logits of the tokens that a loss counts, and of no other."""

from __future__ import annotations

from typing import Any

from finetune.objectives import Batch

OURS = {"labels", "target_index", "target_ids", "count", "tokens", "index"}  # what a batch has besides a model's inputs


def target_logits(model: Any, batch: Batch, **keys: Any) -> Any:
    """Return logits (N, V) at the places `target_index`: most of a row may need no product with the whole vocabulary.

    The trunk's output is cut down to them before the model's own head sees it. The pass goes through the model itself,
    not its parts, because processes share gradients there.
    """
    from finetune.attention import base_of

    base = base_of(model)
    trunk = getattr(base, base.base_model_prefix)

    def only_targets(module: Any, inputs: Any, output: Any) -> Any:
        hidden = output.last_hidden_state
        output.last_hidden_state = hidden.flatten(0, 1)[batch["target_index"]][None]
        return output

    hook = trunk.register_forward_hook(only_targets)
    inputs = {name: value for name, value in batch.items() if name not in OURS}
    try:
        logits = model(**inputs, **keys).logits
    finally:
        hook.remove()
    return logits[0]
