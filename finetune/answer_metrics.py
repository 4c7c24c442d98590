"""Answers to a sample of the validation conversations, scored by metrics of `eval/metrics` at each validation.

The metrics are loaded by name (training/selection.py): that floor is above this one. Each conversation is cut before
its last answer, which is the reference. Every process answers the same prompts, so all of them get the same figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

from pydantic import Field

from finetune.training import selection
from recipes.sections import Fault, Generation, Section

Score = Callable[[Any], dict[str, float]]


class Evaluation(Section):
    """What is measured on sampled answers at each validation, besides the loss."""

    metrics: list[str] = Field(min_length=1, description="Names of eval/metrics: bleu, token_f1, exact_match, ...")
    validation_samples: int = Field(
        64, ge=1, description="How many validation conversations are answered, from the first."
    )
    generation: Generation = Field(
        default_factory=lambda: Generation(do_sample=False), description="Greedy unless do_sample: true is written."
    )


def faults(evaluation: Evaluation | None, validation_file: str | None) -> list[Fault]:
    """Return what is wrong with the metrics of a recipe."""
    if evaluation is None:
        return []
    found = selection.faults(("evaluation", "metrics"), evaluation.metrics)
    if validation_file is None:
        found.append(Fault(("evaluation",), "there is nothing to answer", "write data.validation_file"))
    if not found:
        for name in evaluation.metrics:
            if set(_columns(name)) != {"predictions", "references"}:
                what = f"{name} reads {', '.join(_columns(name))}, not an answer and its reference"
                found.append(
                    Fault(("evaluation", "metrics"), what, "write others, such as bleu, token_f1, exact_match")
                )
    return found


def scorer(evaluation: Evaluation, tokenizer: Any, talks: Iterable[list[dict[str, Any]]], seed: int) -> Score:
    """Return a function that lets a model answer and gives each metric's score."""
    from finetune import attention, chat, generate

    ended = (talk for talk in talks if len(talk) > 1 and talk[-1]["role"] == "assistant")
    chosen = list(itertools.islice(ended, evaluation.validation_samples))
    prompts = [chat.prompt_ids(tokenizer, talk[:-1]) for talk in chosen]
    references = [talk[-1]["content"] for talk in chosen]

    def score(model: Any) -> dict[str, float]:
        with attention.restored(model):
            answers = generate.generate(model, tokenizer, prompts, evaluation.generation, seed=seed)
        said = [answer.text for answer in answers]
        return {name: _score(name, said, references) for name in evaluation.metrics}

    return score


def _score(name: str, said: list[str], references: list[str]) -> float:
    several = isinstance(_columns(name)["references"], list)
    return selection.compute(
        name, predictions=said, references=[[one] for one in references] if several else references
    )


def _columns(name: str) -> dict[str, Any]:
    columns: dict[str, Any] = import_module(f"{selection.METRICS}.{name}").COLUMNS
    return columns
