"""Multiple choice by likelihood: which of the choices does the model find most likely behind the question?

`accuracy` takes the choice with the highest log p; `accuracy_per_byte` divides by the choice's length in bytes first,
because long choices are unlikely for their length alone. Nothing is generated.

Rows: question (text or messages), choices (texts), answer (the right choice's index from 0, or its text).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from eval.metrics import accuracy
from eval.subjects import Policy
from eval.task import Item, Measure, Message, Outcome, TaskSection, column, messages, spread

SUBJECT = "policy"
MAIN = ("accuracy",)
LABELS = {"accuracy": "accuracy", "accuracy_per_byte": "acc./byte"}


class Task(TaskSection):
    """Multiple choice by likelihood."""

    kind: Literal["multiple_choice"] = "multiple_choice"
    style: Literal["chat", "plain"] = Field(
        "chat", description="chat: through the chat template; plain: the texts below."
    )
    question: str = Field("question", description="Column.")
    choices: str = Field("choices", description="Column.")
    answer: str = Field("answer", description="Column: index from 0, or the text of the right choice.")
    prompt: str = Field("Question: {question}\nAnswer:", description="style plain: what stands before a choice.")
    choice: str = Field(" {choice}", description="style plain: how a choice is written; style chat strips it.")


def parse(task: Task, row: dict[str, Any]) -> Item:
    """Return a row as an item.

    Raises:
        ValueError: a column is missing, or the answer is none of the choices.
    """
    question = messages(row, task.question, "user")
    choices = column(row, task.choices)
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(one, str) and one for one in choices):
        raise ValueError(f"{task.choices} is {choices!r:.60}, not a list of at least two texts")
    answer = column(row, task.answer)
    index = choices.index(answer) if answer in choices else answer
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(choices):
        raise ValueError(f"{task.answer} is {answer!r:.60}, neither one of the choices nor 0 to {len(choices) - 1}")
    last = question[-1]["content"]
    return Item("", last, last, choices[index], {"question": question, "choices": choices, "answer": index})


def measure(task: Task, items: Sequence[Item], subject: Policy) -> Outcome:
    """Take the likeliest choice of each question."""
    from eval import likelihood

    requests = [request(task, item, subject) for item in items]
    asked = [len(context) + max(map(len, several)) <= subject.context for context, several in requests]
    sums = likelihood.choices(subject.model, [one for one, fits in zip(requests, asked, strict=True) if fits])
    put = [item for item, fits in zip(items, asked, strict=True) if fits]
    per_byte = [
        [value / len(choice.encode()) for value, choice in zip(values, item.data["choices"], strict=True)]
        for values, item in zip(sums, put, strict=True)
    ]
    taken = {
        "accuracy": [_best(values) for values in sums],
        "accuracy_per_byte": [_best(values) for values in per_byte],
    }
    right = [item.data["answer"] for item in put]
    measures = {
        name: Measure("accuracy", LABELS[name], spread(accuracy.statistics(best, right), asked))
        for name, best in taken.items()
    }
    named = iter(item.data["choices"][best] for item, best in zip(put, taken["accuracy"], strict=True))
    return Outcome(measures, asked, [next(named) if fits else "" for fits in asked], {"style": task.style})


def _best(values: Sequence[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)


def request(task: Task, item: Item, subject: Policy) -> tuple[list[int], list[list[int]]]:
    """Return the context's ids and those of each choice, as the model would read them one behind the other."""
    question: list[Message] = item.data["question"]
    written = [task.choice.replace("{choice}", one) for one in item.data["choices"]]
    if task.style == "plain":
        return _plain(subject.tokenizer, task.prompt.replace("{question}", question[-1]["content"]), written)
    from finetune import chat

    encode = subject.tokenizer.encode
    # A special token stands between prompt and answer, so no token can span both.
    return chat.prompt_ids(subject.tokenizer, question), [
        encode(one.strip(), add_special_tokens=False) for one in written
    ]


def _plain(tokenizer: Any, context: str, written: Sequence[str]) -> tuple[list[int], list[list[int]]]:
    """Split each whole text where the context's tokens end; a token that spans both belongs to the choice."""
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    wholes = [start + tokenizer.encode(context + one, add_special_tokens=False) for one in written]
    alone = start + tokenizer.encode(context, add_special_tokens=False)
    same = len(alone)
    while any(whole[:same] != alone[:same] for whole in wholes):
        same -= 1
    return alone[:same], [whole[same:] for whole in wholes]
