"""Perplexity under a causal language model: against the loss of transformers itself, and in windows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from data_prep import filters
from data_prep.records import Document
from finetune import perplexity_scorer
from tests.conftest import SENTENCES

TEXT = " ".join(SENTENCES)


def test_perplexity_is_exp_of_the_loss(tiny_model_dir: Path) -> None:
    tokenizer, model = (
        AutoTokenizer.from_pretrained(tiny_model_dir),
        AutoModelForCausalLM.from_pretrained(tiny_model_dir),
    )
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    if tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    assert len(ids) < 256  # one window
    row = torch.tensor([ids])
    with torch.inference_mode():
        loss = float(model(row, labels=row).loss)
    assert perplexity_scorer.score(TEXT, str(tiny_model_dir)) == pytest.approx(math.exp(loss), rel=1e-4)


def test_a_text_beyond_the_context_is_read_in_windows(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = perplexity_scorer.score(TEXT, str(tiny_model_dir))
    monkeypatch.setattr(perplexity_scorer, "LONGEST", 32)
    assert perplexity_scorer.score(TEXT, str(tiny_model_dir)) == pytest.approx(whole, rel=0.05)
    long = perplexity_scorer.score(TEXT * 20, str(tiny_model_dir))  # 20 times the context of the model itself
    assert long == pytest.approx(whole, rel=0.05)


@pytest.mark.parametrize(("length", "context"), [(0, 8), (1, 8), (2, 8), (8, 8), (9, 8), (100, 8), (101, 7), (5, 2)])
def test_each_token_but_the_first_is_predicted_once_with_half_a_context(length: int, context: int) -> None:
    predicted = []
    for start, end, fresh in perplexity_scorer.windows(length, context):
        assert 0 <= start < fresh < end + 1 <= length + 1
        assert end - start <= context
        assert start == 0 or fresh - start >= context // 2
        predicted += range(fresh, end)
    assert predicted == list(range(1, length))


def test_the_corpus_filter_calls_it_by_name(tiny_model_dir: Path) -> None:
    module, document = filters.modules()["perplexity"], Document("id", TEXT, "source")
    settings = module.Settings(model=str(tiny_model_dir), scorer="finetune.perplexity_scorer:score", max_perplexity=1)
    drop = module.build(settings)(document)
    assert drop is not None
    assert drop.reason == "high_perplexity"
    assert document.meta["perplexity"] == pytest.approx(perplexity_scorer.score(TEXT, str(tiny_model_dir)), rel=1e-3)
