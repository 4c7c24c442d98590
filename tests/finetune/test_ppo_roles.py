"""All roles on one base equal separate models: outputs, and gradients of exactly the right parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ppo_world import make_reward, make_roles, make_sft, questions
from safetensors.torch import load_file, save_file

from finetune import models
from finetune.ppo import losses
from finetune.ppo import roles as ppo_roles
from recipes.errors import UserError


@pytest.fixture(scope="module")
def sft(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sft(tiny_model_dir, tmp_path_factory.mktemp("sft"))


@pytest.fixture(scope="module")
def reward(sft: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reward(sft, tmp_path_factory.mktemp("reward"))


def pairs(tokenizer: Any) -> list[tuple[list[int], list[int]]]:
    prompts = [prompt.ids for prompt in questions(tokenizer, 4)]
    return list(zip(prompts, [[7, 8, 9], [300], [20, 1, 30, 40, 1], [5, 6]], strict=True))


def alone(model: Any, rows: list[tuple[list[int], list[int]]], temperature: float) -> torch.Tensor:
    """log p of the answers, each in a pass of its own without any padding, from transformers' own forward."""
    found = []
    for prompt, answer in rows:
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1] / temperature
        found.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).squeeze(1))
    return torch.cat(found)


def test_policy_and_reference_are_the_sft_model(sft: Path, reward: Path) -> None:
    loaded, roles = make_roles(sft, reward, "reward")
    separate = models.load(str(sft)).model
    tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
    with torch.no_grad():
        wanted = alone(separate, pairs(loaded.tokenizer), 0.7)
        for role in ("policy", "reference"):
            with roles.acting(role):
                found, _ = roles.log_probs(roles.states(tokens), tokens.targets, 0.7)
            assert torch.allclose(found, wanted, atol=1e-5)


def test_roles_are_bit_equal_to_separate_models(sft: Path, reward: Path) -> None:
    loaded, roles = make_roles(sft, reward, "reward")
    tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
    copies = {"policy": models.load(str(sft)).model, "reference": models.load(str(sft)).model}
    copies["value"] = copies["reward"] = models.load_reward(str(reward)).model
    with torch.no_grad():
        for role, copy in copies.items():
            base = copy.get_base_model()
            wanted = base.model(input_ids=tokens.ids, use_cache=False).last_hidden_state[tokens.rows, tokens.positions]
            with roles.acting(role):
                assert torch.equal(roles.states(tokens), wanted), role
        head = copies["value"].get_base_model().score
        with roles.acting("value"):
            states = roles.states(tokens)
            assert torch.allclose(roles.values(states), head(states).squeeze(-1), atol=1e-6)


def test_scores_are_those_of_the_reward_stage(sft: Path, reward: Path) -> None:
    loaded, roles = make_roles(sft, reward, "shared")
    sequences = [prompt + answer for prompt, answer in pairs(loaded.tokenizer)]
    wanted = models.load_reward(str(reward)).score(sequences)
    assert roles.scores(sequences, 3) == pytest.approx(wanted, abs=1e-5)
    assert len({round(score, 4) for score in wanted}) == 4


def test_without_an_sft_adapter_the_reference_is_the_bare_base(tiny_model_dir: Path) -> None:
    loaded, roles = make_roles(tiny_model_dir, None, "policy")
    with torch.no_grad():
        for value in roles.policy_parameters():
            value.add_(0.1)
        wanted = alone(models.load(str(tiny_model_dir)).model, pairs(loaded.tokenizer), 1.0)
        tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
        found = {}
        for role in ("reference", "policy"):
            with roles.acting(role):
                found[role], _ = roles.log_probs(roles.states(tokens), tokens.targets, 1.0)
    assert torch.allclose(found["reference"], wanted, atol=1e-5)
    assert not torch.allclose(found["policy"], wanted, atol=1e-2)


def loss_of(role: str, states: torch.Tensor, roles: ppo_roles.Roles, tokens: ppo_roles.Tokens) -> torch.Tensor:
    count = len(tokens.targets)
    advantages = torch.linspace(-1, 1, count)
    if role == "value":
        return losses.value_loss(roles.values(states), torch.zeros(count), advantages, 0.2)[0]
    log_probs, _ = roles.log_probs(states, tokens.targets, 1.0)
    return losses.policy_loss(log_probs, log_probs.detach() + 0.1, advantages, 0.2)[0]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_those_of_separate_models_and_reach_nothing_else(
    sft: Path, reward: Path, checkpointing: bool
) -> None:
    both, separate = {}, {}
    loaded, roles = make_roles(sft, reward, "reward", checkpointing=checkpointing)
    tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
    # One after the other within a step, gradients kept, as in the update.
    for role in ("policy", "value"):
        with roles.acting(role):
            loss_of(role, roles.states(tokens), roles, tokens).backward()
    for role in ("policy", "value"):
        parameters = roles.policy_parameters() if role == "policy" else roles.value_parameters()
        both[role] = [value.grad.clone() for value in parameters]
    trained = {id(value) for value in [*roles.policy_parameters(), *roles.value_parameters()]}
    touched = [name for name, value in loaded.model.named_parameters() if value.grad is not None]
    assert {id(value) for value in loaded.model.parameters() if value.grad is not None} < trained
    assert all("lora_" in name and (".default" in name or ".ppo_value" in name) for name in touched)

    for role in ("policy", "value"):  # a model of its own for each, and no checkpointing
        own, own_roles = make_roles(sft, reward, "reward")
        for name in set(own.model.peft_config) - {own_roles.adapters[role]}:
            if name != "default":
                own.model.delete_adapter(name)
        with own_roles.acting(role):
            loss_of(role, own_roles.states(tokens), own_roles, tokens).backward()
        parameters = own_roles.policy_parameters() if role == "policy" else own_roles.value_parameters()
        separate[role] = [value.grad for value in parameters]
    for role in ("policy", "value"):
        assert sum(float(grad.abs().sum()) for grad in both[role]) > 0
        for one, other in zip(both[role], separate[role], strict=True):
            assert torch.allclose(one, other, atol=1e-6), role


