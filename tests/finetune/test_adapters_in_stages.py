"""Adapters, quantised bases, freezing and optimisers in a whole run: cut and gone on is the run that was never cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.stages import tokenizer as tokenizer_stage
from finetune import models
from finetune.stages import cpt, sft
from recipes import artifact, model_faults
from recipes.sections import Adapter, Model, Training
from tests.finetune.cut_runs import cut_and_go_on

QUESTIONS = ["When does the blue poppy bloom?", "Who keeps the rock house?", "Where does the fern grow?"]
ANSWERS = ["In June.", "Mara Holm keeps it.", "It grows in the rock house."]
CASES: dict[str, dict[str, Any]] = {
    "pissa": {"adapter": {"r": 4, "init_lora_weights": "pissa_niter_4", "lora_dropout": 0.1}},
    "qlora from loftq, lora+": {
        "model": {"quantization": "nf4"},
        "adapter": {"r": 4, "init_lora_weights": "loftq", "loraplus_lr_ratio": 4.0},
    },
    "ia3 on int8": {"model": {"quantization": "int8"}, "adapter": {"peft_type": "ia3"}},
    "prompt tuning": {"adapter": {"peft_type": "prompt_tuning", "num_virtual_tokens": 4}},
    "frozen, muon": {"model": {"freeze": {"layers": "0", "embeddings": True}}, "training": {"optim": "muon"}},
    "frozen, bfloat16 with masters": {"model": {"dtype": "bfloat16", "freeze": {"layers": "0"}}},
    "whole, 8 bits": {"training": {"optim": "adamw_8bit", "weight_decay": 0.01}},
}
TRAINED = {"prompt tuning": 4 * 32, "pissa": 4096, "ia3 on int8": 192}


def recipe(case: str, folder: Path, base: Path, name: str) -> sft.Recipe:
    values: dict[str, Any] = {
        "output_dir": str(folder / name),
        "model": {"model_name_or_path": str(base)},
        "data": {"train_file": str(folder / "talks.jsonl"), "max_length": 128},
        "training": {"learning_rate": 1e-3, "max_steps": 4, "per_device_train_batch_size": 2, "save_steps": 2},
    }
    for key, section in CASES[case].items():
        values[key] = values.get(key, {}) | section
    return sft.Recipe.model_validate(values)


@pytest.mark.parametrize("case", CASES)
def test_a_cut_run_ends_as_the_uncut_one(
    case: str, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in zip(QUESTIONS * 4, ANSWERS * 4, strict=True)
    ]
    (tmp_path / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    sft.run(recipe(case, tmp_path, tiny_model_dir, "whole"))
    cut = cut_and_go_on(sft, recipe(case, tmp_path, tiny_model_dir, "cut"), 1, monkeypatch)
    for file in ("adapter_model.safetensors", "model.safetensors"):
        one, other = tmp_path / "whole" / file, cut / file
        assert one.exists() == other.exists() and (not one.exists() or one.read_bytes() == other.read_bytes())
    manifest = artifact.read(tmp_path / "whole")
    assert manifest is not None
    if case in TRAINED:
        assert manifest.metrics["trainable_parameters"] == TRAINED[case]
    assert models.load(str(cut)).model is not None


def test_stages_say_which_adapters_they_cannot_take(tiny_model_dir: Path) -> None:
    base = {"model_name_or_path": str(tiny_model_dir)}
    longer = cpt.Recipe.model_construct(
        model=Model(**base), adapter=Adapter(peft_type="ia3"), tokenizer="longer", training=Training(learning_rate=1e-3)
    )
    (fault,) = model_faults.faults(longer)
    assert fault.what == "ia3 trains no embeddings, which new tokens need"
    wrong = Adapter(init_lora_weights="olora", modules_to_save=["lm_head"])
    found = model_faults.lora_alone(Model(quantization="nf4", **base), wrong)
    assert [fault.key for fault in found] == [
        ("adapter", "init_lora_weights"), ("adapter", "modules_to_save"), ("model", "quantization"),
    ]  # fmt: skip
    assert model_faults.lora_alone(Model(**base), Adapter(r=4)) == []


@pytest.mark.parametrize("tied", [True, False])
def test_continued_pretraining_with_new_tokens_and_an_adapter(
    tied: bool, tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model_dir
    if not tied:
        whole = models.load(str(base))
        whole.model.config.tie_word_embeddings = False
        whole.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(whole.model.lm_head.weight) * 0.02)
        base = tmp_path / "untied"
        models.save(whole.model, whole.tokenizer, base)
    texts = ["Insulin is a hormone of the pancreas.", "The syndrome affects the kidneys and the pancreas."] * 20
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    keys = {"inputs": [str(tmp_path / "texts.jsonl")], "extend": str(base), "new_tokens": 8, "min_count": 10}
    tokenizer_stage.run(tokenizer_stage.Recipe(output_dir=str(tmp_path / "longer"), **keys))

    def made(name: str) -> cpt.Recipe:
        values: dict[str, Any] = {
            "output_dir": str(tmp_path / name),
            "model": {"model_name_or_path": str(base)},
            "adapter": {"r": 4},
            "tokenizer": str(tmp_path / "longer"),
            "data": {"train_file": str(tmp_path / "texts.jsonl"), "max_length": 32},
            "training": {"learning_rate": 1e-2, "max_steps": 4, "per_device_train_batch_size": 2, "save_steps": 2},
        }
        return cpt.Recipe.model_validate(values)

    assert made("whole").faults() == []
    cpt.run(made("whole"))
    cut = cut_and_go_on(cpt, made("cut"), 1, monkeypatch)
    weights = [folder / "adapter_model.safetensors" for folder in (tmp_path / "whole", cut)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    manifest = artifact.read(cut)
    assert manifest is not None
    assert manifest.metrics["trainable_parameters"] == 4096 + 8 * 32 * (1 if tied else 2)
    loaded = models.load(str(cut))
    assert len(loaded.tokenizer) == 408
    ids = torch.tensor([[400, 401, 402, 403, 404, 405, 406, 407]])
    with torch.no_grad():
        adapted = loaded.model(input_ids=ids).logits
        merged = loaded.model.merge_and_unload()(input_ids=ids).logits
    torch.testing.assert_close(merged, adapted, atol=1e-5, rtol=0)
