"""Adapters, quantised bases, freezing and optimisers in a whole run: cut and gone on is the run that was never cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune import models
from finetune.stages import sft
from recipes import artifact
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
