"""PPO against optima that are known in closed form.

With KL to the reference priced at beta, the best policy is pi_ref exp(r / beta) / Z (Ziegler et al. 2019, section 2.2;
Rafailov et al. 2023, equation 4). Over a vocabulary of 8 and answers of at most three tokens it is summed up exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ppo_world import make_run
from transformers import LlamaConfig, LlamaForCausalLM

from finetune import models
from finetune.generate import Answer
from finetune.ppo.prompts import TokenPrompt
from finetune.ppo.trainer import Ppo
from recipes.sections import Generation

LETTERS, END, PROMPT = 8, 1, [3, 5, 2]
TOKENIZER = SimpleNamespace(
    eos_token_id=END, chat_template=None, decode=lambda ids, **_: str(ids), name_or_path="letters"
)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random language model over 8 letters."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=LETTERS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=16,
        initializer_range=0.3,
        tie_word_embeddings=True,
        eos_token_id=END,
        bos_token_id=None,
    )
    folder = tmp_path_factory.mktemp("letters")
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def every_answer(steps: int) -> list[list[int]]:
    """All answers: ended by END, or cut at `steps` tokens."""
    if steps == 0:
        return [[]]
    return [[END]] + [[letter, *rest] for letter in range(LETTERS) if letter != END for rest in every_answer(steps - 1)]


def worth(answer: Sequence[int]) -> float:
    """A reward that depends on each place, on the length, and on neighbours: no token can be judged by itself."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(3, LETTERS, generator=generator) * 0.4
    value = sum(float(table[step, letter]) for step, letter in enumerate(answer))
    return value + 0.5 * sum(a == b for a, b in itertools.pairwise(answer)) + 0.2 * (answer[-1] == END)


def log_p(run: Ppo, role: str, answers: list[list[int]]) -> torch.Tensor:
    """log p of whole answers, from transformers' own forward pass."""
    found = []
    with run.sampler.roles.acting(role), torch.no_grad():
        for answer in answers:
            logits = run.sampler.roles.model(torch.tensor([PROMPT + answer])).logits[0, len(PROMPT) - 1 : -1]
            found.append(logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None]).sum())
    return torch.stack(found)


def after_training(
    folder: Path,
    letters: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    steps: int,
    beta: float,
    forward: bool = False,
    **keys: Any,
) -> dict[str, float]:
    """Train; return distances (total variation) to the optimum, and the share of the possible gain that was gained."""
    monkeypatch.setattr(models, "load_tokenizer", lambda *_, **__: TOKENIZER)

    def score(prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
        return [worth(answer.ids) for answer in answers]

    method = {"rollout_batch_size": 256, "num_ppo_epochs": 4, "num_mini_batches": 1, "kl_coef": beta, **keys}
    run = make_run(
        folder,
        letters,
        None,
        score=score,
        prompts=[TokenPrompt(PROMPT, [], {})],
        generation=Generation(max_new_tokens=steps),
        method=method,
        training={"per_device_train_batch_size": 256, "generation_batch_size": 256, "save_steps": 1000},
    )
    run.train()
    answers = every_answer(steps)
    reference, policy = log_p(run, "reference", answers), log_p(run, "policy", answers)
    value = torch.tensor([worth(answer) for answer in answers])
    assert float(policy.exp().sum()) == pytest.approx(1, abs=1e-4)
    optimum = forward_optimum(reference, value, beta) if forward else (reference + value / beta).log_softmax(0)

    def objective(log_q: torch.Tensor) -> float:
        log_ratio = log_q - reference
        kl = -(reference.exp() * log_ratio).sum() if forward else (log_q.exp() * log_ratio).sum()
        return float((log_q.exp() * value).sum() - beta * kl)

    gain = (objective(policy) - objective(reference)) / (objective(optimum) - objective(reference))
    return {
        "at first": float((reference.exp() - optimum.exp()).abs().sum() / 2),
        "at last": float((policy.exp() - optimum.exp()).abs().sum() / 2),
        "gain": gain,
    }


def forward_optimum(reference: torch.Tensor, value: torch.Tensor, beta: float) -> torch.Tensor:
    """log of what maximises E_pi r - beta KL(ref || pi): beta ref / (lambda - r); lambda makes it sum to 1."""
    low, high = float(value.max()), float(value.max()) + beta
    for _ in range(60):
        middle = (low + high) / 2
        total = float((beta * reference.double().exp() / (middle - value.double())).sum())
        low, high = (middle, high) if total > 1 else (low, middle)
    return (beta * reference.exp() / (high - value)).log()


@pytest.mark.parametrize(("kl_estimator", "forward"), [("k1", False), ("k2", False), ("k3", True)])
def test_a_bandit(
    letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kl_estimator: str, forward: bool
) -> None:
    found = after_training(
        tmp_path, letters, monkeypatch, steps=1, beta=0.15, forward=forward, iterations=30, kl_estimator=kl_estimator
    )
    assert found["at first"] > 0.3
    assert found["at last"] < 0.05
    assert found["gain"] > 0.98


def test_answers_of_three_tokens(letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = after_training(tmp_path, letters, monkeypatch, steps=3, beta=0.5, iterations=40)
    assert found["at first"] > 0.5
    assert found["at last"] < 0.1
    assert found["gain"] > 0.95
