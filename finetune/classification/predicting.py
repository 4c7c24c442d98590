"""A finished classifier: loaded from its folder, and what it says of texts or words, with probabilities.

`classifier.json` holds what transformers' configuration has no place for: the task, the threshold, the longest text.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.classification import encoding
from finetune.classification.losses import Kind, best, logits_of
from finetune.classification.rows import Task
from finetune.classification.validating import word_tags
from finetune.families import Family
from recipes.errors import UserError
from recipes.sections import shipped

FILE = "classifier.json"


@dataclass(frozen=True)
class Settings:
    """How a classifier is used."""

    task: Task
    labels: list[str]
    multi_label: bool
    threshold: float
    max_length: int
    family: Family

    @property
    def kind(self) -> Kind:
        """Return which loss and measures belong to it."""
        if self.task == "token-classification":
            return "tokens"
        return "multi" if self.multi_label else "single"

    def write(self, folder: Path) -> None:
        """Write classifier.json."""
        (folder / FILE).write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: str | Path) -> Settings:
        """Read classifier.json.

        Raises:
            UserError: the folder is no classifier.
        """
        file = shipped(str(folder)) / FILE
        if not file.is_file():
            raise UserError(str(folder), f"no classifier (it has no {FILE})", "name a `stage: classify` folder")
        return cls(**json.loads(file.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Prediction:
    """What is said of a text: its label, or those that apply, and the probability of every label."""

    labels: list[str]
    probabilities: dict[str, float]


@dataclass(frozen=True)
class Classifier:
    """A classifier in memory."""

    model: Any
    tokenizer: Any
    settings: Settings

    @classmethod
    def load(cls, folder: str | Path, *, dtype: str = "auto", device: str | None = None) -> Classifier:
        """Load a finished classifier: a whole model, or an adapter with its head on its base.

        Raises:
            UserError: the folder is no classifier, or the base of its adapter is gone or another one.
        """
        from finetune import models

        settings = Settings.read(folder)
        head: models.Head = "token_classification" if settings.kind == "tokens" else "sequence_classification"
        loaded = models.load(str(folder), head=head, dtype=dtype, device=device)
        return cls(loaded.model, loaded.tokenizer, settings)

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, batch_size: int = 32
    ) -> list[Prediction]:
        """Return what is said of each text (and the second text that goes with it)."""
        both = list(zip(texts, pairs or [""] * len(texts), strict=True))
        told = self.settings
        rows = encoding.encode_texts(self.tokenizer, both, told.max_length, told.family, Counter())
        return [self._prediction(values) for values in self._probabilities(rows, batch_size)]

    def _prediction(self, values: list[float]) -> Prediction:
        names = self.settings.labels
        if self.settings.multi_label:
            chosen = [name for name, value in zip(names, values, strict=True) if value >= self.settings.threshold]
        else:
            chosen = [names[max(range(len(values)), key=values.__getitem__)]]
        return Prediction(chosen, dict(zip(names, values, strict=True)))

    def tag(self, sentences: Sequence[Sequence[str]], *, batch_size: int = 32) -> list[list[str]]:
        """Return the tag of each word of each sentence (a list of words)."""
        told = self.settings
        rows = encoding.encode_words(self.tokenizer, sentences, told.max_length, told.family, Counter())
        best = [
            [max(range(len(token)), key=token.__getitem__) for token in tokens]
            for tokens in self._probabilities(rows, batch_size)
        ]
        return [word_tags(row["places"], tokens, told.labels) for row, tokens in zip(rows, best, strict=True)]

    def _probabilities(self, rows: list[dict[str, Any]], batch_size: int) -> list[Any]:
        told = self.settings
        rows = [{**row, "index": index} for index, row in enumerate(rows)]
        collate = encoding.collate(self.tokenizer.pad_token_id or 0, told.family)
        spread = (lambda logits: logits.sigmoid()) if told.multi_label else (lambda logits: logits.softmax(-1))
        found = outputs(self.model, rows, told.family, told.kind, collate, batch_size, spread)
        return [found[index] for index in range(len(rows))]


def outputs(
    model: Any, rows: Sequence[dict[str, Any]], family: Family, kind: Kind,
    collate: Callable[[Sequence[dict[str, Any]]], dict[str, Any]], batch_size: int,
    of: Callable[[Any], Any] | None = None,
) -> dict[int, Any]:  # fmt: skip
    """Return for each row by its index what `of` makes of its logits, as lists; rows of like length share a batch."""
    import torch

    device = next(model.parameters()).device
    order = sorted(rows, key=lambda row: (len(row["input_ids"]), row["index"]))
    found: dict[int, Any] = {}
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            batch = {name: value.to(device) for name, value in collate(chunk).items()}
            logits = logits_of(model, batch, family, kind).float()
            values = of(logits) if of else best(logits, kind)
            found |= {row["index"]: value for row, value in zip(chunk, values.tolist(), strict=True)}
    model.train(was_training)
    return found
