"""Find evaluation questions in training documents.

A question of at least `ngram` words is found by any run of `ngram` words of it (13, Brown et al. 2020, appendix C); a
shorter one only as a whole. Words are folded runs of letters and digits (`data_prep.shingles`), so case, punctuation
and white space hide nothing. Questions of fewer than `SHORTEST` words ("What is acne?") stand in many honest texts and
are left out; how many is reported.

What counts as the question of a row: the columns in `QUESTION`, and of messages the user's. Answers and references are
not searched for by themselves: that a document tells the fact which a test asks for is what training is about. A row
with none of these columns is searched with all its texts.

Left out: questions in other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import shingles
from data_prep.records import numbered_rows

if TYPE_CHECKING:
    Hashes = shingles.Hashes

QUESTION = ("question", "prompt", "instruction", "query", "text", "messages", "input")
SHORTEST = 5
CONTEXT = 80  # characters shown on either side of a hit


@dataclass(frozen=True)
class Item:
    """One evaluation question and where it stands."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Hit:
    """An evaluation question found in a document, with the words shared and the place in the document's text."""

    item: Item
    shared: str
    excerpt: str


@dataclass
class Questions:
    """An index of evaluation questions: for each length of run, its hash and the question."""

    ngram: int = 13
    items: int = 0
    too_short: int = 0
    _runs: dict[int, dict[int, Item]] = field(default_factory=dict)
    _sorted: dict[int, Hashes] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        """Take a question into the index."""
        words = shingles.words(item.text)
        if len(words) < SHORTEST:
            self.too_short += 1
            return
        self.items += 1
        self._sorted.clear()
        length = min(len(words), self.ngram)
        known = self._runs.setdefault(length, {})
        for run in shingles.runs(shingles.hashes(words), length).tolist():
            known.setdefault(run, item)

    def hits(self, text: str) -> list[Hit]:
        """Return the questions found in a text, each once, in the order of the text."""
        of_words = shingles.hashes(shingles.words(text))
        places: dict[Item, tuple[int, int]] = {}
        for length, runs in shingles.runs_of_each_length(of_words, max(self._runs, default=0)):
            if length in self._runs:
                for position, item in self._found(shingles.scramble(runs), length):
                    places.setdefault(item, (position, length))
        if not places:
            return []
        # Folding can change how many words there are only for rare compatibility characters; the excerpt may then
        # start a word too early or too late, the hit itself is certain.
        spans = [match.span() for match in re.finditer(shingles.WORD, text)]
        return [_hit(text, spans, item, *place) for item, place in sorted(places.items(), key=lambda pair: pair[1])]

    def _found(self, runs: Hashes, length: int) -> Iterator[tuple[int, Item]]:
        import numpy as np

        if length not in self._sorted:
            self._sorted[length] = np.array(sorted(self._runs[length]), dtype=np.uint64)
        known = self._sorted[length]
        # Few questions against many runs: a binary search for each run is several times faster than np.isin.
        nearest = np.minimum(np.searchsorted(known, runs), len(known) - 1)
        for position in np.flatnonzero(known[nearest] == runs).tolist():
            yield position, self._runs[length][int(runs[position])]


def index(paths: Sequence[Path | str], ngram: int = 13) -> Questions:
    """Return the questions of evaluation files (JSON lines), or of all such files in folders.

    Raises: UserError with `file:line` for a corrupt line.
    """
    questions = Questions(ngram)
    for path in paths:
        for file in files(Path(path)):
            for line, row in numbered_rows(file):
                for text in texts(row):
                    questions.add(Item(str(file), line, text))
    return questions


def files(path: Path) -> list[Path]:
    """Return the JSON-lines files that a path names."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*.jsonl*") if file.name.endswith((".jsonl", ".jsonl.gz")))


def texts(row: dict[str, Any]) -> list[str]:
    """Return what a row asks."""
    columns = [row[name] for name in QUESTION if name in row] or list(row.values())
    return [text for column in columns for text in _strings(column) if text.strip()]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        if "role" in value and "content" in value:
            yield from _strings(value["content"]) if value["role"] == "user" else ()
        else:
            for item in value.values():
                yield from _strings(item)


def _hit(text: str, spans: list[tuple[int, int]], item: Item, position: int, length: int) -> Hit:
    last = min(position + length, len(spans)) - 1
    start, end = spans[min(position, last)][0], spans[last][1]
    shared = " ".join(text[start:end].split())
    return Hit(item, shared, " ".join(text[max(0, start - CONTEXT) : end + CONTEXT].split()))
