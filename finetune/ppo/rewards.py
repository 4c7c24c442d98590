"""What an answer is worth: a reward model on the policy's base, a separate one, or a Python function.

A scorer takes prompts and their answers and returns a number for each. Left out: several weighted reward models, an
HTTP endpoint, a time limit for slow functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_prep import hooks
from finetune import chat
from recipes.errors import UserError

if TYPE_CHECKING:
    from finetune.generate import Answer
    from finetune.models import Reward
    from finetune.ppo.prompts import TokenPrompt
    from finetune.ppo.roles import Roles

Scorer = Callable[[Sequence["TokenPrompt"], Sequence["Answer"]], list[float]]


def by_role(roles: Roles, batch_size: int) -> Scorer:
    """Score with the reward role on the policy's base: the very tokens that were sampled, read at the last one."""

    def score(prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
        pairs = zip(prompts, answers, strict=True)
        return roles.scores([prompt.ids + answer.ids for prompt, answer in pairs], batch_size)

    return score


def by_model(reward: Reward, batch_size: int) -> Scorer:
    """Score with a reward model of its own base: the text is rendered again with its own tokenizer and template."""

    def score(prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
        pairs = zip(prompts, answers, strict=True)
        sequences = [rendered(reward.tokenizer, prompt.messages, answer) for prompt, answer in pairs]
        longest, limit = max(map(len, sequences)), getattr(reward.model.config, "max_position_embeddings", math.inf)
        if longest > limit:
            what = f"an answer with its prompt has {longest} of the reward model's tokens, and its context is {limit}"
            raise UserError("reward_model", what, "lower data.max_prompt_length or generation.max_new_tokens")
        return reward.score(sequences, batch_size=batch_size)

    return score


def rendered(tokenizer: Any, messages: Sequence[chat.Message], answer: Answer) -> list[int]:
    """Return the ids of a prompt with its answer, up to the end of turn; up to before it where the answer was cut."""
    whole = chat.render(tokenizer, [*messages, {"role": "assistant", "content": answer.text}])
    end = len(whole.mask) - whole.mask[::-1].index(1)
    return whole.input_ids[: end if answer.finished else end - 1]


def by_function(name: str, key: str) -> Scorer:
    """Score with a Python function `module:function` of prompt messages, answer text and meta."""
    function = hooks.load(name, key)

    def score(prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> list[float]:
        return [_called(function, name, key, *pair) for pair in zip(prompts, answers, strict=True)]

    return score


def _called(function: Callable[..., Any], name: str, key: str, prompt: TokenPrompt, answer: Answer) -> float:
    try:
        value = function(prompt.messages, answer.text, prompt.meta)
        return float(value["total"] if isinstance(value, Mapping) else value)
    except Exception as error:
        what = f"{name} failed with {type(error).__name__}: {error}; prompt {_short(prompt)}, answer {answer.text!r}"
        raise UserError(key, what, "make it return a number (or a dict with `total`) for every answer") from error


def refuse_nan(scores: Sequence[float], prompts: Sequence[TokenPrompt], answers: Sequence[Answer]) -> None:
    """Refuse scores that are not finite: one of them would turn all weights into NaN.

    Raises:
        UserError: with the first such answer.
    """
    for score, prompt, answer in zip(scores, prompts, answers, strict=True):
        if not math.isfinite(score):
            what = f"the reward is {score} for the prompt {_short(prompt)} and the answer {answer.text!r}"
            raise UserError("reward", what, "make it a finite number; the run goes on from its last checkpoint")


def _short(prompt: TokenPrompt) -> str:
    text = prompt.messages[-1]["content"]
    return repr(text if len(text) <= 80 else text[:77] + "...")