def test_taking_a_role_leaves_gradient_switches_and_the_former_role_alone(sft: Path, reward: Path) -> None:
    loaded, roles = make_roles(sft, reward, "reward")
    before = {name: value.requires_grad for name, value in loaded.model.named_parameters()}
    layer = roles._layers[0]
    with roles.acting("value"):
        with roles.acting("reward"):
            assert layer.active_adapters == ["ppo_reward"]
        assert layer.active_adapters == ["ppo_value"]
    assert layer.active_adapters == ["default"]
    assert before == {name: value.requires_grad for name, value in loaded.model.named_parameters()}
    assert any(before.values())


def test_trained_parameters_are_the_adapters_and_the_head(sft: Path, reward: Path) -> None:
    for value_function, adapters in (("reward", 2), ("policy", 2), ("shared", 1)):
        loaded, roles = make_roles(sft, reward, value_function)
        one = sum(value.numel() for name, value in loaded.model.named_parameters() if ".default." in name)
        trained = sum(value.numel() for value in loaded.model.parameters() if value.requires_grad)
        assert trained == adapters * one
        assert all(value.requires_grad for value in roles.value_head.parameters())
        assert not any(value.requires_grad for value in roles.reward_head.parameters())


def test_entropy_is_that_of_the_distribution(sft: Path) -> None:
    loaded, roles = make_roles(sft, None, "shared")
    tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
    states = roles.states(tokens)
    _, entropy = roles.log_probs(states, tokens.targets, 0.5, "gradient")
    distribution = torch.distributions.Categorical(logits=roles.head(states) / 0.5)
    assert torch.allclose(entropy, distribution.entropy(), atol=1e-5)
    assert entropy.requires_grad
    _, number = roles.log_probs(states, tokens.targets, 0.5, "number")
    assert torch.equal(number, entropy)
    assert not number.requires_grad


def test_logits_in_pieces_change_nothing(sft: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = []
    for limit in (2**26, 400 * 3):  # a vocabulary of 400: three tokens at once
        monkeypatch.setattr(ppo_roles, "LOGITS", limit)
        loaded, roles = make_roles(sft, None, "shared")
        tokens = ppo_roles.arrange(pairs(loaded.tokenizer), loaded.device)
        with roles.acting("policy"):
            log_probs, entropy = roles.log_probs(roles.states(tokens), tokens.targets, 1.0, "gradient")
            (log_probs + entropy).sum().backward()
        gradients.append(torch.cat([value.grad.flatten() for value in roles.policy_parameters()]))
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


def test_the_saved_policy_is_an_ordinary_adapter(sft: Path, reward: Path, tmp_path: Path) -> None:
    loaded, roles = make_roles(sft, reward, "reward")
    state = roles.trained_state()
    roles.leave_policy_only()
    models.save(loaded.model, loaded.tokenizer, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == []
    again = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {name: value.tolist() for name, value in again.items()} == {
        name: value.tolist() for name, value in state["policy"].items()
    }
    assert models.load(str(tmp_path / "out")).adapter == str(tmp_path / "out")


def test_a_score_head_beside_the_adapter_is_read_too(reward: Path, tmp_path: Path) -> None:
    weights = load_file(reward / "adapter_model.safetensors")
    score = {name: value for name, value in weights.items() if "score" in name}
    save_file(
        {name: value for name, value in weights.items() if "score" not in name}, tmp_path / "adapter_model.safetensors"
    )
    (tmp_path / "adapter_config.json").write_bytes((reward / "adapter_config.json").read_bytes())
    with pytest.raises(UserError, match="not a reward model"):
        ppo_roles.read_reward(tmp_path)
    save_file({"weight": next(iter(score.values()))}, tmp_path / "score.safetensors")
    assert torch.equal(ppo_roles.read_reward(tmp_path).head.weight, ppo_roles.read_reward(reward).head.weight)


def test_adapters_that_a_role_cannot_switch_are_refused(sft: Path, reward: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a reward model"):
        ppo_roles.read_reward(sft)
    config = json.loads((reward / "adapter_config.json").read_text())
    for change in ({"modules_to_save": ["embed_tokens"]}, {"peft_type": "IA3"}, {"trainable_token_indices": [3]}):
        (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
        with pytest.raises(UserError, match="not LoRA layers alone"):
            ppo_roles.read_reward(tmp_path)
