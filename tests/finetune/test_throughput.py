"""Operations a token: against torch's own counter, and against figures worked out for two well-known shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig

from finetune import throughput


def llama(**shape: Any) -> Any:
    return AutoModelForCausalLM.from_config(LlamaConfig(**shape))


def lora(model: Any) -> Any:
    return get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"))


def top_only(model: Any) -> Any:
    model.requires_grad_(False)
    model.model.layers[2].requires_grad_(True)
    return model


SMALL = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 200,
}  # fmt: skip


@pytest.mark.parametrize("prepare", [lambda model: model, top_only, lora], ids=["all weights", "top layer", "lora"])
def test_matrices_are_counted_as_torch_counts_them(prepare: Any) -> None:
    model = prepare(llama(**SMALL))
    ids = torch.randint(0, 200, (2, 32))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    # SDPA on CPUs is not in torch's counter, so documents of no length: the matrices alone.
    ours = throughput.flops_per_token(model, 0) * 64
    # The first layer's input has no gradient: not through k and v (q is first in order), nor through three A's.
    spared = 64 * 2 * (64 * 32 + 64 * 32 + 3 * 16 * 64) if prepare is lora else 0
    assert counter.get_total_flops() == ours - spared


@pytest.mark.parametrize(
    "large, adapter, expected",
    [
        (False, True, (5.48, 5.95, 6.89)), (True, True, (32.2, 34.0, 37.8)), (False, False, (7.88, 8.35, 9.29)),
        (True, False, (46.9, 48.8, 52.5)),
    ],
)  # fmt: skip
def test_known_shapes(large: bool, adapter: bool, expected: tuple[float, ...]) -> None:
    """Billions for documents of 2, 4 and 8 thousand tokens, of Llama-3.2-1B and Llama-3.1-8B."""
    sizes = (4096, 14336, 32, 128, False) if large else (2048, 8192, 16, 64, True)
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "head_dim", "tie_word_embeddings")
    shape = dict(zip(names, sizes, strict=True))
    with torch.device("meta"):
        model = llama(**shape, num_attention_heads=32, num_key_value_heads=8, vocab_size=128256)
        model = lora(model) if adapter else model
    found = [throughput.flops_per_token(model, length) / 1e9 for length in (2048, 4096, 8192)]
    assert found == pytest.approx(expected, rel=0.004)


def test_what_a_token_sees() -> None:
    assert throughput._seen(100, None, True) == 50
    assert throughput._seen(100, None, False) == 100
    # By hand: of 100 tokens the first 10 see 5 on average, the other 90 see 10.
    assert throughput._seen(100, 10, True) == pytest.approx((10 * 5 + 90 * 10) / 100)
    assert throughput.weighted_length([10, 30]) == (100 + 900) / 40


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H200", 989e12), ("NVIDIA A100-SXM4-80GB", 312e12), ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA L40S", 362e12), ("NVIDIA GeForce RTX 4090", 165e12), ("NVIDIA L4", 121e12), ("Quadro K620", None),
    ],
)  # fmt: skip
def test_peaks_by_name(name: str, peak: float | None) -> None:
    assert throughput.peak_flops_of(name) == peak


def test_a_cpu_has_no_peak_and_mfu_is_a_share() -> None:
    assert throughput.peak_flops("cpu") is None
    assert throughput.mfu(1e4, 1e9, 1e14, devices=2) == pytest.approx(0.05)
