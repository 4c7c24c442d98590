"""Merging: the result says what the adapter says, combinations are the formulas', and nothing half is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import build_tiny_encoder

from finetune import generate, models, vocabulary
from finetune.merging import checkpoint, methods, streaming
from finetune.stages import merge
from recipes import artifact, lineage
from recipes.errors import UserError
from recipes.hashing import folder_hash
from recipes.sections import Adapter, Generation, Model
from tests.conftest import SENTENCES, build_tiny_model
from tests.finetune.tiny_adapters import IDS, LORA, write_adapter

KINDS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "rslora": LORA | {"use_rslora": True},
    "dora": LORA | {"use_dora": True},
    "pissa": LORA | {"init_lora_weights": "pissa"},
    "olora": LORA | {"init_lora_weights": "olora"},
    "whole output": LORA | {"modules_to_save": ["lm_head"]},
    "ia3": {"peft_type": "ia3"},
}


def merged(out: Path, *refs: Path, **keys: Any) -> Any:
    weights = keys.pop("weights", [None] * len(refs))
    named = [{"model_name_or_path": str(ref), "weight": w} for ref, w in zip(refs, weights, strict=True)]
    recipe = merge.Recipe(output_dir=str(out), models=named, **keys)
    assert recipe.faults() == []
    merge.run(recipe)
    manifest = artifact.read(out)
    assert manifest is not None
    return manifest.metrics


def logits(ref: Path, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = models.load(str(ref)).model(input_ids=ids, use_cache=False).logits
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_merged_model_says_what_the_adapter_says(kind: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    before = folder_hash(tiny_model_dir)
    folder = write_adapter(tiny_model_dir, tmp_path / "adapter", KINDS[kind])
    found = merged(tmp_path / "out", folder, max_shard_size="60KB")
    wanted = logits(folder)
    torch.testing.assert_close(logits(tmp_path / "out"), wanted, atol=2e-5, rtol=0)
    assert (wanted - logits(tiny_model_dir)).abs().max() > 1e-2
    assert found["arithmetic_relative"] < 1e-5 and found["stored_top1"] == 1.0 and found["rounding_max_difference"] == 0
    assert folder_hash(tiny_model_dir) == before
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    assert not [file for file in (tmp_path / "out").rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]


def test_answers_end_ids_card_and_lineage(tiny_model_dir: Path, tmp_path: Path, capsys: Any) -> None:
    from huggingface_hub import ModelCard

    folder = write_adapter(tiny_model_dir, tmp_path / "adapter", LORA)
    card = {"license": "mit", "intended_use": "A test.", "language": ["en"]}
    found = merged(tmp_path / "out", folder, dtype="bfloat16", card=card)
    assert found["rounding_max_difference"] > 0 and found["arithmetic_max_difference"] < 1e-4
    prompts = [[5, 6, 7], [40, 41, 42, 43], [99]]
    answers = []
    merged(tmp_path / "exact", folder)
    for ref in (folder, tmp_path / "exact"):
        loaded = models.load(str(ref))
        settings = Generation(max_new_tokens=8, do_sample=False)
        answers.append(
            [one.ids for one in generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=0)]
        )
    assert answers[0] == answers[1]
    settings = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    tokenizer = models.load_tokenizer(str(folder))
    assert settings["eos_token_id"] == tokenizer.convert_tokens_to_ids("<|end|>")
    assert settings["pad_token_id"] == tokenizer.convert_tokens_to_ids("<|pad|>")
    parsed = ModelCard.load(tmp_path / "out" / "README.md", ignore_metadata_errors=False)
    assert parsed.data.license == "mit" and parsed.data.language == ["en"] and parsed.data.base_model is None
    assert artifact.content_hash(folder) in parsed.text and "Not stated" in parsed.text and "A test." in parsed.text
    manifest = artifact.read(tmp_path / "out")
    assert manifest is not None and manifest.files["model.safetensors"] in parsed.text
    assert lineage.report(str(tmp_path / "out"), verify=True) == 0
    assert str(folder) in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize("labels", [["a", "b", "c"], None])
def test_classifiers_and_reward_models(labels: list[str] | None, tiny_model_dir: Path, tmp_path: Path) -> None:
    if labels:
        base = build_tiny_encoder(tmp_path / "encoder", SENTENCES * 3)
        loaded = models.load_for(Model(model_name_or_path=str(base)), "sequence_classification", labels)
        models.add_adapter(loaded, Adapter(**LORA))
    else:
        loaded = models.load_reward_base(str(tiny_model_dir), Adapter(**LORA))
    with torch.no_grad():
        for one in loaded.model.parameters():
            if one.requires_grad:
                one += 0.05 * torch.randn_like(one)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "adapter")
    found = merged(tmp_path / "out", tmp_path / "adapter")
    assert found["stored_relative"] < 1e-5
    assert not (tmp_path / "out" / "generation_config.json").exists()
    if labels:
        config = models.load(str(tmp_path / "out"), head="sequence_classification").model.config
        assert [config.id2label[number] for number in range(3)] == labels
    else:
        ids = [[5, 6, 7], [9, 8]]
        scores = [models.load_reward(str(tmp_path / name)).score(ids) for name in ("adapter", "out")]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_longer_vocabulary_with_tied_embeddings(tiny_model_dir: Path, tmp_path: Path) -> None:
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        loaded = models.load_for(Model(model_name_or_path=str(tiny_model_dir)))
        loaded.tokenizer.add_tokens(["<a>", "<b>"])
        vocabulary.add_rows(loaded.model, len(loaded.tokenizer), {400: [5, 6], 401: [7, 8]})
        loaded.new_tokens = [400, 401]
        models.add_adapter(loaded, Adapter(**LORA))
        with torch.no_grad():
            for one in loaded.model.parameters():
                if one.requires_grad:
                    one += 0.05 * torch.randn_like(one)
        folders.append(tmp_path / f"adapter{seed}")
        models.save(loaded.model, loaded.tokenizer, folders[-1])
    merged(tmp_path / "out", folders[0])
    ids = torch.tensor([[5, 400, 7, 401, 9]])
    torch.testing.assert_close(logits(tmp_path / "out", ids), logits(folders[0], ids), atol=2e-5, rtol=0)
    assert len(models.load_tokenizer(str(tmp_path / "out"))) == 402
    again = models.load(str(tmp_path / "out")).model
    assert again.get_input_embeddings().weight.data_ptr() == again.get_output_embeddings().weight.data_ptr()
    named = [{"model_name_or_path": str(one)} for one in folders]
    found = merge.Recipe(output_dir=str(tmp_path / "both"), models=named, method="linear").faults()
    assert [one.what for one in found] == [
        f"{one} has 402 tokens, and its base {tiny_model_dir} has rows for 400" for one in folders
    ]
    merged(tmp_path / "other", folders[1])
    wholes = tmp_path / "out", tmp_path / "other"
    merged(tmp_path / "both", *wholes, method="linear")  # which is what the message says to do
    assert logits(tmp_path / "both", ids).shape == (1, 5, 402)
    named = [{"model_name_or_path": str(one)} for one in wholes]
    short = {"method": "ties", "density": 0.5, "base_model_name_or_path": str(tiny_model_dir)}
    recipe = merge.Recipe(output_dir=str(tmp_path / "ties"), models=named, **short)
    assert "is [402, 32] in" in recipe.faults()[0].what


def ties_by_hand(deltas: list[Any], weights: list[float], density: float) -> Any:
    """TIES of differences: keep the largest, elect the sign of the sum, average what agrees."""
    kept = []
    for delta in deltas:
        count = int(density * delta.size)
        least = np.sort(np.abs(delta).ravel())[-count]
        kept.append(np.where(np.abs(delta) >= least, delta, 0))
    stacked = np.stack(kept)
    sign = np.where(stacked.sum(0) >= 0, 1, -1)
    agree = np.sign(stacked) == sign
    weighted = stacked * np.array(weights).reshape(-1, *[1] * (stacked.ndim - 1))
    return (weighted * agree).sum(0) / np.maximum(agree.sum(0), 1)


@pytest.mark.parametrize("method", ["linear", "ties"])
def test_combined_adapters_by_hand(method: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    folders = [write_adapter(tiny_model_dir, tmp_path / f"a{seed}", LORA, seed) for seed in (1, 2)]
    keys = {"density": 0.3} if method == "ties" else {}
    merged(tmp_path / "out", *folders, method=method, weights=[0.7, 0.6], **keys)
    base, out = load_file(tiny_model_dir / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert base.keys() == out.keys()
    name = "model.layers.1.self_attn.q_proj"
    deltas = []
    for folder in folders:
        saved = load_file(folder / "adapter_model.safetensors")
        product = [saved[f"base_model.model.{name}.lora_{part}.weight"].double().numpy() for part in "BA"]
        deltas.append(8 / 4 * product[0] @ product[1])
    wanted = 0.7 * deltas[0] + 0.6 * deltas[1] if method == "linear" else ties_by_hand(deltas, [0.7, 0.6], 0.3)
    moved = (out[f"{name}.weight"].double() - base[f"{name}.weight"].double()).numpy()
    assert np.abs(moved - wanted).max() < 1e-6 < np.abs(wanted).max() / 100
    assert torch.equal(out["model.norm.weight"], base["model.norm.weight"])


def test_dare_keeps_the_expectation_and_its_share() -> None:
    base, delta = torch.zeros(400, 400), torch.ones(400, 400)
    found = [
        methods.task_vectors("dare_linear", base, [delta], [1.0], 0.25, methods.seed_of("a", seed)) for seed in (1, 2)
    ]
    assert set(found[0].unique().tolist()) == {0.0, 4.0}
    assert abs(float(found[0].mean()) - 1) < 0.02
    assert not torch.equal(found[0], found[1])
    torch.manual_seed(7)
    again = methods.task_vectors("dare_linear", base, [delta], [1.0], 0.25, methods.seed_of("a", 1))
    assert torch.equal(again, found[0])


def test_slerp() -> None:
    one, other = torch.randn(5, 7), torch.randn(5, 7)
    torch.testing.assert_close(methods.slerp(one, other, 0.0), one)
    torch.testing.assert_close(methods.slerp(one, other, 1.0), other)
    torch.testing.assert_close(methods.slerp(one, other, 0.3), methods.slerp(other, one, 0.7))
    right = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(methods.slerp(right[0], right[1], 1 / 3), torch.tensor([3**0.5 / 2, 0.5]))
    unit = methods.slerp(one / one.norm(), other / other.norm(), 0.4)
    torch.testing.assert_close(unit.norm(), torch.tensor(1.0))
    torch.testing.assert_close(methods.slerp(one, 2 * one, 0.5), 1.5 * one)


def test_whole_models_streamed_in_shards_are_those_merged_in_memory(tmp_path: Path) -> None:
    folders = [build_tiny_model(tmp_path / f"m{seed}", seed=seed) for seed in (0, 1, 2)]
    weights = [load_file(folder / "model.safetensors") for folder in folders]
    merged(tmp_path / "linear", *folders[1:], method="linear", weights=[0.25, 0.75], max_shard_size="50KB")
    merged(tmp_path / "slerp", *folders[1:], method="slerp", t=0.3)
    keys: dict[str, Any] = {"base_model_name_or_path": str(folders[0]), "density": 0.4}
    merged(tmp_path / "ties", *folders[1:], method="ties", **keys)
    out = {}
    for name in ("linear", "slerp", "ties"):
        with checkpoint.reading(tmp_path / name) as read:
            out[name] = {key: read(key) for key in checkpoint.entries(tmp_path / name)}
    assert (tmp_path / "linear" / checkpoint.INDEX).is_file()
    for name, base in weights[0].items():
        one, other = weights[1][name], weights[2][name]
        torch.testing.assert_close(out["linear"][name], 0.25 * one + 0.75 * other)
        torch.testing.assert_close(out["slerp"][name], methods.slerp(one, other, 0.3))
        deltas = [(each.double() - base.double()).numpy() for each in (one, other)]
        if np.abs(deltas[0]).max() > 0:
            wanted = base.double().numpy() + ties_by_hand(deltas, [1, 1], 0.4)
            assert np.abs(out["ties"][name].double().numpy() - wanted).max() < 1e-6
    assert logits(tmp_path / "linear").shape == (2, 12, 400)


def test_what_does_not_belong_together_is_told_beforehand(tiny_model_dir: Path, tmp_path: Path) -> None:
    first = write_adapter(tiny_model_dir, tmp_path / "first", LORA)
    other = write_adapter(build_tiny_model(tmp_path / "base2", seed=3), tmp_path / "second", LORA)
    prompt = write_adapter(tiny_model_dir, tmp_path / "prompt", {"peft_type": "prompt_tuning", "num_virtual_tokens": 4})
    deep = build_tiny_model(tmp_path / "deep", layers=3)

    def told(*refs: Path, **keys: Any) -> list[str]:
        named = [{"model_name_or_path": str(ref)} for ref in refs]
        return [one.what for one in merge.Recipe(output_dir=str(tmp_path / "o"), models=named, **keys).faults()]

    assert told(first, method="linear") == ["linear combines two or more models, and there is one"]
    assert told(first, first) == ["2 models and no method to combine them"]
    assert "their weights differ" in told(first, other, method="linear")[0]
    assert "learned vectors before the text" in told(prompt)[0]
    assert "is a whole model: there is no adapter" in told(tiny_model_dir)[0]
    assert told(first, first, method="ties") == ["ties without density"]
    assert "of whole models without their base" in told(tiny_model_dir, tiny_model_dir, method="task_arithmetic")[0]
    assert "only" in told(tiny_model_dir, deep, method="linear")[0]
    assert "an adapter, and" in told(tiny_model_dir, first, method="linear")[0]
    (first / "chat_template.jinja").write_text("{{ messages }}")
    second = write_adapter(tiny_model_dir, tmp_path / "third", LORA)
    assert "different chat templates" in told(first, second, method="linear")[0]
    config = json.loads((second / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (second / "adapter_config.json").write_text(json.dumps(config))
    assert "the base of this adapter is not there" in told(second)[0]
    with pytest.raises(ValueError, match="less than or equal to 1"):
        told(first, first, method="ties", density=1.5)


def test_a_result_beyond_the_tolerance_is_not_published(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = write_adapter(tiny_model_dir, tmp_path / "adapter", LORA)
    with pytest.raises(UserError, match=r"differ by .* of the largest logit"):
        merged(tmp_path / "out", folder, dtype="bfloat16", check={"tolerance": 1e-7})
    assert not (tmp_path / "out").exists()


def test_a_kill_while_shards_are_written_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [build_tiny_model(tmp_path / f"m{seed}", seed=seed) for seed in (1, 2)]
    calls = iter(range(100))

    def stop(*_: Any) -> Any:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return original(*_)

    original = streaming.combine
    monkeypatch.setattr(streaming, "combine", stop)
    with pytest.raises(KeyboardInterrupt):
        merged(tmp_path / "out", *folders, method="linear", max_shard_size="50KB")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    merged(tmp_path / "out", *folders, method="linear", max_shard_size="50KB")
    merged(tmp_path / "again", *folders, method="linear", max_shard_size="50KB")
    contents = [artifact.content_hash(tmp_path / name) for name in ("out", "again")]
    assert contents[0] == contents[1]


def test_damaged_and_pickled_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no weights in safetensors"):
        checkpoint.entries(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="header cannot be read"):
        checkpoint.entries(tmp_path)
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert checkpoint.stored_dtype(checkpoint.entries(tmp_path)) == "float32"
