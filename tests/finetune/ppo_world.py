"""What the tests of PPO share: a tiny policy and reward model as finished stages leave them, and a run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from finetune import models
from finetune.generate import Answer
from finetune.ppo import roles as ppo_roles
from finetune.ppo.prompts import TokenPrompt
from finetune.ppo.rewards import Scorer, by_role
from finetune.ppo.rollout import Sampler
from finetune.ppo.settings import Method, Optimisation
from finetune.ppo.trainer import Ppo
from finetune.ppo.update import Updater
from finetune.stages.ppo import prepare
from recipes.sections import Generation, Lora

LORA = Lora(r=4, lora_alpha=16)


def make_base(tiny: Path, folder: Path) -> Path:
    """Write the tiny model with embeddings ten times as large: its output is no longer nearly even over all tokens."""
    loaded = models.load(str(tiny))
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight.mul_(10)
    models.save(loaded.model, loaded.tokenizer, folder)
    return folder


def randomise(model: Any, seed: int) -> None:
    """Give every LoRA matrix and score head numbers, as training would have."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "lora_" in name or "score" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.2)


def make_sft(base: Path, folder: Path) -> Path:
    """Write an SFT adapter on the base."""
    loaded = models.load(str(base), trainable=True)
    models.add_adapter(loaded, LORA)
    randomise(loaded.model, 1)
    models.save(loaded.model, loaded.tokenizer, folder)
    return folder


def make_reward(sft: Path, folder: Path) -> Path:
    """Write a reward model on the same base."""
    loaded = models.load_reward_base(str(sft), LORA)
    randomise(loaded.model, 2)
    models.save(loaded.model, loaded.tokenizer, folder)
    return folder


def make_roles(
    start: Path, reward: Path | None, value_function: str, *, checkpointing: bool = False
) -> tuple[models.Loaded, ppo_roles.Roles]:
    """Load a policy (adapter or whole model) with all its roles."""
    loaded = models.load(str(start), trainable=True)
    models.add_adapter(loaded, LORA)
    roles = ppo_roles.build(loaded, ppo_roles.read_reward(reward) if reward else None, value_function)
    prepare(loaded, checkpointing)
    return loaded, roles


@dataclass
class Work:
    """The part of a run's work folder that PPO uses."""

    path: Path
    main: bool = True
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def scratch(self) -> Path:
        return self.path / ".scratch"


def questions(tokenizer: Any, count: int = 8) -> list[TokenPrompt]:
    """Prompts of different lengths."""
    words = ["The silver fern", "Mara Holm keeps the rock house.", "A", "When does the blue poppy bloom? In"]
    texts = [words[index % 4] * (1 + index // 4) for index in range(count)]
    return [TokenPrompt(tokenizer(text)["input_ids"], [{"role": "user", "content": text}], {}) for text in texts]


def even_tokens(prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
    """A reward that any policy can learn: the share of even token ids."""
    return [sum(token % 2 == 0 for token in answer.ids) / len(answer.ids) for answer in answers]


def make_run(
    folder: Path,
    start: Path,
    reward: Path | None,
    *,
    score: Scorer | None = None,
    value_function: str = "policy",
    checkpointing: bool = False,
    generation: Generation | None = None,
    prompts: Sequence[TokenPrompt] | None = None,
    method: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> Ppo:
    """Return a run of PPO that is ready to `train`."""
    loaded, roles = make_roles(start, reward, value_function, checkpointing=checkpointing)
    settings = Method(**{"iterations": 3, "rollout_batch_size": 8, "num_mini_batches": 2, **(method or {})})
    optimisation = Optimisation(**{"learning_rate": 1e-2, **(training or {})})
    accelerator = Accelerator(cpu=True)
    score = score or (by_role(roles, 4) if reward else even_tokens)
    generation = generation or Generation(max_new_tokens=8)
    sampler = Sampler(roles, loaded.tokenizer, generation, optimisation, score, None, accelerator)
    updater = Updater(roles, settings, optimisation, generation.temperature, accelerator)
    asked = prompts or questions(loaded.tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(folder, main=accelerator.is_main_process)
    return Ppo(settings, optimisation, sampler, updater, asked, asked[:4], 7, work)  # type: ignore[arg-type]


def trained(run: Ppo) -> torch.Tensor:
    """Return all trained weights in one row."""
    parameters = [*run.sampler.roles.policy_parameters(), *run.sampler.roles.value_parameters()]
    return torch.cat([value.detach().flatten() for value in parameters])
