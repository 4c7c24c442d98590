"""The section that says which small set of new weights is trained on a frozen base; its names are those of peft.

LoRA and what grew from it: LoRA (Hu et al. 2021, https://arxiv.org/abs/2106.09685), rsLoRA (https://arxiv.org/abs/2312.03732),
DoRA (https://arxiv.org/abs/2402.09353), the first values of PiSSA (https://arxiv.org/abs/2404.02948), OLoRA
(https://arxiv.org/abs/2406.01775) and LoftQ (https://arxiv.org/abs/2310.08659). Besides: IA³
(https://arxiv.org/abs/2205.05638) and prompt tuning (https://arxiv.org/abs/2104.08691). Left out: what peft has beyond
these; EVA, which needs data to start.
"""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from recipes.section_types import Section

# The keys that each kind of adapter reads, besides `peft_type`.
KEYS = {
    "lora": {
        *("r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules", "use_rslora", "use_dora"),
        *("init_lora_weights", "layers_to_transform", "rank_pattern", "alpha_pattern", "modules_to_save"),
        "loraplus_lr_ratio",
    },
    "ia3": {"target_modules", "feedforward_modules", "exclude_modules", "modules_to_save"},
    "prompt_tuning": {"num_virtual_tokens", "prompt_tuning_init_text", "modules_to_save"},
}
STARTS = ("gaussian", "orthogonal", "pissa", "olora", "loftq")
PISSA = re.compile(r"pissa(_niter_[1-9]\d*)?")


class Adapter(Section):
    """An adapter on a frozen base. Absent: all weights are trained."""

    peft_type: Literal["lora", "ia3", "prompt_tuning"] = "lora"
    r: int = Field(16, ge=1)
    lora_alpha: int = Field(32, ge=1)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: str | list[str] = Field(
        "all-linear", description="all-linear, a regular expression, or endings of names such as q_proj."
    )
    exclude_modules: str | list[str] | None = None
    feedforward_modules: list[str] | None = Field(
        None, description="ia3: those of target_modules whose input is scaled; absent: as peft has it for the base."
    )
    use_rslora: bool = False
    use_dora: bool = False
    init_lora_weights: bool | str = Field(
        True,
        description="true, gaussian, orthogonal, pissa, pissa_niter_N, olora, or loftq (needs model.quantization).",
    )
    layers_to_transform: list[int] | None = Field(None, min_length=1, description="Only these layers, counted from 0.")
    rank_pattern: dict[str, int] = Field(default_factory=dict, description="Other ranks by pattern of module names.")
    alpha_pattern: dict[str, int] = Field(default_factory=dict)
    modules_to_save: list[str] | None = Field(None, description="Modules that are trained and saved whole.")
    loraplus_lr_ratio: float | None = Field(
        None, gt=0, description="LoRA+: how many times A's learning rate B has (https://arxiv.org/abs/2402.12354)."
    )
    num_virtual_tokens: int = Field(20, ge=1)
    prompt_tuning_init_text: str | None = Field(None, min_length=1, description="The virtual tokens start as these.")

    @property
    def virtual_tokens(self) -> int:
        """Return how many positions stand before each row; packed rows are impossible then."""
        return self.num_virtual_tokens if self.peft_type == "prompt_tuning" else 0

    @property
    def is_plain_lora(self) -> bool:
        """Return whether the adapter is LoRA layers on a base that stays as it is, and nothing besides."""
        others = self.use_dora or self.moves_base or self.init_lora_weights == "loftq" or self.modules_to_save
        return self.peft_type == "lora" and not others

    @property
    def moves_base(self) -> bool:
        """Return whether the first values are taken out of the base, which is another one while training lasts.

        What is saved stands on the original base again. With the adapter off, a model in training is not the base.
        """
        start = self.init_lora_weights
        return self.peft_type == "lora" and isinstance(start, str) and start.startswith(("pissa", "olora"))

    @model_validator(mode="after")
    def _keys_of_this_kind(self) -> Self:
        """Refuse keys that another kind of adapter reads: they would be passed over."""
        odd = sorted(self.model_fields_set - KEYS[self.peft_type] - {"peft_type"})
        if odd:
            kinds = [kind for kind, keys in KEYS.items() if odd[0] in keys]
            what = f"peft_type {self.peft_type} has no {', '.join(odd)}"
            write = f"write peft_type: {kinds[0]}, or leave {'it' if len(odd) == 1 else 'them'} out"
            raise PydanticCustomError("mistake", "{what}", {"what": what, "write": write})
        return self

    @model_validator(mode="after")
    def _known_start(self) -> Self:
        """Refuse first values that peft does not know, or that do not go with the other keys."""
        start = self.init_lora_weights
        if isinstance(start, str) and start not in STARTS and not PISSA.fullmatch(start):
            write = f"write true, {', '.join(STARTS[:-1])}, pissa_niter_N or loftq"
            what = f"init_lora_weights: {start} is no way to start"
            raise PydanticCustomError("mistake", "{what}", {"what": what, "write": write})
        if start is False:
            what = "init_lora_weights: false starts B at random, so the model is broken before the first step"
            raise PydanticCustomError(
                "mistake", "{what}", {"what": what, "write": "write true, or another way to start"}
            )
        if self.use_dora and (self.moves_base or start == "loftq"):
            what = f"use_dora with init_lora_weights: {start}: DoRA's magnitudes belong to the original base"
            raise PydanticCustomError("mistake", "{what}", {"what": what, "write": "leave one of them out"})
        if self.use_rslora and (self.rank_pattern or self.alpha_pattern) and (self.moves_base or start == "loftq"):
            what = f"use_rslora with rank_pattern or alpha_pattern and init_lora_weights: {start} cannot be saved"
            raise PydanticCustomError("mistake", "{what}", {"what": what, "write": "leave one of them out"})
        return self


Lora = Adapter  # the name before there were other kinds
