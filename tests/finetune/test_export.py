"""Exported folders hold what a server needs, and say what the model says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from finetune import models
from finetune.stages import export
from recipes import artifact
from recipes.sections import Adapter, Model


def adapter(base: Path, folder: Path, **keys: Any) -> Path:
    torch.manual_seed(1)
    loaded = models.load_for(Model(model_name_or_path=str(base)))
    models.add_adapter(loaded, Adapter(r=4, **keys))
    models.save(loaded.model, loaded.tokenizer, folder)
    return folder


def exported(ref: Path, out: Path, **keys: Any) -> dict[str, Any]:
    recipe = export.Recipe(output_dir=str(out), model_name_or_path=str(ref), **keys)
    assert recipe.faults() == []
    export.run(recipe)
    manifest = artifact.read(out)
    assert manifest is not None
    return manifest.metrics


def test_layouts(tiny_model_dir: Path, tmp_path: Path) -> None:
    figures = exported(tiny_model_dir, tmp_path / "narrow", dtype="bfloat16")
    source, narrow = (load_file(folder / "model.safetensors") for folder in (tiny_model_dir, tmp_path / "narrow"))
    assert source.keys() == narrow.keys()
    assert all(torch.equal(value.bfloat16(), narrow[name]) for name, value in source.items())
    assert 0 < figures["rounding"] < 2**-8 and figures["stored_kl"] < 1e-3
    assert json.loads((tmp_path / "narrow" / "config.json").read_text())["dtype"] == "bfloat16"
    names = {file.name for file in (tmp_path / "narrow").iterdir()}
    assert {"config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert exported(tiny_model_dir, tmp_path / "same")["rounding"] == 0

    folder = adapter(tiny_model_dir, tmp_path / "adapter")
    assert exported(folder, tmp_path / "merged")["stored_relative"] < 1e-5
    exported(folder, tmp_path / "lora", layout="lora")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        said = [models.load(str(one)).model(input_ids=ids).logits for one in (folder, tmp_path / "lora")]
    assert torch.equal(said[0], said[1])


def test_what_a_server_would_not_serve_is_told_beforehand(tiny_model_dir: Path, tmp_path: Path) -> None:
    def told(ref: Path, **keys: Any) -> list[str]:
        recipe = export.Recipe(output_dir=str(tmp_path / "o"), model_name_or_path=str(ref), layout="lora", **keys)
        return [fault.what for fault in recipe.faults()]

    assert told(adapter(tiny_model_dir, tmp_path / "dora", use_dora=True)) == ["vLLM serves no adapter with use_dora"]
    assert told(tiny_model_dir) == [f"{tiny_model_dir} is a whole model, no adapter"]
    assert told(adapter(tiny_model_dir, tmp_path / "plain"), dtype="float16") == ["an adapter is copied as it is"]
