"""Likelihoods with shared questions and windows equal the plain way, one sequence at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eval import likelihood
from recipes.load import UserError


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> Any:
    from finetune import models

    return models.load(str(tiny_model_dir)).model


def test_choices_equal_one_request_at_a_time(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from finetune.generate import log_likelihoods

    # Contexts and choices of different length and number, among them choices of a single token.
    questions = [
        ([5, 6, 7], [[8], [9, 10, 11], [12, 13]]),
        ([20, 21, 22, 23, 24, 25, 26], [[30, 31], [32]]),
        ([40], [[41], [42], [43], [44]]),
        (list(range(50, 90)), [[9, 8, 7, 6, 5, 4], [3, 4]]),
    ]
    plain = log_likelihoods(model, [(context, one) for context, several in questions for one in several], batch_size=1)
    wanted = [value for value, _, _ in plain]
    for most in (16, 100, 4096):
        monkeypatch.setattr(likelihood, "_most_tokens", lambda _, most=most: most)
        found = [value for values in likelihood.choices(model, questions) for value in values]
        assert found == pytest.approx(wanted, abs=1e-4)


def test_documents_equal_one_sequence_at_a_time(model: Any) -> None:
    from finetune.generate import log_likelihoods

    texts = [list(range(3, 40)), [3, 9], list(range(100, 220)), [7]]
    plain = log_likelihoods(model, [(ids[:1], ids[1:]) for ids in texts if len(ids) > 1], batch_size=1)
    found = likelihood.documents(model, texts, window=256, stride=255)
    assert found == pytest.approx([*(-value for value, _, _ in plain), 0.0], abs=1e-3)


def test_overlapping_windows_by_hand(model: Any) -> None:
    from finetune.generate import log_likelihoods

    ids = list(range(3, 40))
    # Tokens 1..9 from the start, then each window of 10 counts its last 4 tokens with 6 before them.
    parts = [(ids[:1], ids[1:10])]
    parts += [(ids[start : start + 6], ids[start + 6 : start + 10]) for start in range(4, 28, 4)]
    parts.append((ids[28:34], ids[34:]))
    wanted = -sum(value for value, _, _ in log_likelihoods(model, parts, batch_size=1))
    assert likelihood.documents(model, [ids], window=10, stride=4) == pytest.approx([wanted], abs=1e-3)


@pytest.mark.parametrize(
    ("length", "window", "stride"), [(1, 8, 7), (8, 8, 7), (9, 8, 7), (50, 8, 7), (50, 8, 3), (50, 8, 1)]
)
def test_every_token_is_counted_once(length: int, window: int, stride: int) -> None:
    counted = []
    for start, end, skip in likelihood.windows(length, window, stride):
        assert end - start <= window
        counted += range(start + skip + 1, end)
    assert counted == list(range(1, length))


def test_logits_that_are_not_numbers_are_refused(tiny_model_dir: Path) -> None:
    import torch

    from finetune import models

    broken = models.load(str(tiny_model_dir)).model
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(UserError, match="not numbers"):
        likelihood.documents(broken, [[1, 2, 3]], window=8, stride=7)
    with pytest.raises(UserError, match="not numbers"):
        likelihood.choices(broken, [([1, 2], [[3], [4]])])
