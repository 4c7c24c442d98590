"""The stage as a user runs it: what it writes, what it refuses, and two processes for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ppo_world import LORA, make_base, make_reward, make_sft, randomise
from safetensors.torch import load_file

from data_prep.records import write_rows
from finetune import generate, models
from finetune.stages import ppo
from recipes import artifact
from recipes.errors import UserError
from recipes.sections import Generation

ROOT = Path(__file__).parents[2]
QUESTIONS = ["When does the blue poppy bloom?", "Who keeps the rock house?", "What is the soil of the moon lily?"]


@pytest.fixture(scope="module")
def world(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe with a base, an SFT adapter, a reward model and prompts on disk."""
    root = tmp_path_factory.mktemp("world")
    base = make_base(tiny_model_dir, root / "base")
    sft = make_sft(base, root / "sft")
    reward = make_reward(sft, root / "reward")
    rows = [{"prompt": [{"role": "user", "content": text}], "meta": {"bonus": 1}} for text in QUESTIONS]
    rows.append({"prompt": [{"role": "user", "content": "word " * 60}]})
    write_rows(root / "prompts.jsonl", rows)
    return {
        "stage": "ppo",
        "output_dir": str(root / "ppo"),
        "seed": 5,
        "model": {"model_name_or_path": str(sft)},
        "reward_model": str(reward),
        "data": {
            "train_file": str(root / "prompts.jsonl"),
            "validation_file": str(root / "prompts.jsonl"),
            "max_prompt_length": 40,
        },
        "method": {"iterations": 2, "rollout_batch_size": 8, "num_mini_batches": 2, "value_function": "reward"},
        "generation": {"max_new_tokens": 6},
        # Pieces of four, so that one and two processes sample the same.
        "training": {"learning_rate": 1e-2, "generation_batch_size": 4, "per_device_train_batch_size": 3},
    }


