"""Was a test item trained on? Looks for the items' words in the files that a checkpoint's lineage names.

Texts are compared word by word in small letters, without punctuation. An item of up to WINDOW words is found where all
its words stand side by side; a longer one is cut into windows of WINDOW words and counts as found when at least half
of them occur in one file. Items of fewer than SHORTEST words are found only where a whole text is nothing else.

Leaves out: paraphrases and near duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.records import read_rows
from eval.lineage import TrainingFile

WINDOW = 13
SHORTEST = 4
WORD = re.compile(r"\w+")
# Columns that name a row and do not show it to the model.
NOT_TEXT = frozenset({"id", "meta", "source", "url", "license", "role"})
Words = tuple[str, ...]


@dataclass(frozen=True)
class Hit:
    """Test items of one task that occur in one training file of some checkpoints."""

    task: str
    file: str
    stage: str
    checkpoints: tuple[str, ...]
    items: tuple[str, ...]
    of: int
    example: str


def words(text: str) -> Words:
    """Return the words of a text in small letters."""
    return tuple(WORD.findall(text.casefold()))


def windows(text: Words) -> list[Words]:
    """Return the parts of an item that are looked for; the last one ends where the item ends."""
    if len(text) <= WINDOW:
        return [text]
    starts = [*range(0, len(text) - WINDOW, WINDOW), len(text) - WINDOW]
    return [text[start : start + WINDOW] for start in starts]


class Wanted:
    """All windows of all items, found by their first SHORTEST words."""

    def __init__(self, probes: Sequence[str]) -> None:
        self.windows = [windows(words(probe)) for probe in probes]
        self.starts: dict[Words, set[Words]] = {}
        self.whole: set[Words] = set()
        for several in self.windows:
            for one in several:
                if len(one) < SHORTEST:
                    self.whole.add(one)
                else:
                    self.starts.setdefault(one[:SHORTEST], set()).add(one)

    def in_text(self, text: str) -> Iterator[Words]:
        """Yield the windows that occur in a text."""
        found = words(text)
        if found in self.whole:
            yield found
        for place, start in enumerate(zip(*(found[shift:] for shift in range(SHORTEST)), strict=False)):
            for one in self.starts.get(start, ()):
                if found[place : place + len(one)] == one:
                    yield one

    def items(self, seen: set[Words]) -> list[int]:
        """Return the items of which at least half of the windows were seen."""
        return [
            index
            for index, several in enumerate(self.windows)
            if several != [()] and 2 * sum(one in seen for one in several) >= len(several)
        ]


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a training row that the model may have read."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            if name not in NOT_TEXT:
                yield from texts(one)


def search(
    tasks: Mapping[str, Sequence[tuple[str, str]]], trained_on: Mapping[str, Sequence[TrainingFile]]
) -> tuple[list[Hit], list[str]]:
    """Return the hits of all tasks (name -> (id, probe) of its items), and the training files that are not there.

    `trained_on` holds the training files of each checkpoint; every file is read once.
    """
    files = {file.named: file for several in trained_on.values() for file in several}
    every = [(task, id_, probe) for task, items in tasks.items() for id_, probe in items]
    wanted = Wanted([probe for _, _, probe in every])
    hits, missing = [], []
    for named, file in files.items():
        if file.path is None:
            missing.append(named)
            continue
        users = tuple(name for name, several in trained_on.items() if any(one.named == named for one in several))
        found = [every[index] for index in wanted.items(_seen(wanted, file.path))]
        for task in tasks:
            there = [(id_, probe) for name, id_, probe in found if name == task]
            if there:
                ids = tuple(id_ for id_, _ in there)
                hits.append(Hit(task, named, file.stage, users, ids, len(tasks[task]), there[0][1]))
    return hits, missing


def _seen(wanted: Wanted, path: Path) -> set[Words]:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if ".jsonl" in one.suffixes)
    return {one for file in files for row in read_rows(file) for text in texts(row) for one in wanted.in_text(text)}
