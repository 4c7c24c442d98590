"""One base in memory, several roles on it: policy, reference, reward and value are adapters and heads.

    policy      the adapter that is trained ("default", so that it is saved as any other stage's)
    reference   a frozen copy of the adapter that training starts from; no adapter where it starts from whole weights
    reward      the reward model's adapter with its score head, frozen
    value       an adapter of its own with a head, or a head on the policy's states; trained

A role is taken by flipping which adapter each LoRA layer uses, and nothing else. peft's own `set_adapter` also switches
the gradients of all other adapters off: a policy and a value loss in one step would leave the policy without gradients,
silently. With gradient checkpointing the backward pass runs the forward pass again under whatever role is taken then,
so `backward` belongs inside the role too.

Shapes: B answers, T tokens, N answer tokens of a batch one after the other, H hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import LoraConfig, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from finetune.models import right_pad
from recipes.errors import UserError

if TYPE_CHECKING:
    from finetune.models import Loaded

POLICY, REFERENCE, REWARD, VALUE = "default", "ppo_reference", "ppo_reward", "ppo_value"
# Logits of this many numbers at once, at most: (tokens, vocabulary) in float32 is 256 MB.
LOGITS = 2**26
Entropy = Literal["none", "number", "gradient"]


@dataclass(frozen=True)
class Tokens:
    """Prompts with answers, padded on the right: ids (B, T), and for each answer token (N,) the row and position of
    the state that it is chosen in (the token before it) and the token itself."""

    ids: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor


def arrange(pairs: Sequence[tuple[list[int], list[int]]], device: torch.device) -> Tokens:
    """Lay out (prompt ids, answer ids) for one forward pass; an answer's last token is only a target, so not fed."""
    ids, _ = right_pad([prompt + answer[:-1] for prompt, answer in pairs], device)
    rows = [row for row, (_, answer) in enumerate(pairs) for _ in answer]
    positions = [len(prompt) - 1 + step for prompt, answer in pairs for step in range(len(answer))]
    targets = [token for _, answer in pairs for token in answer]
    return Tokens(ids, *(torch.tensor(column, device=device) for column in (rows, positions, targets)))


@dataclass
class RewardFiles:
    """A reward model's adapter on disk: its LoRA weights, shape, and score head."""

    folder: Path
    config: dict[str, Any]
    lora: dict[str, Tensor]
    head: nn.Linear


