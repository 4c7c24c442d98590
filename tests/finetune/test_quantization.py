"""Bases in 4 and 8 bits: adapters learn on them, come back, and load on the full base too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import models, quantization
from recipes import model_faults
from recipes.errors import UserError
from recipes.sections import Adapter, Model, StageRecipe, Training
from tests.finetune.tiny_adapters import IDS, LORA, logits, train
from tests.finetune.tiny_families import build_tiny_encoder


@pytest.mark.parametrize("bits, far", [("nf4", 1.0), ("fp4", 1.5), ("int8", 0.1)])
@pytest.mark.parametrize("section", [LORA, {"peft_type": "ia3"}, LORA | {"modules_to_save": ["lm_head"]}], ids=str)
def test_an_adapter_on_a_quantised_base(
    bits: str, far: float, section: dict[str, Any], tiny_model_dir: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    recipe = Model(model_name_or_path=str(tiny_model_dir), quantization=bits)
    full = logits(models.load(str(tiny_model_dir)).model)
    loaded = models.load_for(recipe)
    held = logits(loaded.model)
    assert 1e-4 < (held - full).abs().max() < far  # quantised indeed, and not broken
    models.add_adapter(loaded, Adapter(**section))
    assert torch.equal(logits(loaded.model), held)
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            if "ia3" in name:
                parameter.mul_(1.5)  # it learns too slowly for a test to see much else
    losses = train(loaded.model, 8)
    assert losses[-1] < losses[0]
    # A validation in between leaves a model in training as it was: bitsandbytes would repack its weights.
    trained = logits(loaded.model)
    loaded.model.train()
    with torch.no_grad():
        now = loaded.model(input_ids=IDS, use_cache=False).logits
    # On CPUs int8 rounds the inputs too, but in evaluation only.
    torch.testing.assert_close(now, trained, atol=0.02 if bits == "int8" else 0, rtol=0)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "out")
    back = models.load(str(tmp_path / "out"), quantize=quantization.settings(recipe))
    assert torch.equal(logits(back.model), trained)
    whole = models.load(str(tmp_path / "out")).model
    assert (logits(whole) - trained).abs().max() < 1.5 * far
    before = logits(whole)
    merged = whole.merge_and_unload()
    assert not any("4bit" in type(one).__name__ or "8bit" in type(one).__name__ for one in merged.modules())
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=0)


def test_loftq_makes_up_for_what_quantisation_lost(tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe = Model(model_name_or_path=str(tiny_model_dir), quantization="nf4")
    plain = models.load(str(tiny_model_dir)).model
    full = logits(plain)
    loaded = models.load_for(recipe)
    lost = (logits(loaded.model) - full).norm()
    models.add_adapter(loaded, Adapter(r=16, lora_alpha=32, init_lora_weights="loftq"))
    model = loaded.model
    assert (logits(model) - full).norm() < 0.5 * lost
    # By hand: s B A is the best rank 16 of what is missing (Eckart-Young: the rest is the other singular values).
    from peft.utils.integrations import dequantize_module_weight

    layer = model.get_base_model().get_submodule("model.layers.0.mlp.down_proj")
    held = dequantize_module_weight(layer.get_base_layer())
    weight = plain.get_submodule("model.layers.0.mlp.down_proj").weight.detach()
    added = 2.0 * layer.lora_B["default"].weight.detach() @ layer.lora_A["default"].weight.detach()
    rest = torch.linalg.svdvals((weight - held).double())[16:].norm()
    assert float((weight - held - added).norm()) == pytest.approx(float(rest), rel=1e-4)
    # What it starts with is part of the quantised base: on the full one nothing has been learned yet.
    models.save(model, loaded.tokenizer, tmp_path / "start")
    torch.testing.assert_close(logits(models.load(str(tmp_path / "start")).model), full, atol=5e-6, rtol=0)
    start = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}
    losses = train(model, 8)
    assert losses[-1] < losses[0] - 0.1
    models.save(model, loaded.tokenizer, tmp_path / "out")
    changed = models.load(str(tmp_path / "out")).model.merge_and_unload()
    own = "base_model.model.model.layers.0.mlp.down_proj.lora_{}.default.weight"
    now = dict(model.named_parameters())
    learned = 2.0 * (now[own.format("B")] @ now[own.format("A")] - start[own.format("B")] @ start[own.format("A")])
    moved = changed.get_submodule("model.layers.0.mlp.down_proj").weight - weight
    torch.testing.assert_close(moved, learned, atol=1e-5, rtol=1e-3)


def test_a_quantised_base_is_not_trained_itself(tiny_model_dir: Path) -> None:
    loaded = models.load_for(Model(model_name_or_path=str(tiny_model_dir), quantization="nf4"))
    with pytest.raises(UserError, match="a base in nf4 cannot be trained itself"):
        models.add_adapter(loaded, None)


class Recipe(StageRecipe):
    model: Model
    adapter: Adapter | None = None
    training: Training


@pytest.mark.parametrize(
    "bits, section, what",
    [
        ("nf4", None, "a base in nf4 cannot be trained itself"),
        ("nf4", LORA | {"init_lora_weights": "pissa"}, "pissa takes the first values out of the base"),
        ("int8", LORA | {"init_lora_weights": "loftq"}, "loftq makes up for 4-bit quantisation"),
        (None, LORA | {"init_lora_weights": "loftq"}, "loftq makes up for 4-bit quantisation"),
        ("int8", LORA | {"use_dora": True}, "DoRA needs the size of each weight"),
    ],
)
def test_what_quantisation_excludes(bits: Any, section: Any, what: str, tiny_model_dir: Path) -> None:
    recipe = Recipe(
        stage="x",
        output_dir="x",
        model=Model(model_name_or_path=str(tiny_model_dir), quantization=bits),
        adapter=None if section is None else Adapter(**section),
        training=Training(learning_rate=1e-3),
    )
    (fault,) = model_faults.faults(recipe)
    assert fault.what.startswith(what)


def test_a_reward_model_learns_on_a_quantised_base(tiny_model_dir: Path, tmp_path: Path) -> None:
    loaded = models.load_reward_base(str(tiny_model_dir), Adapter(**LORA), quantize=quantization.Settings("nf4"))
    with torch.no_grad():
        loaded.model.base_model.model.score.modules_to_save["default"].weight.fill_(0.1)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "reward")
    scores = models.load_reward(str(tmp_path / "reward")).score([[5, 6, 7], [8, 9]])
    assert all(abs(score) > 1e-6 for score in scores)


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_new_heads_of_an_encoder_keep_their_precision(bits: str, tmp_path: Path) -> None:
    encoder = build_tiny_encoder(tmp_path / "bert", ["a text of some words", "and another one"], vocabulary=60)
    base = Model(model_name_or_path=str(encoder), quantization=bits)
    loaded = models.load_for(base, "sequence_classification", ["a", "b"])
    models.add_adapter(loaded, Adapter(r=2))
    ids = torch.randint(5, 40, (4, 6), generator=torch.Generator().manual_seed(0))
    loaded.model.train()
    loaded.model(input_ids=ids, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    trained = {name: one for name, one in loaded.model.named_parameters() if one.requires_grad}
    for part in ("pooler", "classifier"):
        (weight,) = (one for name, one in trained.items() if part in name and name.endswith("weight"))
        assert weight.dtype == torch.float32 and weight.grad.abs().sum() > 0
