"""How often the recipe's reward model puts the better of two answers above the worse, on held-out pairs.

Split by which answer is longer, because a reward model that has only learnt length shows it here: it is right where
the better answer is the longer one, and wrong elsewhere. Two equal rewards count as wrong.

Rows: `prompt`, `chosen`, `rejected`, each a text or messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from eval.metrics import accuracy
from eval.subjects import Scorer, scores
from eval.task import Item, Measure, Outcome, TaskSection, messages, spread
from recipes.sections import Fault

SUBJECT = "reward"
MAIN = ("accuracy",)
LABELS = {
    "accuracy": "pair accuracy",
    "accuracy_better_is_longer": "better is longer",
    "accuracy_better_is_not_longer": "better is not longer",
}


class Task(TaskSection):
    """Held-out pairs for the reward model."""

    kind: Literal["preference_accuracy"] = "preference_accuracy"


def faults(task: Task, recipe: Any) -> list[Fault]:
    """Refuse pairs without anything to score them."""
    if recipe.reward_model is None:
        return [
            Fault(("kind",), "preference_accuracy measures a reward model, and none is named", "add `reward_model:`")
        ]
    return []


def parse(task: Task, row: dict[str, Any]) -> Item:
    """Return a row as an item.

    Raises:
        ValueError: a column is missing or is neither text nor messages.
    """
    prompt = messages(row, "prompt", "user")
    sides = {side: messages(row, side, "assistant") for side in ("chosen", "rejected")}
    last = prompt[-1]["content"]
    return Item("", last, last, sides["chosen"][-1]["content"], {"prompt": prompt, **sides})


def measure(task: Task, items: Sequence[Item], subject: Scorer) -> Outcome:
    """Score both sides of each pair."""
    from finetune import chat

    both = [
        [chat.render(subject.reward.tokenizer, item.data["prompt"] + item.data[side]).input_ids for item in items]
        for side in ("chosen", "rejected")
    ]
    asked = [max(len(a), len(b)) <= subject.context for a, b in zip(*both, strict=True)]
    fitting = [[ids for ids, fits in zip(side, asked, strict=True) if fits] for side in both]
    given = [scores(subject.reward, side) for side in fitting]
    right = [float(a > b) for a, b in zip(*given, strict=True)]
    rows = spread(accuracy.statistics(right, [1.0] * len(right)), asked)
    longer = [_length(item, "chosen") > _length(item, "rejected") for item in items]
    kept = {
        "accuracy": [True] * len(items),
        "accuracy_better_is_longer": longer,
        "accuracy_better_is_not_longer": [not one for one in longer],
    }
    measures = {name: _measure(name, rows, keep) for name, keep in kept.items() if any(keep)}
    both_scores = iter(zip(*given, strict=True))
    answers = ["{:+.2f} against {:+.2f}".format(*next(both_scores)) if fits else "" for fits in asked]
    return Outcome(measures, asked, answers)


def _length(item: Item, side: str) -> int:
    return sum(len(message["content"]) for message in item.data[side])


def _measure(name: str, rows: Sequence[tuple[float, ...]], keep: Sequence[bool]) -> Measure:
    """Return the accuracy on a part of the items; the others become rows of zeros."""
    nothing = (0.0, 0.0)
    return Measure("accuracy", LABELS[name], [row if kept else nothing for row, kept in zip(rows, keep, strict=True)])
