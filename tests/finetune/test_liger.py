"""When Liger's kernels are asked for, and that transformers takes what is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune import liger


def test_only_cuda_with_the_package_and_a_known_family_gets_the_kernels(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import BertConfig, BertForMaskedLM, TrainingArguments

    from finetune import models

    llama = models.load(str(tiny_model_dir)).model
    bert = BertForMaskedLM(BertConfig(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1))
    assert liger.arguments(llama, "cpu") == {}
    monkeypatch.setattr(liger, "installed", lambda: False)
    assert liger.arguments(llama, "cuda") == {}
    monkeypatch.setattr(liger, "installed", lambda: True)
    assert liger.arguments(bert, "cuda") == {}
    asked = liger.arguments(llama, "cuda")
    assert TrainingArguments(**asked, use_cpu=True).use_liger_kernel
    kernels = asked["liger_kernel_config"]
    assert kernels["rms_norm"] and not kernels["cross_entropy"] and not kernels["fused_linear_cross_entropy"]
