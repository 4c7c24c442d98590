"""Make a run's optimiser: parameter groups, float32 masters of narrow weights, and state that checkpoints can hold.

What differs from transformers' own, and why:
- Trained weights in bfloat16 get float32 masters. Steps of AdamW are some 1e-5 while bfloat16 has 8 bits, so most would
  be rounded away. bfloat16 weights, float32 master and two moments are 14 bytes a parameter, as many as float32 weights
  under autocast with none of its casts.
- GaLore (Zhao et al. 2024, https://arxiv.org/abs/2403.03507) and APOLLO (https://arxiv.org/abs/2412.05270) take betas
  and weight decay, which transformers does not hand on, and by default every matrix of the layers is projected. Their
  projections are written into checkpoints as plain values (torch refuses to load theirs).
- Muon (https://arxiv.org/abs/2502.16982): orthogonal steps for the matrices of the layers, AdamW for embeddings, heads,
  norms and biases; the size of the steps is matched to AdamW's, so one learning rate does for both.
- LoRA+ (https://arxiv.org/abs/2402.12354): B has its own learning rate.
Weight decay leaves out biases and norms, as transformers does.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from recipes.errors import UserError
from recipes.optimizers import NAMES

RATIO = "loraplus_lr_ratio"  # on a peft model: how many times A's learning rate B has
NARROW = (torch.bfloat16, torch.float16)
PROJECTOR = "projector"
WHOLE = re.compile(r"(embed|lm_head|score|classifier|\bwte\b|\bwpe\b|shared\.)")


def create(model: Any, name: str, arguments: TrainingArguments, *, sharded: bool = False) -> torch.optim.Optimizer:
    """Return the optimiser that a recipe names for what `model` trains.

    `sharded` (FSDP, DeepSpeed): these keep masters of their own.
    """
    groups = parameter_groups(model, arguments)
    masters: list[tuple[torch.nn.Parameter, torch.nn.Parameter]] = []
    if name == "muon" or NAMES[name].low_rank:
        groups = _with_matrices_apart(model, groups, arguments)
    if not sharded and any(weight.dtype in NARROW for group in groups for weight in group["params"]):
        groups, masters = _with_masters(groups)
    if name == "muon":
        inner = _muon(groups, arguments)
    elif NAMES[name].low_rank:
        inner = [_low_rank(name, groups, arguments)]
    else:
        inner = [_plain(model, groups, arguments)]
    projected = NAMES[name].low_rank
    return Assembled(inner, masters) if masters or projected or len(inner) > 1 else inner[0]


def parameter_groups(model: Any, arguments: TrainingArguments) -> list[dict[str, Any]]:
    """Return trained parameters with and without weight decay, B of LoRA+ apart; no empty group."""
    ratio = getattr(model, RATIO, None)
    decayed = _decayed(model)
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            faster = ratio is not None and ".lora_B." in name
            groups.setdefault((faster, name not in decayed), []).append(parameter)
    found = []
    # The first group's learning rate is the one that is logged.
    for (faster, still), parameters in sorted(groups.items()):
        group = {"params": parameters, "weight_decay": 0.0 if still else arguments.weight_decay}
        if faster:
            group["lr"] = arguments.learning_rate * ratio
        found.append(group)
    return found


def _decayed(model: Any) -> set[str]:
    """Return the names that weight decay applies to, by transformers' own rule."""
    return set(Trainer.get_decay_parameter_names(None, model))


def _with_matrices_apart(
    model: Any, groups: list[dict[str, Any]], arguments: TrainingArguments
) -> list[dict[str, Any]]:
    """Return groups in which the matrices of the layers (or the named target modules) stand apart, as `matrices`."""
    wanted = arguments.optim_target_modules
    patterns = [wanted] if isinstance(wanted, str) else wanted
    chosen = set()
    for name, parameter in model.named_parameters():
        named = not patterns or patterns[0] == "all-linear" or any(re.search(pattern, name) for pattern in patterns)
        if parameter.dim() == 2 and named and not WHOLE.search(name):
            chosen.add(id(parameter))
    found = []
    for group in groups:
        for apart in (True, False):
            part = [parameter for parameter in group["params"] if (id(parameter) in chosen) == apart]
            if part:
                found.append({**group, "params": part, "matrices": apart})
    return found


def _with_masters(groups: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[tuple[Any, Any]]]:
    """Return groups with a float32 copy in place of each narrow weight, and the pairs (weight, copy)."""
    pairs = []
    found = []
    for group in groups:
        parameters = []
        for weight in group["params"]:
            if weight.dtype in NARROW:
                master = torch.nn.Parameter(weight.detach().float().clone())
                pairs.append((weight, master))
                parameters.append(master)
            else:
                parameters.append(weight)
        found.append({**group, "params": parameters})
    return found, pairs


def _plain(model: Any, groups: list[dict[str, Any]], arguments: TrainingArguments) -> torch.optim.Optimizer:
    """Return an optimiser as transformers sets it up, on our groups."""
    kind, values = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    optimizer = kind(groups, **values)
    if values.get("optim_bits") == 8:
        from bitsandbytes.optim import GlobalOptimManager

        # Embeddings keep 32 bits: rows that are seldom seen have few steps to average over.
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                GlobalOptimManager.get_instance().register_module_override(module, "weight", {"optim_bits": 32})
    return optimizer


