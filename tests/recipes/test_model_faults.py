"""Mistakes in the sections that say what is trained, told at check: word for word, before a model is loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from recipes import model_faults
from recipes.sections import Adapter, Model, Section, StageRecipe, Training

NAMES = ["model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj", "model.norm"]
ASKED = {"learning_rate": 1e-3, "eval_steps": 1}


class Data(Section):
    validation_file: str | None = None


class Recipe(StageRecipe):
    model: Model
    adapter: Adapter | None = None
    data: Data
    training: Training


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    Path("base/config.json").write_text("{}")
    shapes = {f"{name}.weight": {"dtype": "F32", "shape": [0, 2], "data_offsets": [0, 0]} for name in NAMES}
    header = json.dumps(shapes).encode()
    Path("base/model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    Path("adapter").mkdir()
    Path("adapter/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "base"}))


def said(model: dict[str, Any], training: dict[str, Any] | None = None, file: str | None = "rows.jsonl") -> list[str]:
    values = {"model_name_or_path": "base"} | model
    recipe = Recipe.model_validate(
        {"stage": "sft", "output_dir": "out", "model": values, "training": ASKED | (training or {})}
        | {"data": {"validation_file": file}}
    )
    found = model_faults.faults(recipe)
    return [f"{'.'.join(map(str, fault.key))}: {fault.what}; {fault.write}" for fault in found]


MISTAKES = {
    "a template": (
        {"chat_template": "talk.jinja"},
        "model.chat_template: talk.jinja is not there; write a file.jinja, or the name of a shipped template",
    ),
    "an adapter alone": (
        {"model_name_or_path": "adapter"},
        "model.model_name_or_path: adapter is an adapter, and the recipe has no `adapter` section; write `adapter: {}` "
        "to go on training that adapter, or start from a whole model",
    ),
    "layers the wrong way round": (
        {"freeze": {"layers": "1-0"}},
        "model.freeze.layers: 1-0 are no layers; write the lower number first",
    ),
    "a layer below the first": (
        {"freeze": {"layers": [-1]}},
        "model.freeze.layers: there is no layer -1; the base has layers 0 to 1: write some of these",
    ),
    "everything": (
        {"freeze": {"modules": ["w"]}},
        "model.freeze.modules: its patterns meet every weight, so nothing is left to train; freeze less, or name what "
        "is trained in unfreeze",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake(kind: str) -> None:
    model, message = MISTAKES[kind]
    assert said(model) == [message]


def test_what_is_no_mistake() -> None:
    Path("talk.jinja").write_text("x")
    assert said({"chat_template": "talk.jinja"}) == said({"freeze": {"layers": "0-1"}}) == []
    assert said({"freeze": {"modules": ["w"], "unfreeze": ["norm"]}}) == said({"freeze": {"modules": ["model"]}}) == []
    assert said({}, {"load_best_model_at_end": True}) == said({}, file=None) == []


def test_a_choice_without_validation_rows() -> None:
    why = "and there are no validation rows to choose by; write data.validation_file, or leave it out"
    assert said({}, {"load_best_model_at_end": True, "early_stopping_patience": 3}, None) == [
        f"training.early_stopping_patience: 3, {why}",
        f"training.load_best_model_at_end: true, {why}",
    ]
