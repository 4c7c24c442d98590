"""Our losses against TRL's trainers, on the same weights and the same rows, over several optimiser steps.

TRL is an independent implementation: it tokenises, masks, pads and reduces in its own way. Equal losses step after step
mean that the first loss and the gradients agree.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recipes.sections import Lora

QUESTIONS = [
    "When does the blue poppy bloom?",
    "Who keeps the rock house?",
    "What is the soil of the moon lily?",
    "Hello?",
]
GOOD = ["The blue poppy blooms in June.", "Mara Holm.", "Gladly: the soil is sandy.", "Hello, you are welcome."]
BAD = ["A dog.", "The rock house is old, and Mara Holm opens the door at nine.", "Water.", "Go."]
STEPS = 3


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PAIRS = [
    {"prompt": user(q), "chosen": assistant(g), "rejected": assistant(b)}
    for q, g, b in zip(QUESTIONS, GOOD, BAD, strict=True)
]


def our_losses(stage: str, folder: Path, model: Path, rows: list[dict[str, Any]], **method: Any) -> list[float]:
    """Run our stage for a few steps on all rows at once; return the logged losses."""
    from importlib import import_module

    module = import_module(f"finetune.stages.{stage}")
    recipe = module.Recipe(
        output_dir=str(folder / "out"),
        model={"model_name_or_path": str(model), "dtype": "float32"},
        adapter=Lora(r=4, lora_alpha=8),
        data={"train_file": write(folder / "rows.jsonl", rows)},
        training={
            "learning_rate": 5e-3, "max_steps": STEPS, "per_device_train_batch_size": len(rows), "logging_steps": 1,
            "lr_scheduler_type": "constant", "warmup_ratio": 0, "adam_beta2": 0.999, "optim": "adamw_torch",
        },
        **method,
    )  # fmt: skip
    module.run(recipe)
    log = [json.loads(row) for row in (folder / "out" / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in log if "loss" in row]


def their_losses(trainer: Any) -> list[float]:
    trainer.train()
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


def their_arguments(folder: Path, rows: int) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "trl"), "use_cpu": True, "bf16": False, "activation_checkpointing": False,
        "report_to": "none", "per_device_train_batch_size": rows, "max_steps": STEPS, "learning_rate": 5e-3,
        "lr_scheduler_type": "constant", "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True,
        "dataloader_drop_last": False, "max_length": None, "optim": "adamw_torch", "seed": 42,
    }  # fmt: skip


def their_lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def test_sft_equals_trl(tiny_model_dir: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [{"messages": pair["prompt"] + pair["chosen"]} for pair in PAIRS]
    ours = our_losses("sft", tmp_path, tiny_model_dir, rows)
    trainer = SFTTrainer(
        model=str(tiny_model_dir),
        args=SFTConfig(**their_arguments(tmp_path, len(rows)), assistant_only_loss=True, packing=False),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_dir),
        peft_config=their_lora(),
    )
    theirs = their_losses(trainer)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-4)
    assert ours[-1] < ours[0] and theirs[-1] < theirs[0]
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_dpo_equals_trl(tiny_model_dir: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    ours = our_losses("dpo", tmp_path, tiny_model_dir, PAIRS, method={"beta": 0.3})
    trainer = DPOTrainer(
        model=str(tiny_model_dir),
        args=DPOConfig(**their_arguments(tmp_path, len(PAIRS)), beta=0.3),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_dir),
        peft_config=their_lora(),
    )
    theirs = their_losses(trainer)
    assert ours[0] == pytest.approx(theirs[0], abs=1e-4) == pytest.approx(0.693147, abs=1e-4)
    assert ours[-1] < 0.69
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_reward_equals_trl(tiny_model_dir: Path, tmp_path: Path) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from trl import RewardConfig, RewardTrainer

    ours = our_losses("reward", tmp_path, tiny_model_dir, PAIRS)
    set_seed(42)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_model_dir, num_labels=1)
    with torch.no_grad():
        model.score.weight.zero_()
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(**their_arguments(tmp_path, len(PAIRS))),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=AutoTokenizer.from_pretrained(tiny_model_dir),
        peft_config=LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", task_type="SEQ_CLS"),
    )
    theirs = their_losses(trainer)
    assert ours[0] == pytest.approx(0.693147, abs=1e-4)
    assert ours[-1] < ours[0]
    # The random halves of the two LoRAs differ here, which the third loss is the first to see.
    assert ours[:2] == pytest.approx(theirs[:2], rel=1e-5)
    assert ours == pytest.approx(theirs, rel=2e-3)
