"""Free answers: the model writes, text metrics compare with the references.

Any metric of eval/metrics that reads predictions and references as text can be named. Rows: `prompt` (text or
messages) and `references` (texts), or any columns through the templates `user` and `reference`, as in
`user: "{question}"`, `reference: "{answer}"`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from eval import metrics
from eval.subjects import Policy
from eval.task import Item, Measure, Outcome, TaskSection, column, filled, prompt_of, spread
from recipes.sections import Fault

SUBJECT = "policy"
WRITES = True
MAIN = ("contains", "token_f1")
TEXT = {"predictions": "string", "references": ["string"]}


class Task(TaskSection):
    """Free answers against references."""

    kind: Literal["generate"] = "generate"
    user: str | None = Field(None, description="The question, made of columns: `{question}`. Absent: column `prompt`.")
    reference: str | None = Field(None, description="The right answer, made of columns. Absent: column `references`.")
    metrics: list[str] = Field(["contains", "token_f1", "exact_match", "bleu"], min_length=1)


def faults(task: Task, recipe: Any) -> list[Fault]:
    """Refuse metrics that do not exist or do not compare texts."""
    found = []
    for index, name in enumerate(task.metrics):
        if mistake := metrics.unknown(name):
            found.append(Fault(("metrics", index), *mistake))
        elif metrics.named(name).COLUMNS != TEXT:
            fitting = [one for one in metrics.names() if metrics.named(one).COLUMNS == TEXT]
            found.append(Fault(("metrics", index), f"{name} does not compare texts", f"one of {', '.join(fitting)}"))
    return found


def parse(task: Task, row: dict[str, Any]) -> Item:
    """Return a row as an item.

    Raises:
        ValueError: a column is missing, or there is no reference.
    """
    prompt = prompt_of(task.user, row)
    references = column(row, "references") if task.reference is None else [filled(task.reference, row)]
    if not isinstance(references, list) or not references or not all(isinstance(one, str) for one in references):
        raise ValueError(f"references is {references!r:.60}, not a list of texts")
    last = prompt[-1]["content"]
    return Item(
        "", last, last, references[0], {"prompt": prompt, "references": references, "meta": row.get("meta", {})}
    )


def measure(task: Task, items: Sequence[Item], subject: Policy) -> Outcome:
    """Let the model answer, and compare."""
    given = subject.answers([item.data["prompt"] for item in items])
    asked = [one is not None for one in given]
    said = [one.text for one in given if one is not None]
    wanted = [item.data["references"] for item, fits in zip(items, asked, strict=True) if fits]
    measures = {}
    for name in task.metrics:
        metric = metrics.named(name)
        rows = metric.statistics(predictions=said, references=wanted)
        measures[name] = Measure(name, metric.LABEL, spread(rows, asked))
    ended = sum(one.finished for one in given if one is not None)
    notes = {
        "metric signatures": {name: metrics.signature(name) for name in task.metrics},
        "answers that ended themselves": f"{ended} of {len(said)}",
    }
    return Outcome(measures, asked, [one.text if one else "" for one in given], notes)
