"""The optimisers that `training.optim` may name, what each needs, and what it does not go with.

The names are those of transformers' `OptimizerNames` (5.24; a test compares), and `muon`, which torch has and
transformers has not. What is left out is refused with the reason: most of it keeps state that no checkpoint holds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

from recipes.adapter_section import Adapter
from recipes.finding import nearest
from recipes.section_types import Fault, Key
from recipes.training_section import Training


@dataclass(frozen=True)
class Optimizer:
    """What an optimiser needs: a module that can be imported, how to get it, which hardware; and its kind."""

    module: str | None = None
    install: str = ""
    low_rank: bool = False
    note: str = ""


BITSANDBYTES = Optimizer("bitsandbytes", "bitsandbytes")
PAGED = Optimizer("bitsandbytes", "bitsandbytes", note="its state moves to main memory when a GPU's is full")
GALORE = Optimizer("galore_torch", "galore_torch", low_rank=True)
APOLLO = Optimizer("apollo_torch", "apollo-torch", low_rank=True)
TORCHAO = Optimizer("torchao", "torchao")
NAMES: dict[str, Optimizer] = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"), Optimizer()),
    "muon": Optimizer(note="orthogonal steps for the matrices of the layers, AdamW for the rest"),
    **dict.fromkeys(("adamw_bnb_8bit", "adamw_8bit", "ademamix", "ademamix_8bit"), BITSANDBYTES),
    **dict.fromkeys(("lion_8bit", "lion_32bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit"), BITSANDBYTES),
    **dict.fromkeys(("paged_adamw_32bit", "paged_adamw_8bit", "paged_ademamix_32bit"), PAGED),
    **dict.fromkeys(("paged_ademamix_8bit", "paged_lion_32bit", "paged_lion_8bit"), PAGED),
    **dict.fromkeys(("galore_adamw", "galore_adamw_8bit", "galore_adafactor"), GALORE),
    "apollo_adamw": APOLLO,
    "adamw_torch_4bit": TORCHAO,
    "adamw_torch_8bit": TORCHAO,
    "stable_adamw": Optimizer("optimi", "torch-optimi"),
}
# What `training.extra.optim_args` may say, by optimiser: whatever else stands there would be passed over.
LOW_RANK_OPTIONS = ("rank", "update_proj_gap", "scale", "proj_type")
ADEMAMIX_OPTIONS = ("beta1", "beta2", "beta3", "alpha", "eps", "t_alpha", "t_beta3")
OPTIONS: dict[str, tuple[str, ...]] = {
    "muon": ("momentum",),
    **{name: LOW_RANK_OPTIONS for name, one in NAMES.items() if one is GALORE},
    "apollo_adamw": (*LOW_RANK_OPTIONS, "proj", "scale_type"),
    **{name: ADEMAMIX_OPTIONS for name in NAMES if "ademamix" in name},
    "sgd": ("momentum", "dampening", "nesterov"),
    "adagrad": ("lr_decay", "eps"),
    "rmsprop": ("momentum", "alpha", "eps", "centered"),
    "stable_adamw": ("max_lr", "kahan_sum", "decouple_lr"),
}
# transformers' other names: why not, and what instead.
LAYERWISE = ("its state lies in hooks that no checkpoint holds, so a resumed run would differ", "without _layerwise")
SCHEDULE_FREE = ("it trains other weights than it validates and saves", "adamw_torch_fused with a schedule")
LOMO = ("it steps within the backward pass, before the items of the whole step are known", "galore_adamw or adafactor")
LEFT_OUT: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise"), LAYERWISE),
    "apollo_adamw_layerwise": LAYERWISE,
    **dict.fromkeys(("schedule_free_adamw", "schedule_free_radam", "schedule_free_sgd"), SCHEDULE_FREE),
    "lomo": LOMO,
    "adalomo": LOMO,
    "grokadamw": ("its state does not survive a checkpoint, so a resumed run would differ", "adamw_torch_fused"),
    "adamw_torch_xla": ("it needs a TPU", "adamw_torch_fused"),
    "adamw_torch_npu_fused": ("it needs an Ascend NPU", "adamw_torch_fused"),
    "adamw_anyprecision": ("its package torchdistx is no longer made", "adamw_torch_fused, whose weights are float32"),
}


def faults(training: Training, adapter: Adapter | None = None) -> list[Fault]:
    """Return what stands against a recipe's optimiser: unknown, not installed, or not with an adapter."""
    name, key = training.optim, ("training", "optim")
    if name in LEFT_OUT:
        reason, instead = LEFT_OUT[name]
        write = f"write {name.removesuffix('_layerwise')}" if instead.startswith("without") else f"write {instead}"
        return [Fault(key, f"{name} is left out: {reason}", write)]
    if name not in NAMES:
        return [_unknown(key, name)]
    wanted, found = NAMES[name], list(_options(training))
    if wanted.module and importlib.util.find_spec(wanted.module) is None:
        found.append(Fault(key, f"{name} needs a package that is not installed", f"pip install {wanted.install}"))
    if wanted.low_rank and adapter is not None:
        what = f"{name} projects the gradients of whole matrices, and an adapter's are small already"
        found.append(Fault(key, what, "write adamw_torch_fused, or leave the `adapter` section out"))
    if adapter is not None and adapter.loraplus_lr_ratio and name == "muon":
        what = "muon sets the size of its steps by itself, so B cannot have a learning rate of its own"
        found.append(Fault(("adapter", "loraplus_lr_ratio"), what, "leave it out, or write optim: adamw_torch_fused"))
    return found


def _options(training: Training) -> Iterator[Fault]:
    """Yield what the optimiser would not read of its arguments under `training.extra`."""
    name, key = training.optim, ("training", "extra", "optim_args")
    known = OPTIONS.get(name, ())
    for part in filter(None, str(training.extra.get("optim_args") or "").replace(" ", "").split(",")):
        option, is_given, _ = part.partition("=")
        if not known:
            yield Fault(key, f"{name} reads no optim_args", "leave it out")
            break
        if option not in known or not is_given:
            guess = nearest(option, [*known])
            write = f"did you mean {guess}=...?" if guess else f"write {', '.join(f'{one}=...' for one in known)}"
            yield Fault(key, f"{name} has no argument {part!r}", write)
    if training.extra.get("optim_target_modules") and not (name == "muon" or NAMES[name].low_rank):
        what = f"{name} treats all weights alike"
        yield Fault(("training", "extra", "optim_target_modules"), what, "leave it out, or write muon or galore_adamw")


def _unknown(key: Key, name: str) -> Fault:
    guess = nearest(name, [*NAMES])
    write = f"did you mean {guess}?" if guess else f"write one of {', '.join(sorted(NAMES))}"
    return Fault(key, f"there is no optimiser {name}", write)


def argument(name: str) -> str:
    """Return the name for transformers' TrainingArguments; the optimiser itself is made in finetune/optimizers.py."""
    return "adamw_torch" if name == "muon" else name
