"""Precision by hardware."""

from __future__ import annotations

import pytest
import torch

from finetune.loaded import dtype_of
from recipes import doctor


def test_precision_follows_the_hardware_and_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert dtype_of("float32", cpu, frozen=True) is torch.float32
    assert dtype_of("bfloat16", cpu) is torch.bfloat16
    for units, expected in ((("avx512_bf16",), torch.bfloat16), ((), torch.float32)):
        monkeypatch.setattr(doctor, "bfloat16_units", lambda units=units: units)
        assert dtype_of("auto", cpu, frozen=True) is expected
        assert dtype_of("auto", cpu) is torch.float32
