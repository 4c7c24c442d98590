"""What happened to which document: counts by step and reason, and examples; of one shard, or of all put together."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        row = dataclasses.asdict(self)
        return {**row, "dropped": dict(sorted(self.dropped.items())), "examples": dict(sorted(self.examples.items()))}

    def add(self, row: Mapping[str, Any]) -> None:
        """Put another shard's counts of this step on top."""
        for name in ("documents_in", "documents_out", "words_out", "changed"):
            setattr(self, name, getattr(self, name) + row[name])
        self.dropped.update(row["dropped"])
        for reason, examples in row["examples"].items():
            mine = self.examples.setdefault(reason, [])
            mine += examples[: EXAMPLES - len(mine)]

    def drop(self, document: Document, drop: Drop) -> dict[str, Any]:
        """Count a dropped document; return the row to keep of it.

        Its text is redacted: a document that was dropped before personal data were looked for must not carry them into
        a file that people look at.
        """
        self.dropped[drop.reason] += 1
        document.text, _ = personal_data.redact(document.text)
        examples = self.examples.setdefault(drop.reason, [])
        if len(examples) < EXAMPLES:
            examples.append({"id": document.id, "detail": drop.detail, "text": document.text[:EXCERPT]})
        return {**dataclasses.asdict(document), "step": self.name, "reason": drop.reason, "detail": drop.detail}


class Funnel:
    """Takes documents one by one through a chain of checks; `write_dropped` gets each one that a check drops."""

    def __init__(self, chain: Sequence[tuple[str, Check]], write_dropped: Callable[[dict[str, Any]], None]) -> None:
        self.entry = Step("read")
        self._chain = [(Step(name), check) for name, check in chain]
        self._write_dropped = write_dropped

    def keeps(self, document: Document) -> bool:
        """Take a document through the chain; tell whether it is left at the end."""
        words = _enter(self.entry, document)
        for step, check in self._chain:
            step.documents_in += 1
            before = document.text
            drop = check(document)
            if drop:
                self._write_dropped(step.drop(document, drop))
                return False
            # Counted again only where the text changed: a dozen steps would otherwise split each text a dozen times.
            if document.text is not before and document.text != before:
                step.changed += 1
                words = len(document.text.split())
            step.documents_out += 1
            step.words_out += words
        return True

    def rows(self) -> list[dict[str, Any]]:
        """Return each step's counts, the entry first."""
        return [step.row() for step in (self.entry, *(step for step, _ in self._chain))]


def _enter(entry: Step, document: Document) -> int:
    words = len(document.text.split())
    entry.documents_in += 1
    entry.documents_out += 1
    entry.words_out += words
    return words


def summed(shards: Iterable[Sequence[Mapping[str, Any]]]) -> list[Step]:
    """Return the steps of a pass over all shards, given each shard's rows in order."""
    steps: list[Step] = []
    for rows in shards:
        steps = steps or [Step(row["name"]) for row in rows]
        for step, row in zip(steps, rows, strict=True):
            step.add(row)
    return steps


def reasons(steps: Iterable[Step]) -> Counter[str]:
    """Return how many documents were dropped for which reason, over all steps."""
    total: Counter[str] = Counter()
    for step in steps:
        total.update(step.dropped)
    return total


def table(steps: Iterable[Step]) -> str:
    """Return the funnel as lines for a terminal."""
    lines = [f"{'step':<20} {'documents':>10} {'words':>12}  dropped, repaired"]
    for step in steps:
        said = [f"{reason} {count}" for reason, count in step.dropped.most_common()]
        said += [f"{step.changed} repaired"] if step.changed else []
        lines.append(f"{step.name:<20} {step.documents_out:>10,} {step.words_out:>12,}  {', '.join(said)}".rstrip())
    return "\n".join(lines)
