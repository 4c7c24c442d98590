"""How well a model predicts held-out documents: bits per byte, and perplexity by token and by word.

Sums over documents, never means of batches. A document is read in windows of `window` tokens, each of which starts
where the one before ended (`stride` absent), or moves on by `stride` tokens, so that each token has at least
window - stride tokens before it. The first token is predicted from the tokenizer's BOS or, without one, EOS token.

Rows: `text`, or any columns through the template `text: "{title}\n{abstract}"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from eval import metrics
from eval.subjects import Policy
from eval.task import Item, Measure, Outcome, TaskSection, filled
from recipes.sections import Fault

SUBJECT = "policy"
MAIN = ("bits_per_byte",)


class Task(TaskSection):
    """Held-out documents."""

    kind: Literal["perplexity"] = "perplexity"
    text: str = Field("{text}", description="The document, made of columns.")
    window: int = Field(1024, ge=8, description="Tokens at once; a model with a shorter context gets its context.")
    stride: int | None = Field(None, ge=1, description="Tokens between the starts of two windows; absent: no overlap.")


def faults(task: Task, recipe: Any) -> list[Fault]:
    """Refuse a stride that would leave tokens out."""
    if task.stride is not None and task.stride >= task.window:
        return [
            Fault(("stride",), f"{task.stride} leaves tokens out between windows of {task.window}", "a smaller number")
        ]
    return []


def parse(task: Task, row: dict[str, Any]) -> Item:
    """Return a row as an item.

    Raises:
        ValueError: a column is missing, or the text is empty.
    """
    text = filled(task.text, row)
    if not text.strip():
        raise ValueError("the text is empty")
    return Item("", text, text[:200], "", {"text": text})


def measure(task: Task, items: Sequence[Item], subject: Policy) -> Outcome:
    """Sum up the negative log-likelihood of each document."""
    from eval import likelihood

    tokenizer = subject.tokenizer
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    prefix = [] if start is None else [start]
    texts = [item.data["text"] for item in items]
    ids = [prefix + tokenizer.encode(text, add_special_tokens=False) for text in texts]
    window = min(task.window, subject.context)
    stride = min(task.stride or window - 1, window - 1)
    nll = likelihood.documents(subject.model, ids, window=window, stride=stride)
    columns: dict[str, dict[str, Sequence[float]]] = {
        "bits_per_byte": {"nll": nll, "bytes": [len(text.encode()) for text in texts]},
        "perplexity": {"nll": nll, "tokens": [len(one) - 1 for one in ids]},
        "word_perplexity": {"nll": nll, "words": [len(text.split()) for text in texts]},
    }
    measures = {
        name: Measure(name, metrics.named(name).LABEL, metrics.named(name).statistics(**there))
        for name, there in columns.items()
    }
    notes = {"window": window, "stride": stride, "tokens": sum(len(one) - 1 for one in ids)}
    return Outcome(measures, [True] * len(items), notes=notes)
