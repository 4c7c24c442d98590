"""Merging for every kind of model and of base; a merge that is killed; and what peft's own combinations do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import build_tiny_bart, build_tiny_encoder, build_tiny_encoder_decoder

from finetune import models
from finetune.merging import heads, layout, methods, streaming
from finetune.stages import merge
from recipes import artifact
from tests.conftest import SENTENCES
from tests.finetune.tiny_adapters import LORA, write_adapter

IDS = torch.randint(3, 60, (2, 12), generator=torch.Generator().manual_seed(0))


def recipe(out: Path, *refs: Path, **keys: Any) -> merge.Recipe:
    made = merge.Recipe(output_dir=str(out), models=[{"model_name_or_path": str(ref)} for ref in refs], **keys)
    assert made.faults() == []
    return made


def figures(out: Path) -> dict[str, Any]:
    manifest = artifact.read(out)
    assert manifest is not None
    return manifest.metrics


def logits(ref: Path, head: str) -> torch.Tensor:
    more = {"decoder_input_ids": IDS[:, :5]} if head == "seq2seq" else {}
    with torch.no_grad():
        found: torch.Tensor = heads.load(str(ref), head)[0].eval()(input_ids=IDS, **more).logits
    return found


BASES: dict[str, tuple[Callable[..., Path], str, list[str] | None]] = {
    "masked": (build_tiny_encoder, "masked", None),
    "tokens": (build_tiny_encoder, "token_classification", ["O", "B-NAME", "I-NAME"]),
    "t5": (build_tiny_encoder_decoder, "seq2seq", None),
    "bart": (build_tiny_bart, "seq2seq", None),
}


@pytest.mark.parametrize("kind", BASES)
def test_every_head_one_and_two_adapters(kind: str, tmp_path: Path) -> None:
    build, head, labels = BASES[kind]
    base = build(tmp_path / "base", SENTENCES * 3)
    folders = [write_adapter(base, tmp_path / f"adapter{seed}", LORA, seed, head, labels) for seed in (1, 2)]
    assert heads.of(str(folders[0])) == head
    merge.run(recipe(tmp_path / "out", folders[0]))
    wanted = logits(folders[0], head)
    torch.testing.assert_close(logits(tmp_path / "out", head), wanted, atol=2e-5, rtol=0)
    assert figures(tmp_path / "out")["stored_relative"] < 1e-5 and heads.of(str(tmp_path / "out")) == head
    if labels is None:
        assert (wanted - logits(base, head)).abs().max() > 1e-2
    else:
        config = heads.config(tmp_path / "out")
        assert [config["id2label"][str(number)] for number in range(3)] == labels
    merge.run(recipe(tmp_path / "both", *folders, method="ties", density=0.5))
    both = logits(tmp_path / "both", head)
    assert both.shape == wanted.shape and not torch.equal(both, wanted)
    assert (tmp_path / "both" / "generation_config.json").is_file() == (head == "seq2seq")


@pytest.mark.parametrize("bits", ["nf4", "int8"])
def test_an_adapter_of_a_quantised_base_goes_into_the_full_one(bits: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = write_adapter(tiny_model_dir, tmp_path / "adapter", LORA, quantization=bits)
    merge.run(recipe(tmp_path / "out", folder))
    base, out = load_file(tiny_model_dir / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    saved = load_file(folder / "adapter_model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    product = [saved[f"base_model.model.{name}.lora_{part}.weight"].double() for part in "BA"]
    wanted = base[f"{name}.weight"].double() + 2 * product[0] @ product[1]
    torch.testing.assert_close(out[f"{name}.weight"].double(), wanted, atol=1e-6, rtol=0)
    assert "quantization_config" not in heads.config(tmp_path / "out")
    torch.testing.assert_close(logits(tmp_path / "out", "causal"), logits(folder, "causal"), atol=2e-5, rtol=0)


def killed(run: merge.Recipe, module: Any, name: str, call: int) -> bool:
    """Run a merge in a process that is killed at the given call of a function; return whether it was."""
    child = os.fork()
    if child == 0:
        original, count = getattr(module, name), iter(range(1, 1000))

        def counted(*arguments: Any, **named: Any) -> Any:
            if next(count) == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        setattr(module, name, counted)
        merge.run(run)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_a_killed_merge_leaves_nothing_half_and_goes_on(tiny_model_dir: Path, tmp_path: Path) -> None:
    folders = [write_adapter(tiny_model_dir, tmp_path / f"adapter{seed}", LORA, seed=seed) for seed in (1, 2)]
    one, keys = folders[:1], {"method": "dare_ties", "density": 0.5, "max_shard_size": "50KB"}
    # While the weights of one are there and its tokenizer is not; between two adapters; between two tensors.
    moments = (
        (layout, "finish", 1, one, {}),
        (layout, "finish", 2, folders, keys),
        (streaming, "combine", 9, folders, keys),
    )
    for number, (module, name, call, refs, more) in enumerate(moments):
        interrupted, whole = tmp_path / f"cut{number}", tmp_path / f"whole{number}"
        assert killed(recipe(interrupted, *refs, **more), module, name, call)
        assert not interrupted.exists()
        merge.run(recipe(interrupted, *refs, **more))
        merge.run(recipe(whole, *refs, **more))
        assert artifact.content_hash(interrupted) == artifact.content_hash(whole)
        assert sorted(one.name for one in interrupted.iterdir()) == sorted(one.name for one in whole.iterdir())


def test_peft_combines_a_and_b_apart(tiny_model_dir: Path, tmp_path: Path) -> None:
    """What peft's add_weighted_adapter comes to, beside the combination of whole differences."""
    from peft import PeftModel

    folders = [write_adapter(tiny_model_dir, tmp_path / f"adapter{seed}", LORA, seed=seed) for seed in (1, 2)]
    model = PeftModel.from_pretrained(models.load(str(tiny_model_dir)).model, folders[0], adapter_name="first")
    model.load_adapter(folders[1], adapter_name="second")
    layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    names, weights = ["first", "second"], [0.7, 0.6]
    deltas = [layer.get_delta_weight(name).detach() for name in names]

    def by_peft(kind: str, **keys: Any) -> torch.Tensor:
        model.add_weighted_adapter(names, weights, "mixed", kind, **keys)
        found: torch.Tensor = layer.get_delta_weight("mixed").detach().clone()
        model.delete_adapter("mixed")
        return found

    def by_us(method: str) -> torch.Tensor:
        return methods.task_vectors(method, torch.zeros_like(deltas[0]), deltas, weights, 0.5, 0)

    torch.testing.assert_close(by_peft("cat"), by_us("task_arithmetic"))
    full = min(deltas[0].shape)
    torch.testing.assert_close(by_peft("ties_svd", density=0.5, svd_rank=full), by_us("ties"), atol=1e-6, rtol=0)
    parts = [
        sum(
            (weight * 2) ** 0.5 * getattr(layer, part)[name].weight for name, weight in zip(names, weights, strict=True)
        )
        for part in ("lora_B", "lora_A")
    ]
    torch.testing.assert_close(by_peft("linear"), (parts[0] @ parts[1]).detach())
    for kind, method in (("linear", "task_arithmetic"), ("ties", "ties")):
        keys = {} if kind == "linear" else {"density": 0.5}
        far = (by_peft(kind, **keys) - by_us(method)).norm() / by_us(method).norm()
        assert far > 0.1, kind
