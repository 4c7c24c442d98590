"""Optimisers: each that runs here learns, goes on from a checkpoint bit for bit, and does what its paper says."""

from __future__ import annotations

import copy
import importlib.util
import io
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments
from transformers.training_args import OptimizerNames

from finetune import optimizers
from recipes.optimizers import LEFT_OUT, NAMES, argument, faults
from recipes.sections import Adapter, Training

IDS = torch.randint(0, 300, (4, 16), generator=torch.Generator().manual_seed(0))
RATES = {"sgd": 0.5, "adagrad": 0.02}
GPU_ONLY = {"galore_adamw_8bit"}
HERE = [
    name for name, one in NAMES.items()
    if name not in GPU_ONLY and (one.module is None or importlib.util.find_spec(one.module))
]  # fmt: skip


def tiny(dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=300, num_key_value_heads=2, **shape)).to(dtype)


def arguments(name: str, **keys: Any) -> TrainingArguments:
    values = {"learning_rate": RATES.get(name, 2e-3), "weight_decay": 0.01, "use_cpu": True, "report_to": "none"}
    if NAMES[name].low_rank:
        values["optim_args"] = "rank=8,update_proj_gap=3"
    return TrainingArguments(output_dir="unused", optim=argument(name), **{**values, **keys})


def steps(model: Any, optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    losses = []
    for _ in range(count):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", HERE)
def test_an_optimiser_learns_and_goes_on_from_a_checkpoint(name: str, dtype: torch.dtype) -> None:
    model = tiny(dtype)
    optimizer = optimizers.create(model, name, arguments(name))
    losses = steps(model, optimizer, 4)
    saved, weights = io.BytesIO(), copy.deepcopy(model.state_dict())
    torch.save(optimizer.state_dict(), saved)
    losses += steps(model, optimizer, 4)
    assert losses[-1] < losses[0] - 0.5

    resumed = tiny(dtype)
    resumed.load_state_dict(weights)
    again = optimizers.create(resumed, name, arguments(name))
    saved.seek(0)
    again.load_state_dict(torch.load(saved, weights_only=True))  # as transformers loads it
    assert steps(resumed, again, 4) == losses[4:]
    for (key, one), other in zip(model.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other), key


def test_names_are_those_of_transformers() -> None:
    assert {name.value for name in OptimizerNames} | {"muon"} == NAMES.keys() | LEFT_OUT.keys()


def test_masters_keep_steps_that_bfloat16_rounds_away() -> None:
    """A hundred steps of 1e-5 on a weight of 1: bfloat16 alone stays at 1, the master comes to 0.999."""
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    model.weight.data.fill_(1.0)
    bare = copy.deepcopy(model)
    optimizer = optimizers.create(model, "adamw_torch", arguments("adamw_torch", learning_rate=1e-5, weight_decay=0.0))
    alone = torch.optim.AdamW(bare.parameters(), lr=1e-5, weight_decay=0.0)
    for _ in range(100):
        for one, chosen in ((model, optimizer), (bare, alone)):
            one.weight.grad = torch.ones_like(one.weight)
            chosen.step()
    assert isinstance(optimizer, optimizers.Assembled)
    master = optimizer.masters[0][1]
    assert bare.weight.item() == 1.0
    assert master.item() == pytest.approx(1 - 100 * 1e-5, abs=1e-5) and master.dtype == torch.float32


def test_masters_make_bfloat16_follow_float32() -> None:
    """Against plain AdamW on float32 copies that is given the same gradients, by hand."""
    model = tiny(torch.bfloat16)
    optimizer = optimizers.create(model, "adamw_torch", arguments("adamw_torch", weight_decay=0.0))
    copies = {name: one.detach().float().requires_grad_() for name, one in model.named_parameters()}
    plain = torch.optim.AdamW(copies.values(), lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    for _ in range(3):
        model(input_ids=IDS, labels=IDS).loss.backward()
        for name, one in model.named_parameters():
            copies[name].grad = one.grad.float()
        optimizer.step()
        plain.step()
        optimizer.zero_grad()
        assert all(one.grad is None for one in model.parameters())
    for name, one in model.named_parameters():
        assert torch.equal(one, copies[name].to(torch.bfloat16)), name


def test_muon_is_for_the_matrices_of_the_layers() -> None:
    model = tiny()
    optimizer = optimizers.create(model, "muon", arguments("muon"))
    assert isinstance(optimizer, optimizers.Assembled)
    muon, adamw = optimizer.inner
    names = {id(one): name for name, one in model.named_parameters()}
    matrices = {names[id(one)] for group in muon.param_groups for one in group["params"]}
    rest = {names[id(one)] for group in adamw.param_groups for one in group["params"]}
    assert matrices == {name for name in names.values() if name.endswith("_proj.weight")} and len(matrices) == 14
    assert matrices | rest == set(names.values()) and "lm_head.weight" in rest
    # Its step is orthogonal: Newton-Schulz brings all singular values near one size, 0.2 sqrt(widest side) x rate.
    weight = model.model.layers[0].mlp.up_proj.weight
    before = weight.detach().clone()
    muon.param_groups[0]["weight_decay"] = 0.0
    steps(model, optimizer, 1)
    sizes = torch.linalg.svdvals(before - weight.detach()) / (2e-3 * 0.2 * 128**0.5)
    assert int((sizes > 0.5).sum()) >= 60 and sizes.max() < 1.4  # but for directions without a gradient


@pytest.mark.parametrize("name", [name for name in ("galore_adamw", "apollo_adamw") if name in HERE])
def test_projected_moments_are_small(name: str) -> None:
    """Of a 128 x 64 matrix only 8 x 64 or 128 x 8 moments are kept; weight decay and betas are the recipe's."""
    model = tiny()
    optimizer = optimizers.create(model, name, arguments(name, adam_beta2=0.95))
    assert isinstance(optimizer, optimizers.Assembled)
    steps(model, optimizer, 1)
    inner = optimizer.inner[0]
    assert {group["betas"] for group in inner.param_groups} == {(0.9, 0.95)}
    assert {group["weight_decay"] for group in inner.param_groups if "rank" in group} == {0.01}
    up = inner.state[model.model.layers[0].mlp.up_proj.weight]["exp_avg"]
    assert 8 in up.shape and up.numel() <= 128 * 8
    assert inner.state[model.lm_head.weight]["exp_avg"].shape == (300, 64)


def test_eight_bits_are_eight_bits() -> None:
    model = tiny()
    optimizer = optimizers.create(model, "adamw_8bit", arguments("adamw_8bit"))
    steps(model, optimizer, 1)
    assert optimizer.state[model.model.layers[0].mlp.up_proj.weight]["state1"].dtype == torch.uint8
    assert optimizer.state[model.model.embed_tokens.weight]["state1"].dtype == torch.float32


def test_groups_are_those_of_transformers_and_of_lora_plus() -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny(), LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.loraplus_lr_ratio = 16.0
    optimizer = optimizers.create(model, "adamw_torch", arguments("adamw_torch"))
    names = {id(one): name for name, one in model.named_parameters()}
    rates = {names[id(one)]: group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert len(rates) == 28
    assert {rate for name, rate in rates.items() if "lora_A" in name} == {2e-3}
    assert {rate for name, rate in rates.items() if "lora_B" in name} == {32e-3}
    plain = tiny()
    decays = {
        name: group["weight_decay"]
        for group in optimizers.parameter_groups(plain, arguments("adamw_torch"))
        for name, one in plain.named_parameters()
        if any(one is other for other in group["params"])
    }
    assert {name for name, decay in decays.items() if decay == 0} == {name for name in decays if "norm" in name}
    assert len(decays) == len(list(plain.parameters()))


def test_frozen_weights_are_no_part_of_any_group() -> None:
    model = tiny()
    model.model.layers[0].requires_grad_(False)
    for name in ("adamw_torch", "muon", *(name for name in ("galore_adamw",) if name in HERE)):
        optimizer = optimizers.create(model, name, arguments(name))
        count = sum(len(group["params"]) for group in optimizer.param_groups)
        assert count == sum(one.requires_grad for one in model.parameters())


@pytest.mark.parametrize(
    "name, what, write",
    [
        ("adam_8bit", "there is no optimiser adam_8bit", "did you mean adamw_8bit?"),
        ("lomo", "lomo is left out: it steps within the backward pass", "write galore_adamw or adafactor"),
        ("galore_adamw_layerwise", "galore_adamw_layerwise is left out: its state lies in hooks", "write galore_adamw"),
        ("schedule_free_adamw", "schedule_free_adamw is left out", "write adamw_torch_fused with a schedule"),
    ],
)
def test_names_that_are_refused(name: str, what: str, write: str) -> None:
    (fault,) = faults(Training(learning_rate=1e-3, optim=name))
    assert fault.what.startswith(what) and fault.write == write and fault.key == ("training", "optim")


@pytest.mark.parametrize(
    "name, extra, what, write",
    [
        ("muon", {"optim_args": "momentun=0.9"}, "muon has no argument 'momentun=0.9'", "did you mean momentum=...?"),
        ("sgd", {"optim_args": "momentum"}, "sgd has no argument 'momentum'", "did you mean momentum=...?"),
        ("adamw_torch", {"optim_args": "rank=8"}, "adamw_torch reads no optim_args", "leave it out"),
        ("sgd", {"optim_target_modules": "all-linear"}, "sgd treats all weights alike", "leave it out, or write muon"),
    ],
)
def test_arguments_that_the_optimiser_would_not_read(name: str, extra: dict[str, Any], what: str, write: str) -> None:
    (fault,) = faults(Training(learning_rate=1e-3, optim=name, extra=extra))
    assert fault.what == what and fault.write.startswith(write)
    good = {"optim_args": "momentum = 0.9", "optim_target_modules": ["q_proj"]}
    assert faults(Training(learning_rate=1e-3, optim="muon", extra=good)) == []


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (fault,) = faults(Training(learning_rate=1e-3, optim="apollo_adamw"))
    assert fault.what == "apollo_adamw needs a package that is not installed"
    assert fault.write == "pip install apollo-torch"


def test_low_rank_steps_are_for_whole_matrices() -> None:
    found = faults(Training(learning_rate=1e-3, optim="galore_adamw"), Adapter())
    assert any("an adapter's are small already" in fault.what for fault in found)
