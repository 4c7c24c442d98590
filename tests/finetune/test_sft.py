"""The stage itself: metrics of answers at validations, where a saved model stops, noise on the embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from data_prep.records import write_rows
from finetune import answer_metrics, chat, models, packing
from finetune.conversations import conversation
from finetune.stages import sft
from finetune.training import loop
from recipes import artifact
from tests.finetune.cut_runs import cut_and_go_on
from tests.finetune.training.test_loop import Work, rows

ANSWERS = {
    "When does the blue poppy bloom?": "In June.",
    "Who keeps the rock house?": "Mara Holm.",
    "What is the soil of the moon lily?": "Sandy.",
}
TRAINING: dict[str, Any] = {
    "learning_rate": 1e-2, "per_device_train_batch_size": 3, "logging_steps": 1, "warmup_ratio": 0.0, "report_to": [],
    "lr_scheduler_type": "constant",
}  # fmt: skip
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1}


def talk(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    write_rows(tmp_path / "talks.jsonl", [talk(*both) for both in ANSWERS.items()])
    return tmp_path / "talks.jsonl"


def recipe(base: Path, file: Path, name: str, *, training: Any = None, data: Any = None, **keys: Any) -> sft.Recipe:
    return sft.Recipe(
        output_dir=str(file.parent / name), model={"model_name_or_path": str(base)},
        data={"train_file": str(file), "max_length": 128, **(data or {})},
        training={**TRAINING, **(training or {})}, **keys,
    )  # fmt: skip


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (folder / "log.jsonl").read_text().splitlines()]


# --- evaluation


def test_answers_are_measured_at_validations_and_choose_the_best(
    tiny_model_dir: Path, talks: Path, tmp_path: Path
) -> None:
    """The loss goes on falling when every answer is right already: the first such step is the result."""
    wrong = talk("When does the blue poppy bloom?", "In May.")
    asked = recipe(
        tiny_model_dir, talks, "out", data={"validation_file": str(talks)},
        training={"max_steps": 80, "eval_steps": 10, "metric_for_best_model": "exact_match",
                  "load_best_model_at_end": True},
        evaluation={"metrics": ["exact_match", "token_f1"], "generation": {"max_new_tokens": 16}},
    )  # fmt: skip
    assert asked.faults() == []
    sft.run(asked)
    manifest = artifact.read(tmp_path / "out")
    assert manifest is not None
    found = {row["step"]: row["eval_exact_match"] for row in log(tmp_path / "out") if "eval_loss" in row}
    losses = {row["step"]: row["eval_loss"] for row in log(tmp_path / "out") if "eval_loss" in row}
    assert found[10] < 1.0 and list(found) == list(range(10, 81, 10))
    assert manifest.metrics["eval_exact_match"] == manifest.metrics["eval_token_f1"] == 1.0
    assert manifest.metrics["best_step"] == min(step for step, value in found.items() if value == 1.0)
    assert manifest.metrics["best_step"] != min(losses, key=losses.__getitem__)
    loaded = models.load(str(tmp_path / "out"))
    assert asked.evaluation is not None
    given = [conversation(row, "here") for row in (*[talk(*both) for both in ANSWERS.items()], wrong)]
    for samples, expected in ((4, 0.75), (3, 1.0)):  # from the first
        asked.evaluation.validation_samples = samples
        score = answer_metrics.scorer(asked.evaluation, loaded.tokenizer, given, seed=0)
        assert score(loaded.model)["exact_match"] == expected


# --- where an answer ends


@pytest.mark.parametrize("adapter", [None, LORA], ids=["full", "lora"])
def test_what_ends_an_answer_is_saved_for_servers(
    adapter: Any, tiny_model_dir: Path, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EOS and the template's end of turn, which are two tokens here; a run that goes on writes the same."""
    loaded = models.load(str(tiny_model_dir))
    loaded.tokenizer.eos_token = "<|user|>"
    models.save(loaded.model, loaded.tokenizer, tmp_path / "base")
    keys: dict[str, Any] = {"adapter": adapter, "training": {"max_steps": 4, "save_steps": 2}}
    sft.run(recipe(tmp_path / "base", talks, "whole", **keys))
    whole = tmp_path / "whole"
    tokenizer = models.load_tokenizer(str(whole))
    ends = tokenizer.convert_tokens_to_ids(["<|end|>", "<|user|>"])
    assert GenerationConfig.from_pretrained(whole).eos_token_id == chat.end_ids(tokenizer) == sorted(ends)
    assert (whole / "adapter_config.json").exists() == bool(adapter)
    cut = cut_and_go_on(sft, recipe(tmp_path / "base", talks, "cut", **keys), 1, monkeypatch)
    assert (cut / "generation_config.json").read_bytes() == (whole / "generation_config.json").read_bytes()


# --- noise on the embeddings


def test_noise_is_in_training_alone(tiny_model_dir: Path, tmp_path: Path) -> None:
    data, hooked = rows(6), []

    def fit(name: str, alpha: float | None) -> tuple[Any, list[dict[str, Any]]]:
        loaded = models.load(str(tiny_model_dir), trainable=True)
        embeddings = loaded.model.get_input_embeddings()

        def score(model: Any) -> dict[str, float]:
            hooked.append(len(embeddings._forward_hooks))
            return {}

        training = {**TRAINING, "learning_rate": 1e-30, "max_steps": 4, "eval_steps": 1, "neftune_noise_alpha": alpha}
        (tmp_path / name).mkdir()
        loop.fit(
            loaded.model, loop.Training.model_validate(training), data, data, loss=sft.answer_loss,
            collate=packing.collate_tokens, work=Work(tmp_path / name), seed=1, name="test", score=score,
        )  # fmt: skip
        return loaded.model, log(tmp_path / name)

    _, plain = fit("plain", None)
    model, noisy = fit("noisy", 20.0)
    assert hooked == [0] * 8  # at validations it is not even there
    losses = [[row["loss"] for row in one if "loss" in row] for one in (plain, noisy)]
    assert all(one != pytest.approx(other, rel=1e-4) for one, other in zip(*losses, strict=True))
    checked = [[row["eval_loss"] for row in one if "eval_loss" in row] for one in (plain, noisy)]
    assert checked[0] == checked[1] and len(checked[0]) == 4
    assert not model.get_input_embeddings()._forward_hooks
    ids = torch.tensor([data[0]["input_ids"]])
    embeddings = model.train().get_input_embeddings()
    assert torch.equal(embeddings(ids)[0], embeddings.weight[ids[0]])


@pytest.mark.parametrize("adapter", [None, LORA], ids=["full", "lora"])
def test_a_cut_run_with_noise_is_the_uncut_one(
    adapter: Any, tiny_model_dir: Path, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(name: str, alpha: float | None = 5.0) -> sft.Recipe:
        training = {"max_steps": 4, "save_steps": 1, "per_device_train_batch_size": 2, "neftune_noise_alpha": alpha}
        return recipe(tiny_model_dir, talks, name, adapter=adapter, training=training)

    for one in (asked("whole"), asked("plain", None)):
        sft.run(one)
    cut = cut_and_go_on(sft, asked("cut"), 3, monkeypatch)
    file = "adapter_model.safetensors" if adapter else "model.safetensors"
    assert (cut / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert (cut / file).read_bytes() != (tmp_path / "plain" / file).read_bytes()
