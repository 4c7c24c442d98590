"""What happened to which document: counts by step and reason, examples, and the dropped documents themselves."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from data_prep import personal_data
from data_prep.filters import Check, Drop
from data_prep.records import Document

EXAMPLES = 3
EXCERPT = 240


@dataclass
class Step:
    """One step of the funnel."""

    name: str
    documents_in: int = 0
    documents_out: int = 0
    words_out: int = 0
    changed: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Return the step for funnel.json."""
        return {**dataclasses.asdict(self), "dropped": dict(sorted(self.dropped.items()))}


class Funnel:
    """Takes documents through steps and remembers what each step did.

    `write_dropped` gets every dropped document with its reason. Its text is redacted: a document that was dropped
    before personal data were looked for must not carry them into a file that people look at.
    """

    def __init__(self, write_dropped: Callable[[dict[str, Any]], None]) -> None:
        self.steps: list[Step] = []
        self._write_dropped = write_dropped
        self._words: dict[str, int] = {}

    def read(self, documents: Iterable[Document]) -> list[Document]:
        """Note what came in."""
        kept = list(documents)
        self._close(Step("read", len(kept)), kept)
        return kept

    def step(self, name: str, documents: list[Document], check: Check) -> list[Document]:
        """Return the documents that a check keeps."""
        step, kept = Step(name, len(documents)), []
        for document in documents:
            before = document.text
            drop = check(document)
            if drop:
                self._drop(step, document, drop)
                continue
            kept.append(document)
            if document.text != before:
                step.changed += 1
                del self._words[document.id]
        return self._close(step, kept)

    def _drop(self, step: Step, document: Document, drop: Drop) -> None:
        step.dropped[drop.reason] += 1
        document.text, _ = personal_data.redact(document.text)
        examples = step.examples.setdefault(drop.reason, [])
        if len(examples) < EXAMPLES:
            examples.append({"id": document.id, "detail": drop.detail, "text": document.text[:EXCERPT]})
        row = dataclasses.asdict(document)
        self._write_dropped({**row, "step": step.name, "reason": drop.reason, "detail": drop.detail})

    def _close(self, step: Step, kept: list[Document]) -> list[Document]:
        step.documents_out = len(kept)
        # Counted again only where the text changed: a dozen steps would otherwise split each text a dozen times.
        for document in kept:
            if document.id not in self._words:
                self._words[document.id] = len(document.text.split())
        step.words_out = sum(self._words[document.id] for document in kept)
        self.steps.append(step)
        return kept

    def reasons(self) -> Counter[str]:
        """Return how many documents were dropped for which reason, over all steps."""
        total: Counter[str] = Counter()
        for step in self.steps:
            total.update(step.dropped)
        return total

    def table(self) -> str:
        """Return the funnel as lines for a terminal."""
        lines = [f"{'step':<20} {'documents':>10} {'words':>12}  dropped, repaired"]
        for step in self.steps:
            said = [f"{reason} {count}" for reason, count in step.dropped.most_common()]
            said += [f"{step.changed} repaired"] if step.changed else []
            lines.append(f"{step.name:<20} {step.documents_out:>10,} {step.words_out:>12,}  {', '.join(said)}".rstrip())
        return "\n".join(lines)