def _options(arguments: TrainingArguments) -> dict[str, str]:
    """Return `optim_args` (`rank=64,scale=0.25`) as a table."""
    parts = (arguments.optim_args or "").replace(" ", "").split(",")
    return dict(part.split("=", 1) for part in parts if part)


def _adam(arguments: TrainingArguments) -> dict[str, Any]:
    return {"betas": (arguments.adam_beta1, arguments.adam_beta2), "eps": arguments.adam_epsilon}


def _muon(groups: list[dict[str, Any]], arguments: TrainingArguments) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers, and AdamW for the rest."""
    options = _options(arguments)
    matrices = [_without_mark(group) for group in groups if group["matrices"]]
    rest = [_without_mark(group) for group in groups if not group["matrices"]]
    found: list[torch.optim.Optimizer] = []
    if matrices:
        momentum = float(options.get("momentum", 0.95))
        rate = arguments.learning_rate
        found.append(torch.optim.Muon(matrices, lr=rate, momentum=momentum, adjust_lr_fn="match_rms_adamw"))
    if rest:
        found.append(torch.optim.AdamW(rest, lr=arguments.learning_rate, **_adam(arguments)))
    return found


def _without_mark(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "matrices"}


def _low_rank(name: str, groups: list[dict[str, Any]], arguments: TrainingArguments) -> torch.optim.Optimizer:
    """Return GaLore or APOLLO with the matrices of the layers projected to a low rank."""
    if name == "galore_adamw_8bit" and not torch.cuda.is_available():
        raise UserError("training.optim", f"{name} runs on NVIDIA GPUs only", "write galore_adamw")
    options = _options(arguments)
    shape: dict[str, Any] = {
        "rank": int(options.get("rank", 128)),
        "update_proj_gap": int(options.get("update_proj_gap", 200)),
        "scale": float(options.get("scale", 1.0 if name.startswith("apollo") else 0.25)),
        "proj_type": options.get("proj_type", "std"),
    }
    if name.startswith("apollo"):
        shape |= {"proj": options.get("proj", "random"), "scale_type": options.get("scale_type", "channel")}
    groups = [_without_mark(group) | (shape if group["matrices"] else {}) for group in groups]
    rate = arguments.learning_rate
    if name == "galore_adafactor":
        from galore_torch import GaLoreAdafactor

        return GaLoreAdafactor(groups, lr=rate, scale_parameter=False, relative_step=False)
    if name == "galore_adamw_8bit":
        from galore_torch import GaLoreAdamW8bit

        return GaLoreAdamW8bit(groups, lr=rate, **_adam(arguments))
    if name == "galore_adamw":
        from galore_torch import GaLoreAdamW

        return GaLoreAdamW(groups, lr=rate, no_deprecation_warning=True, **_adam(arguments))
    from apollo_torch import APOLLOAdamW

    return APOLLOAdamW(groups, lr=rate, **_adam(arguments))


class Assembled(torch.optim.Optimizer):
    """Several optimisers as one, with float32 masters of narrow weights, and state that is plain values throughout."""

    def __init__(
        self,
        inner: list[torch.optim.Optimizer],
        masters: list[tuple[torch.nn.Parameter, torch.nn.Parameter]],
    ) -> None:
        self.inner, self.masters = inner, masters
        # The groups are those of the inner ones, so a schedule sets their learning rates.
        super().__init__([group for one in inner for group in one.param_groups], {})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step: gradients go to the masters, and the masters' new values to the weights."""
        loss = closure() if closure is not None else None
        for weight, master in self.masters:
            master.grad = None if weight.grad is None else weight.grad.to(master.dtype)
        for one in self.inner:
            one.step()
        for weight, master in self.masters:
            weight.copy_(master)
            master.grad = None
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of weights and masters."""
        for one in self.inner:
            one.zero_grad(set_to_none)
        for weight, _ in self.masters:
            weight.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all inner optimisers and the masters."""
        states = [one.state_dict() for one in self.inner]
        projectors = [_projectors(one) for one in self.inner]
        for state in states:
            state["state"] = {index: _without_projector(entry) for index, entry in state["state"].items()}
        return {"inner": states, "projectors": projectors, "masters": [master.detach() for _, master in self.masters]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        for one, state, projectors in zip(self.inner, state_dict["inner"], state_dict["projectors"], strict=True):
            one.load_state_dict(state)
            for parameter, values in zip(_parameters(one), projectors, strict=True):
                if values:
                    one.state[parameter][PROJECTOR] = _projector(values)
        for (_, master), value in zip(self.masters, state_dict["masters"], strict=True):
            master.copy_(value)
        # Loading replaced the inner groups.
        self.param_groups[:] = [group for one in self.inner for group in one.param_groups]


def _parameters(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _projectors(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Return the attributes of each parameter's projector; torch's own loading would not know the class."""
    states = [optimizer.state.get(parameter, {}) for parameter in _parameters(optimizer)]
    return [dict(vars(state[PROJECTOR])) if PROJECTOR in state else {} for state in states]


def _without_projector(entry: Any) -> Any:
    return {key: value for key, value in entry.items() if key != PROJECTOR} if isinstance(entry, dict) else entry


def _projector(values: dict[str, Any]) -> Any:
    if "seed" in values:
        from apollo_torch.random_projector import GradientProjector as Kind
    else:
        from galore_torch.galore_projector import GaLoreProjector as Kind
    found = Kind.__new__(Kind)
    vars(found).update(values)
    return found
