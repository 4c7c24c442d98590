"""Full fine-tuning of a part: what `model.freeze` names stays as it is, the rest is trained.

Works by walking parameter names, for every architecture: a layer is what stands in a module list of blocks and is
named by its number (`model.layers.3.`, `encoder.block.0.`, `h.11.`).
"""

from __future__ import annotations

import re
from typing import Any

from recipes.errors import UserError
from recipes.sections import Freeze

LAYER = re.compile(r"\.(?:layers?|h|blocks?)\.(\d+)\.")


def freeze(model: Any, section: Freeze) -> None:
    """Set requires_grad of every parameter by a recipe's section.

    Raises:
        UserError: a layer or pattern that the model does not have, or nothing is left to train.
    """
    names = dict(model.named_parameters())
    _check(section, list(names))
    embeddings = {id(model.get_input_embeddings().weight)} if section.embeddings else set()
    layers = section.layer_numbers()
    for name, parameter in names.items():
        number = LAYER.search(f".{name}")
        frozen = id(parameter) in embeddings or (number is not None and int(number[1]) in layers)
        frozen = frozen or any(re.search(pattern, name) for pattern in section.modules)
        nevertheless = any(re.search(pattern, name) for pattern in section.unfreeze)
        parameter.requires_grad_(nevertheless or not frozen)
    if not trainable_parameters(model):
        raise UserError("model.freeze", "nothing is left to train", "freeze less, or name what is trained in unfreeze")


def trainable_parameters(model: Any) -> int:
    """Return how many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _check(section: Freeze, names: list[str]) -> None:
    """Refuse what meets no parameter: it would be passed over silently."""
    there = {int(found[1]) for name in names if (found := LAYER.search(f".{name}"))}
    if missing := sorted(section.layer_numbers() - there):
        last = f"the model's layers are 0 to {max(there)}" if there else "the model's layers have no numbers"
        raise UserError("model.freeze.layers", f"there is no layer {missing[0]}", f"{last}: write some of these")
    for key, patterns in (("modules", section.modules), ("unfreeze", section.unfreeze)):
        for pattern in patterns:
            if not any(re.search(pattern, name) for name in names):
                write = f"write a pattern that meets names such as {names[len(names) // 2]}"
                raise UserError(f"model.freeze.{key}", f"{pattern!r} meets no parameter", write)
