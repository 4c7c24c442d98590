"""What is remembered of each row that is kept while the rows themselves wait on disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Kept:
    """A row: where it stands, what it asks and answers, its labels, and the value that holds rows together."""

    file: str
    line: int
    prompt: str
    answers: tuple[str, ...]
    labels: tuple[str, ...]
    group: str

    @property
    def place(self) -> str:
        """Return file and line."""
        return f"{self.file}:{self.line}"