@dataclass
class Roles:
    """The model with its roles. `adapters` maps a role to its adapter's name, None meaning no adapter."""

    model: Any
    device: torch.device
    adapters: dict[str, str | None]
    reward_head: nn.Linear | None
    value_head: nn.Linear
    _layers: list[BaseTunerLayer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._layers = [module for module in self.model.modules() if isinstance(module, BaseTunerLayer)]
        base = self.model.get_base_model()
        self.trunk, self.head = getattr(base, base.base_model_prefix), base.get_output_embeddings()

    @contextmanager
    def acting(self, role: str) -> Iterator[None]:
        """Let the model be `role` inside the block; gradients' switches stay as they are."""
        adapter = self.adapters[role]
        before = [(layer._active_adapter, layer._disable_adapters) for layer in self._layers]
        for layer in self._layers:
            layer._disable_adapters = adapter is None
            layer._active_adapter = [adapter or POLICY]
        try:
            yield
        finally:
            for layer, (active, disabled) in zip(self._layers, before, strict=True):
                layer._active_adapter, layer._disable_adapters = active, disabled

    def states(self, tokens: Tokens) -> Tensor:
        """Return the hidden states (N, H) that answer tokens are chosen in, under the role that is taken.

        There is no mask: with causal attention no real token sees the padding on its right, and without a mask SDPA
        takes its fast path. Nothing of the size of the vocabulary is computed for prompt tokens.
        """
        hidden = self.trunk(input_ids=tokens.ids, use_cache=False).last_hidden_state
        return hidden[tokens.rows, tokens.positions]

    def log_probs(
        self, states: Tensor, targets: Tensor, temperature: float, entropy: Entropy = "none"
    ) -> tuple[Tensor, Tensor]:
        """Return log p (N,) of the answer tokens in nats, at the sampling temperature, and where asked for the entropy
        (N,) of the distributions they come from, as a plain number or with its gradient; else zeros.

        Logits of many tokens are made piece by piece, and again in the backward pass: never all at once.
        """
        rows = max(1, LOGITS // self.head.weight.shape[0])
        pieces = [
            self._piece(len(targets) > rows, part, wanted, temperature, entropy)
            for part, wanted in zip(states.split(rows), targets.split(rows), strict=True)
        ]
        return torch.cat([piece[0] for piece in pieces]), torch.cat([piece[1] for piece in pieces])

    def _piece(self, again: bool, *arguments: Any) -> tuple[Tensor, Tensor]:
        if again and torch.is_grad_enabled():
            return checkpoint(self._log_probs, *arguments, use_reentrant=False)
        return self._log_probs(*arguments)

    def _log_probs(
        self, states: Tensor, targets: Tensor, temperature: float, entropy: Entropy
    ) -> tuple[Tensor, Tensor]:
        logits = self.head(states).float() / temperature
        log_probs = -nn.functional.cross_entropy(logits, targets, reduction="none")
        if entropy == "none":
            return log_probs, torch.zeros_like(log_probs)
        log_p = torch.log_softmax(logits if entropy == "gradient" else logits.detach(), -1)
        return log_probs, -(log_p.exp() * log_p).sum(-1)

    def values(self, states: Tensor) -> Tensor:
        """Return V (N,) of states (N, H) of the value role."""
        return self.value_head(states.float()).squeeze(-1)

    def scores(self, sequences: Sequence[list[int]], batch_size: int) -> list[float]:
        """Return the reward model's score of each whole sequence, read at its last token."""
        assert self.reward_head is not None
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        found = [0.0] * len(sequences)
        with self.acting("reward"), torch.no_grad():
            for start in range(0, len(order), batch_size):
                chunk = order[start : start + batch_size]
                ids, last = right_pad([sequences[index] for index in chunk], self.device)
                hidden = self.trunk(input_ids=ids, use_cache=False).last_hidden_state
                states = hidden[torch.arange(len(last), device=self.device), last]
                for index, score in zip(chunk, self.reward_head(states.float()).squeeze(-1).tolist(), strict=True):
                    found[index] = score
        return found

    @property
    def shares_trunk(self) -> bool:
        """Return whether the value function reads the policy's own states."""
        return self.adapters["value"] == self.adapters["policy"]

    def policy_parameters(self) -> list[nn.Parameter]:
        """Return what the policy's loss trains."""
        return self._adapter_parameters(POLICY)

    def value_parameters(self) -> list[nn.Parameter]:
        """Return what only the value loss trains."""
        own = [] if self.shares_trunk else self._adapter_parameters(VALUE)
        return [*own, *self.value_head.parameters()]

    def _adapter_parameters(self, adapter: str) -> list[nn.Parameter]:
        found: list[nn.Parameter] = []
        for layer in self._layers:
            for kind in layer.adapter_layer_names:
                weights = getattr(layer, kind)
                if adapter in weights:
                    own = weights[adapter]
                    found += own.parameters() if isinstance(own, nn.Module) else [own]
        return found

    def trained_state(self) -> dict[str, Any]:
        """Return the weights that training changes."""
        state = {"policy": get_peft_model_state_dict(self.model, adapter_name=POLICY)}
        if not self.shares_trunk:
            state["value"] = get_peft_model_state_dict(self.model, adapter_name=VALUE)
        state["value_head"] = self.value_head.state_dict()
        return {name: {key: value.detach().cpu() for key, value in part.items()} for name, part in state.items()}

    def load_trained_state(self, state: dict[str, Any]) -> None:
        """Take the weights of `trained_state` back."""
        set_peft_model_state_dict(self.model, state["policy"], adapter_name=POLICY)
        if not self.shares_trunk:
            set_peft_model_state_dict(self.model, state["value"], adapter_name=VALUE)
        self.value_head.load_state_dict(state["value_head"])

    def leave_policy_only(self) -> None:
        """Take every adapter but the policy's away, so that the model can be saved as any other stage's."""
        for adapter in {REFERENCE, REWARD, VALUE} & set(self.model.peft_config):
            self.model.delete_adapter(adapter)


def build(loaded: Loaded, reward: RewardFiles | None, value_function: str) -> Roles:
    """Put the roles on a loaded policy (whose adapter "default" is the one to train).

    `value_function` is "reward", "policy" or "shared" (see settings.py).
    """
    model = loaded.model
    refuse_whole_modules(model.peft_config[POLICY].to_dict(), str(loaded.adapter or loaded.base))
    adapters: dict[str, str | None] = {"policy": POLICY, "reference": None, "value": VALUE}
    if loaded.adapter:
        adapters["reference"] = REFERENCE
        _copy_adapter(model, POLICY, REFERENCE)
    if reward:
        adapters["reward"] = REWARD
        _add_reward(model, reward)
    hidden = model.get_base_model().config.get_text_config().hidden_size
    head = nn.Linear(hidden, 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    if value_function == "shared":
        adapters["value"] = POLICY
    else:
        _copy_adapter(model, REWARD if value_function == "reward" else POLICY, VALUE)
    if value_function == "reward":
        assert reward is not None
        head.load_state_dict(reward.head.state_dict())
    model.requires_grad_(False)
    roles = Roles(
        model, loaded.device, adapters, reward.head.to(loaded.device) if reward else None, head.to(loaded.device)
    )
    if roles.reward_head is not None:
        roles.reward_head.requires_grad_(False)
    for parameter in [*roles.policy_parameters(), *roles.value_parameters()]:
        parameter.requires_grad_(True)
    silence_dropout(model)
    return roles


def silence_dropout(model: nn.Module) -> None:
    """Switch dropout off: with it, sampling and training would see two different policies (Huang et al. 2024)."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0


def _copy_adapter(model: Any, source: str, target: str) -> None:
    weights = get_peft_model_state_dict(model, adapter_name=source)
    config = model.peft_config[source].to_dict()
    _add_adapter(model, target, config, {name: value.clone() for name, value in weights.items()})


def _add_adapter(model: Any, name: str, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Add an adapter of the shape in `config` with `weights` (keys as peft writes them to disk)."""
    kept = ("r", "lora_alpha", "use_rslora", "use_dora", "target_modules", "rank_pattern", "alpha_pattern")
    shape = {key: config[key] for key in (*kept, "layers_to_transform", "layers_pattern", "bias") if config.get(key)}
    model.add_adapter(name, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **shape))
    wanted = set(get_peft_model_state_dict(model, adapter_name=name))
    if wanted != set(weights):
        odd = sorted(wanted ^ set(weights))
        raise UserError(
            name, f"its weights do not fit the base ({len(odd)} differ, {odd[0]} first)", "use an adapter of this base"
        )
    set_peft_model_state_dict(model, weights, adapter_name=name)


def _add_reward(model: Any, reward: RewardFiles) -> None:
    try:
        _add_adapter(model, REWARD, reward.config, reward.lora)
    except UserError as error:
        raise UserError(str(reward.folder), error.what, "name a reward model that was trained on this base") from None


def refuse_whole_modules(config: dict[str, Any], where: str) -> None:
    """Refuse adapters that bring more than LoRA layers; a role could not switch the rest.

    Raises:
        UserError: the adapter trains whole modules or single tokens, or is not LoRA.
    """
    whole = [name for name in config.get("modules_to_save") or () if name not in ("score", "classifier")]
    kind = getattr(config.get("peft_type"), "value", config.get("peft_type"))
    if kind != "LORA" or whole or config.get("trainable_token_indices"):
        what = f"this adapter is not LoRA layers alone ({kind}{', ' + ', '.join(whole) if whole else ''})"
        raise UserError(where, what, "merge it into its base first and start from the merged model")


def read_reward(folder: Path) -> RewardFiles:
    """Read a reward model's adapter with its score head.

    peft loads such an adapter onto a language model without a word and drops the head; so it is read here, from
    adapter_model.safetensors or, beside it, score.safetensors.

    Raises:
        UserError: there is no score head, or it has more than one output.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    refuse_whole_modules(config, str(folder))
    weights = load_file(folder / "adapter_model.safetensors")
    if (folder / "score.safetensors").exists():
        beside = load_file(folder / "score.safetensors")
        weights |= {f"score.{name.split('.')[-1]}": value for name, value in beside.items()}
    lora = {name: value for name, value in weights.items() if ".lora_" in name}
    rest = {name: value.float() for name, value in weights.items() if ".lora_" not in name}
    matrices = [value for name, value in rest.items() if name.endswith("weight")]
    biases = [value for name, value in rest.items() if name.endswith("bias")]
    if len(matrices) != 1 or matrices[0].shape[0] != 1 or len(biases) > 1:
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in sorted(rest.items())) or "nothing"
        raise UserError(
            str(folder), f"not a reward model: beside LoRA layers it holds {found}", "name a `stage: reward` folder"
        )
    head = nn.Linear(matrices[0].shape[1], 1)
    with torch.no_grad():
        head.weight.copy_(matrices[0])
        head.bias.copy_(biases[0]) if biases else head.bias.zero_()
    return RewardFiles(folder, config, lora, head)
