"""The sampler against transformers' own greedy decoding, and its independence of batch and padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune import generate
from finetune.models import Loaded, load
from recipes.sections import Generation


@pytest.fixture(scope="module")
def loaded(tiny_model_dir: Path) -> Loaded:
    return load(str(tiny_model_dir))


@pytest.fixture(scope="module")
def prompts(loaded: Loaded) -> list[list[int]]:
    texts = ["The silver fern", "Mara Holm keeps the rock house. She", "A", "When does the blue poppy bloom? In"]
    return [loaded.tokenizer(text)["input_ids"] for text in texts]


def test_greedy_equals_transformers(loaded: Loaded, prompts: list[list[int]]) -> None:
    settings = Generation(max_new_tokens=20, do_sample=False)
    ours = generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=0)
    for prompt, answer in zip(prompts, ours, strict=True):
        theirs = loaded.model.generate(torch.tensor([prompt]), max_new_tokens=20, do_sample=False)[0, len(prompt) :]
        assert answer.ids == theirs.tolist()


def test_answers_do_not_depend_on_batch_size(loaded: Loaded, prompts: list[list[int]]) -> None:
    settings = Generation(max_new_tokens=30)
    whole = generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=3)
    singly = generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=3, batch_size=1)
    assert [answer.ids for answer in whole] == [answer.ids for answer in singly]
    assert len({tuple(answer.ids) for answer in whole}) > 1


def test_sampling_log_probs_are_those_of_a_fresh_forward_pass(loaded: Loaded, prompts: list[list[int]]) -> None:
    settings = Generation(max_new_tokens=12, temperature=0.7)
    for prompt, answer in zip(
        prompts, generate.generate(loaded.model, loaded.tokenizer, prompts, settings, seed=1), strict=True
    ):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([prompt + answer.ids])).logits[0, len(prompt) - 1 : -1]
        wanted = (logits / 0.7).log_softmax(-1).gather(1, torch.tensor(answer.ids)[:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(answer.logprobs), wanted, atol=1e-5)


def test_tokens_are_drawn_with_their_probability() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20000, 4)
    draws = torch.rand(20000, generator=torch.Generator().manual_seed(0))
    tokens, _ = generate.pick(logits, draws, Generation())
    share = torch.bincount(tokens, minlength=4) / 20000
    assert torch.allclose(share, torch.tensor([0.5, 0.3, 0.15, 0.05]), atol=0.01)


@pytest.mark.parametrize(
    ("settings", "allowed"), [({"top_k": 2}, {0, 1}), ({"top_p": 0.55}, {0, 1}), ({"top_p": 0.1}, {0})]
)
def test_top_k_and_top_p_cut_the_tail(settings: dict[str, Any], allowed: set[int]) -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(500, 4)
    draws = torch.rand(500, generator=torch.Generator().manual_seed(0))
    tokens, _ = generate.pick(logits, draws, Generation(**settings))
    assert set(tokens.tolist()) == allowed


def test_an_answer_stops_at_its_end_token(loaded: Loaded, prompts: list[list[int]]) -> None:
    answers = generate.generate(loaded.model, loaded.tokenizer, prompts * 20, Generation(max_new_tokens=60), seed=5)
    end = loaded.tokenizer.eos_token_id
    assert any(answer.finished for answer in answers)
    for answer in answers:
        assert answer.finished == (answer.ids[-1] == end)
        assert end not in answer.ids[:-1]
        assert "<|end|>" not in answer.text


def test_streaming_gives_the_text_of_generate(loaded: Loaded, prompts: list[list[int]]) -> None:
    settings = Generation(max_new_tokens=15, do_sample=False)
    pieces = list(generate.stream(loaded.model, loaded.tokenizer, prompts[0], settings, seed=0))
    assert pieces[-1] == generate.generate(loaded.model, loaded.tokenizer, prompts[:1], settings, seed=0)[0].text


def test_log_likelihoods_equal_the_sum_over_single_passes(loaded: Loaded, prompts: list[list[int]]) -> None:
    requests = [(prompts[0], prompts[2]), (prompts[1], prompts[3]), (prompts[2], prompts[0])]
    results = generate.log_likelihoods(loaded.model, requests)
    for (context, continuation), (log_p, length, _) in zip(requests, results, strict=True):
        with torch.no_grad():
            logits = loaded.model(torch.tensor([context + continuation])).logits[0].log_softmax(-1)
        by_hand = sum(float(logits[len(context) + i - 1, token]) for i, token in enumerate(continuation))
        assert log_p == pytest.approx(by_hand, abs=1e-4)
        assert length == len(continuation)
