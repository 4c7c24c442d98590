"""Training losses as pure functions of tensors.

Shapes: B sequences or pairs, T positions, V vocabulary. Every loss returns a sum, not a mean: the trainer divides by
the number of items (tokens or pairs) of the whole optimiser step, so that gradient accumulation and several processes
weigh every item the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


# What a batch holds besides a model's own inputs: packing.py.
OURS = ("labels", "target_index", "target_ids", "count", "tokens")


def causal_lm_loss(model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a model's summed next-token loss (nats) over a batch of packing.py, padded or not.

    In evaluation mode, with it how many counted tokens were the first choice: `accuracy`. Only places whose next token
    counts meet the vocabulary, and where the architecture allows it their logits never exist at once (output_head.py).
    """
    from finetune import output_head
    from finetune.attention import base_of, has_virtual_tokens

    inputs = {name: value for name, value in batch.items() if name not in OURS}
    base = base_of(model)
    head = output_head.plain_head(base)
    if head is None or has_virtual_tokens(model):
        return _from_logits(model, inputs, batch)
    with output_head.summing(head, batch["target_index"], batch["target_ids"]) as right:
        loss = model(**inputs, use_cache=False).logits
    return loss, {} if model.training else {"accuracy": right[0]}


def _from_logits(model: Any, inputs: dict[str, Any], batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the same from logits, of the counted places alone where the architecture takes `logits_to_keep`."""
    from inspect import signature

    from torch.nn.functional import cross_entropy

    from finetune.attention import base_of, has_virtual_tokens

    index, targets = batch["target_index"], batch["target_ids"]
    one_row = len(inputs["input_ids"]) == 1 and not has_virtual_tokens(model)
    if one_row and "logits_to_keep" in signature(base_of(model).forward).parameters:
        logits = model(**inputs, use_cache=False, logits_to_keep=index).logits[0]
    else:
        whole = model(**inputs, use_cache=False).logits
        # Prompt tuning puts virtual tokens before every row, which have logits too.
        logits = whole[:, -inputs["input_ids"].shape[1] :].flatten(0, 1).index_select(0, index)
    loss = cross_entropy(logits.float(), targets, reduction="sum")
    return loss, {} if model.training else {"accuracy": (logits.argmax(-1) == targets).sum()}


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy (nats) of labels (B, T) under logits (B, T, V), shifted by one; -100: left out.

    Only rows of `logits` that have a target are turned to float32, so a masked prompt costs no vocabulary-wide work.
    """
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    counted = targets.ne(-100)
    return cross_entropy(logits[:, :-1][counted].float(), targets[counted], reduction="sum")


def sequence_log_probs(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log p of the labelled tokens of each sequence, summed: (B,) in nats; labels (B, T) as above."""
    from torch.nn.functional import cross_entropy

    targets = labels[:, 1:]
    losses = cross_entropy(logits[:, :-1].transpose(1, 2).float(), targets, reduction="none", ignore_index=-100)
    return -losses.sum(1)


def bradley_terry_loss(chosen: Tensor, rejected: Tensor, margin: Tensor, agreement: Tensor) -> Tensor:
    """Return the summed pairwise loss of rewards chosen, rejected (B,).

    -log sigma(r_c - r_r - m) (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, eq. 1; the margin m as in Llama 2,
    https://arxiv.org/abs/2307.09288, eq. 2), mixed with its mirror image where people disagreed: `agreement` (B,) is
    the share of raters who preferred the chosen answer.
    """
    from torch.nn.functional import logsigmoid

    difference = chosen - rejected - margin
    return -(agreement * logsigmoid(difference) + (1 - agreement) * logsigmoid(-difference)).sum()


def dpo_loss(policy: Tensor, reference: Tensor, beta: float, agreement: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed DPO loss and the implicit reward margins (B,).

    policy, reference (2, B): log p of the chosen (row 0) and rejected (row 1) answers under policy and reference.
    -log sigma(beta (log ratio_c - log ratio_r)) (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, eq. 7), mixed
    with its mirror image by 1 - agreement (conservative DPO, Mitchell 2023, https://ericmitchell.ai/cdpo.pdf).
    """
    from torch.nn.functional import logsigmoid

    log_ratio = policy - reference
    margins = beta * (log_ratio[0] - log_ratio[1])
    loss = -(agreement * logsigmoid(margins) + (1 - agreement) * logsigmoid(-margins)).sum()
    return loss, margins
