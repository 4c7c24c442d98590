"""A classifier's validation: the logits that the loss has seen are kept, gathered from all processes and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune.classification import entities, measures
from finetune.classification.losses import Kind, best

UNKNOWN = "O"  # said of a word that was cut off, where there is such a tag


@dataclass
class Validation:
    """Rows to measure on, as encoded and as read; `seen` is handed each batch by the loss in eval mode.

    `last` is what the latest validation found, by row.
    """

    rows: Sequence[dict[str, Any]]
    items: Sequence[Any]
    labels: Sequence[str]
    kind: Kind
    threshold: float | None = 0.5
    found: dict[int, Any] = field(default_factory=dict)
    last: dict[int, Any] = field(default_factory=dict)

    def by_length(self) -> list[dict[str, Any]]:
        """Return the rows so that those of like length share a batch."""
        return sorted(self.rows, key=lambda row: len(row["input_ids"]))

    def seen(self, batch: dict[str, Any], logits: Any) -> None:
        """Keep what is needed of a batch's logits."""
        self.found |= dict(zip(batch["index"].tolist(), best(logits, self.kind).tolist(), strict=True))

    def score(self, model: Any) -> dict[str, float]:
        """Return the measures of what was seen since the last time, over all processes."""
        self.last, self.found = gathered(self.found), {}
        return self.measured(self.last)

    def measured(self, found: dict[int, Any]) -> dict[str, float]:
        """Return the measures of predictions by row."""
        if self.kind == "tokens":
            return measures.tokens(self.tags(found), [item.tags for item in self.items])
        if self.kind == "multi":
            return measures.multi(*decisions(self.rows, found), self.threshold)
        return measures.single([found[index] for index in range(len(self.rows))], [row["target"] for row in self.rows])

    def tags(self, found: dict[int, Any]) -> list[list[str]]:
        """Return the predicted tag of each word."""
        return [word_tags(row["places"], found[index], self.labels) for index, row in enumerate(self.rows)]

    def tables(self, found: dict[int, Any], threshold: float) -> dict[str, Any]:
        """Return what the manifest keeps: measures of each label, and what was taken for what."""
        if self.kind == "tokens":
            predicted, real = self.tags(found), [item.tags for item in self.items]
            said, wanted = ([tag for tags in side for tag in tags] for side in (predicted, real))
            scheme = entities.is_scheme(self.labels)
            by = measures.entity_table(predicted, real) if scheme else measures.table(said, wanted, self.labels)
            return {"by_label": by, "confusion": measures.confusion(said, wanted)}
        if self.kind == "multi":
            probabilities, real = decisions(self.rows, found)
            return {"by_label": measures.multi_table(probabilities >= threshold, real, self.labels)}
        named = [self.labels[found[index]] for index in range(len(self.rows))]
        truth = [self.labels[row["target"]] for row in self.rows]
        return {"by_label": measures.table(named, truth, self.labels), "confusion": measures.confusion(named, truth)}


def word_tags(places: Sequence[int], tokens: Sequence[int], labels: Sequence[str]) -> list[str]:
    """Return a tag for each word, from the best label of each token; words that were cut off are O, or have none."""
    cut = UNKNOWN if UNKNOWN in labels else ""
    return [labels[tokens[place]] if place >= 0 else cut for place in places]


def gathered(found: dict[int, Any]) -> dict[int, Any]:
    """Return what all processes found."""
    from recipes.launch import world

    if world() == 1:
        return found
    from accelerate.utils import gather_object

    return dict(gather_object(list(found.items())))


def decisions(rows: Sequence[dict[str, Any]], found: dict[int, Any]) -> tuple[Any, Any]:
    """Return probabilities and truths (N, K) of labels that do not exclude each other."""
    import numpy as np

    probabilities = np.array([found[index] for index in range(len(rows))])
    return probabilities, np.array([row["target"] for row in rows]) > 0.5