def changed(world: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the recipe with `section__key=value` changed; None takes a key away."""
    recipe = json.loads(json.dumps(world))
    for name, value in changes.items():
        *sections, key = name.split("__")
        place = recipe
        for section in sections:
            place = place[section]
        place[key] = value
        if value is None:
            del place[key]
    return recipe


def test_it_writes_an_adapter_that_loads_and_says_what_it_did(world: dict[str, Any]) -> None:
    recipe = ppo.Recipe(**world)
    assert recipe.faults() == []
    ppo.run(recipe)
    out = Path(world["output_dir"])
    manifest = artifact.read(out)
    assert manifest is not None
    assert manifest.metrics["left_out"] == {"longer than max_prompt_length": 2}
    assert manifest.metrics["held_out"] == manifest.metrics["train_prompts"] == 3
    assert manifest.metrics["before"]["kl"] == pytest.approx(0, abs=1e-4)
    assert {"reward", "kl", "length", "finished"} <= set(manifest.metrics["after"])
    assert {item["path"] for item in manifest.inputs.values()} >= {world["reward_model"]}
    assert not (out / ".scratch").exists()

    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert {"reward", "kl", "entropy", "length", "clip_share", "value_loss", "explained_variance"} <= set(rows[0])
    loaded = models.load(str(out))
    before = load_file(Path(world["model"]["model_name_or_path"]) / "adapter_model.safetensors")
    after = load_file(out / "adapter_model.safetensors")
    assert set(before) == set(after)
    assert all(not torch.equal(before[name], after[name]) for name in after)
    prompt = loaded.tokenizer(QUESTIONS[0])["input_ids"]
    assert generate.generate(loaded.model, loaded.tokenizer, [prompt], Generation(max_new_tokens=3), seed=0)[0].ids
    assert artifact.matches(recipe)


def test_a_reward_function_and_whole_weights_to_start_from(
    world: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judge_of_length.py").write_text(
        "def judge(prompt, answer, meta): return -len(answer) * meta['bonus']\n"
    )
    monkeypatch.chdir(tmp_path)
    base = models.base_of(world["model"]["model_name_or_path"])[0]
    values = changed(
        world,
        output_dir=str(tmp_path / "out"),
        model__model_name_or_path=base,
        reward_model=None,
        reward_function="judge_of_length:judge",
        gold_function="judge_of_length:judge",
        method__value_function="shared",
    )
    recipe = ppo.Recipe(**values, adapter={"r": 2})
    assert recipe.faults() == []
    ppo.run(recipe)
    metrics = artifact.read(tmp_path / "out").metrics  # type: ignore[union-attr]
    assert metrics["after"]["gold"] == metrics["after"]["reward"] < 0
    assert models.load(str(tmp_path / "out")).base == base


def test_a_reward_model_on_another_base_is_loaded_beside(
    world: dict[str, Any], tiny_model_dir: Path, tmp_path: Path
) -> None:
    loaded = models.load_reward_base(str(tiny_model_dir), LORA)  # the tiny model's own, quieter embeddings
    randomise(loaded.model, 4)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "reward")
    values = changed(world, output_dir=str(tmp_path / "out"), reward_model=str(tmp_path / "reward"))
    with pytest.raises(UserError, match="stands on another base"):
        ppo.run(ppo.Recipe(**values))
    ppo.run(ppo.Recipe(**changed(values, method__value_function=None)))
    assert (tmp_path / "out" / "samples.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "key", "what"),
    [
        ({"reward_model": None}, "reward_model", "neither"),
        ({"reward_function": "math:sqrt"}, "reward_model", "both"),
        ({"reward_model": None, "reward_function": "no_such_module:f"}, "reward_function", "there is no module"),
        ({"reward_model": None, "reward_function": "math:sqrt"}, "method.value_function", "no reward model"),
        ({"generation__top_p": 0.9}, "generation.top_p", "whole distribution"),
        ({"generation__do_sample": False}, "generation.do_sample", "whole distribution"),
        ({"method__num_mini_batches": 9}, "method.num_mini_batches", "more than the 8 answers"),
        ({"launch": {"num_processes": 3}}, "training.generation_batch_size", "3 processes cannot share"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(
    world: dict[str, Any], changes: dict[str, Any], key: str, what: str
) -> None:
    faults = ppo.Recipe(**changed(world, **changes)).faults()
    assert any(".".join(map(str, fault.key)) == key and what in fault.what for fault in faults), faults


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__max_prompt_length": 2}, "no prompt is left"),
        ({"generation__max_new_tokens": 250}, "do not fit the context of 256"),
        ({"adapter": {"r": 64}}, "64, but the adapter to go on from"),
    ],
)
def test_what_only_the_model_shows_is_one_line_too(
    world: dict[str, Any], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ppo.run(ppo.Recipe(**changed(world, output_dir=str(tmp_path / "out"), **changes)))


def test_the_shipped_recipe_is_whole() -> None:
    values = yaml.safe_load((ROOT / "recipes/quickstart/ppo.yaml").read_text())
    assert ppo.Recipe(**values).faults() == []


def test_two_processes_equal_one(world: dict[str, Any], tmp_path: Path) -> None:
    """Up to the order of additions, which a large epsilon keeps Adam from blowing up where gradients are near 0."""
    values = changed(world, training__adam_epsilon=0.1, method__iterations=1, method__num_ppo_epochs=1)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MASTER_PORT": "29633"}
    launch = [str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu", "--num_processes", "2"]
    launch += "--num_machines 1 --mixed_precision no --dynamo_backend no -m".split()
    starts = {"one": [sys.executable, "-m"], "two": launch}
    for name, start in starts.items():
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(changed(values, output_dir=str(tmp_path / name))))
        out = subprocess.run(
            [*start, "finetune", str(file)], env=environment, capture_output=True, text=True, timeout=300
        )
        assert out.returncode == 0, out.stderr
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in starts)
    begun = load_file(Path(world["model"]["model_name_or_path"]) / "adapter_model.safetensors")
    assert max(float((one[name] - begun[name]).abs().max()) for name in one) > 1e-3
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-6
    logs = [[json.loads(line) for line in (tmp_path / n / "log.jsonl").read_text().splitlines()] for n in starts]
    for row, other in zip(*logs, strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-5)
    assert artifact.read(tmp_path / "two").processes == 2  # type: ignore[union-attr]
