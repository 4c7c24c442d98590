"""What the stages refuse at check, by a model's config.json and the first rows alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.stages import classify, cpt, dpo, seq2seq, sft
from recipes.sections import Fault

KINDS: dict[str, dict[str, Any]] = {
    "decoder": {"model_type": "gpt2", "n_positions": 64},
    "encoder": {"model_type": "bert", "max_position_embeddings": 64},
    "encoder_decoder": {"model_type": "t5", "is_encoder_decoder": True},
}
TRAINING = {"learning_rate": 1e-3}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, config in KINDS.items():
        Path(name).mkdir()
        Path(name, "config.json").write_text(json.dumps(config))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    row = {
        "source": "a",
        "target": "b",
        "text": "a",
        "label": "b",
        "messages": turns,
        "prompt": turns[:1],
        "chosen": turns[1:],
        "rejected": turns[1:],
    }
    Path("rows.jsonl").write_text(json.dumps(row) + "\n")


def of_model(stage: Any, model: str, **data: Any) -> Any:
    return stage.Recipe.model_validate(
        {"output_dir": "out", "model": {"model_name_or_path": model}, "training": TRAINING}
        | {"data": {"train_file": "rows.jsonl", **data}}
    )


@pytest.mark.parametrize("stage", [sft, dpo])
def test_who_does_not_talk_is_refused(stage: Any) -> None:
    assert of_model(stage, "decoder").faults() == []
    for model in ("encoder", "encoder_decoder"):
        (fault,) = of_model(stage, model).faults()
        assert fault.key == ("model", "model_name_or_path")
        assert fault.what.startswith(f"{model} is an ") and fault.what.endswith("goes on from left to right")


@pytest.mark.parametrize("stage", [sft, dpo, seq2seq])
def test_a_classifier_writes_nothing(stage: Any) -> None:
    Path("judge").mkdir()
    Path("judge/config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}')
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text('{"base_model_name_or_path": "decoder", "task_type": "TOKEN_CLS"}')
    lengths = {"max_source_length": 20, "max_target_length": 20} if stage is seq2seq else {}
    for model, head in (("judge", "LlamaForSequenceClassification"), ("adapter", "TOKEN_CLS")):
        (fault,) = of_model(stage, model, **lengths).faults()
        what = f"{model} has the head of a classifier or reward model ({head}), which writes no text"
        assert fault == Fault(("model", "model_name_or_path"), what, "name the model that it was trained from")


def test_conversations_are_no_longer_than_the_context() -> None:
    wanted = [Fault(("data", "max_length"), "65 is more than the model's context of 64 tokens", "at most 64")]
    assert of_model(sft, "decoder", max_length=65).faults() == wanted
    assert of_model(sft, "decoder", max_length=64).faults() == []
    default = of_model(sft, "decoder")
    assert default.faults() == [] and default.data.settings(sft.context_of(default)).max_length == 64
    assert default.data.settings(sft.context_of(of_model(sft, "hub/name"))).max_length == 1024


def test_source_and_target_have_room_in_a_row() -> None:
    lengths = {"max_source_length": 40, "max_target_length": 30}
    (fault,) = of_model(seq2seq, "decoder", **lengths).faults()
    assert fault.what == "40 and max_target_length 30 are more than the model's context of 64 tokens"
    assert of_model(seq2seq, "encoder_decoder", **lengths).faults() == []
    assert of_model(seq2seq, "decoder", max_source_length=34, max_target_length=30).faults() == []


@pytest.mark.parametrize(
    "stage, keys, metric, write",
    [
        (sft, {}, "bleu", "write one of accuracy, loss"),
        (sft, {"evaluation": {"metrics": ["bleu"]}}, "blue", "did you mean bleu? one of accuracy, bleu, loss"),
        (seq2seq, {"generation": {"samples": 0}}, "bleu", "write one of accuracy, loss"),
        (classify, {}, "f1_marco", "did you mean f1_macro? one of accuracy, f1_macro, loss"),
        (cpt, {}, "general_loss", "write one of accuracy, bits_per_byte, loss"),
    ],
)
def test_a_metric_that_no_validation_reports(stage: Any, keys: dict[str, Any], metric: str, write: str) -> None:
    def said(name: str) -> list[Fault]:
        values = {"output_dir": "out", "model": {"model_name_or_path": "decoder"}, **keys}
        data: dict[str, Any] = {"train_file": "rows.jsonl", "validation_file": "rows.jsonl"}
        data |= {"max_source_length": 20, "max_target_length": 20} if stage is seq2seq else {"max_length": 32}
        training = {**TRAINING, "eval_steps": 1, "metric_for_best_model": name}
        return list(stage.Recipe.model_validate(values | {"data": data, "training": training}).faults())

    assert said("loss") == said("eval_accuracy") == []
    what = f"no validation reports {metric!r}"
    assert said(metric) == [Fault(("training", "metric_for_best_model"), what, write)]
