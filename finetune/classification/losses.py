"""A classifier's logits and losses.

Shapes: B texts, T tokens, K labels. A loss is a sum over its items (texts, or labelled tokens), each with its weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from recipes.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from finetune.families import Family

Kind = Literal["single", "multi", "tokens"]


def logits_of(model: Any, batch: dict[str, Any], family: Family, kind: Kind) -> Tensor:
    """Return logits (B, K) of texts, or (B, T, K) of tokens.

    A decoder's are read at each text's last token, which the batch says: transformers' own models guess it from the id
    of padding, wrongly where that token is also the end of text. No mask is needed there: nothing is seen to the right.
    """
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = {name: batch[name] for name in names if name in batch}
    if family == "encoder" or kind == "tokens":
        logits: Tensor = model(**inputs).logits
        return logits
    return _at_last_token(model, batch)


def _at_last_token(model: Any, batch: dict[str, Any]) -> Tensor:
    """Return the score head's output (B, K) at the positions `last`, from one pass through the whole model.

    The pass goes through the model itself, not its parts, because processes share gradients there.
    """
    import torch

    from finetune.attention import base_of

    head = next((module for name, module in model.named_modules() if name.rpartition(".")[2] == "score"), None)
    if head is None:
        what = f"{type(base_of(model)).__name__} has no head called score, which could be read at a text's last token"
        raise UserError("model.model_name_or_path", what, "name another decoder, or an encoder")
    found: list[Tensor] = []
    hook = head.register_forward_hook(lambda _, inputs, output: found.append(output))
    try:
        model(input_ids=batch["input_ids"], use_cache=False)
    finally:
        hook.remove()
    return found[-1][torch.arange(len(batch["last"]), device=batch["last"].device), batch["last"]]


def loss_of(
    family: Family, kind: Kind, *, weights: Sequence[float] | None = None, label_smoothing: float = 0.0,
    seen: Callable[[dict[str, Any], Any], None] | None = None,
) -> Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]:  # fmt: skip
    """Return the loss of a kind of classifier; `seen` is handed each batch of a validation with its logits."""

    def loss(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        logits = logits_of(model, batch, family, kind).float()
        if seen is not None and not model.training:
            seen(batch, logits)
        if kind == "single":
            return single_loss(logits, batch["target"], batch["weight"], label_smoothing), {}
        if kind == "multi":
            return multi_loss(logits, batch["target"], batch["weight"], weights), {}
        return token_loss(logits, batch["labels"], weights, label_smoothing), {}

    return loss


def single_loss(logits: Tensor, target: Tensor, weight: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the summed cross-entropy (nats) of target (B,) under logits (B, K), each text with its weight (B,)."""
    from torch.nn.functional import cross_entropy

    return (weight * cross_entropy(logits, target, reduction="none", label_smoothing=label_smoothing)).sum()


def multi_loss(logits: Tensor, target: Tensor, weight: Tensor, positive: Sequence[float] | None = None) -> Tensor:
    """Return the binary cross-entropy (nats) of target (B, K), its mean over labels, summed over texts by their weight.

    `positive` is what a label counts where it applies.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    positive_weight = None if positive is None else logits.new_tensor(positive)
    each = binary_cross_entropy_with_logits(logits, target, reduction="none", pos_weight=positive_weight)
    return (weight * each.mean(1)).sum()


def token_loss(
    logits: Tensor, labels: Tensor, weights: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the summed cross-entropy (nats) of labels (B, T) under logits (B, T, K); -100: left out.

    `weights` is what a label counts; smoothing leaves it as it is.
    """
    from torch.nn.functional import cross_entropy

    counted = labels != -100
    wanted = labels[counted]
    each = cross_entropy(logits[counted], wanted, reduction="none", label_smoothing=label_smoothing)
    return each.sum() if weights is None else (logits.new_tensor(weights)[wanted] * each).sum()


def best(logits: Any, kind: Kind) -> Any:
    """Return what measures need of logits: the probability of each label that may apply, else the best label."""
    return logits.sigmoid() if kind == "multi" else logits.argmax(-1)
