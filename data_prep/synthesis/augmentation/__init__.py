"""Ways to make new supervised rows from those there are. One file a method; adding one edits nothing.

A method's module has `Settings` (a section of the recipe), `NEEDS_GENERATOR`, and `build(settings, context)`, which
returns a function from a group of origins to the candidates of each. A method rewords what is asked and leaves the
answer (or the label) as it is; one that makes new tasks sets `NEW_TASKS` and gives both. Chance comes from
`context.chance(...)` alone: it depends on the recipe's seed, the method and the row, not on what was done before.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from types import ModuleType
from typing import TYPE_CHECKING

from pydantic import Field

from recipes.sections import Section

if TYPE_CHECKING:
    from data_prep.synthesis.generator import Writer


class MethodSettings(Section):
    """What every method can be told."""

    copies: int = Field(1, ge=1, le=20, description="Attempts for each row that is chosen.")
    share: float = Field(1.0, gt=0, le=1, description="Of the rows, chosen by a hash.")


@dataclass(frozen=True)
class Origin:
    """A row to start from: what is asked (or the text that has a label), and what is answered."""

    id: str
    text: str
    answer: str
    labelled: bool = False


@dataclass(frozen=True)
class Candidate:
    """A new row to be: its text, a new answer if the method writes one, or the reason why nothing came of it."""

    text: str
    answer: str | None = None
    others: tuple[str, ...] = ()  # further origins it was made from
    reason: str = ""


Method = Callable[[Sequence[Origin]], Iterator[list[Candidate]]]


@dataclass(frozen=True)
class Context:
    """What a method may use: a seed for chance, and a generator where the recipe names one."""

    seed: int
    name: str
    writer: Writer | None = None

    def chance(self, *of: object) -> random.Random:
        """Return random numbers that depend on the seed, the method and what is named, in every process alike."""
        return random.Random(seed_for(self.seed, self.name, *of))

    def chosen(self, origin: Origin, share: float) -> bool:
        """Tell whether a row is among the share that the method works on."""
        return share >= 1 or self.chance("share", origin.id).random() < share

    def say(self, requests: Iterator[list[dict[str, str]]]) -> Iterator[tuple[str, str]]:
        """Yield what the generator answers, and the reason where it does not."""
        assert self.writer is not None
        for answer in self.writer.answers(requests):
            yield answer.text, answer.reason


def seed_for(seed: int, *of: object) -> int:
    """Return a seed for one method and row."""
    whole = "\0".join(map(str, (seed, *of)))
    return int.from_bytes(blake2b(whole.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def one_by_one(context: Context, settings: MethodSettings, reword: Callable[[Origin, int], Candidate | None]) -> Method:
    """Return a method that makes each copy of each chosen row by itself; None means that there is nothing to reword."""

    def method(origins: Sequence[Origin]) -> Iterator[list[Candidate]]:
        for origin in origins:
            copies = range(settings.copies) if context.chosen(origin, settings.share) else ()
            yield [candidate for copy in copies if (candidate := reword(origin, copy)) is not None]

    return method


@cache
def modules() -> dict[str, ModuleType]:
    """Return every method by its name."""
    return {item.name: importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__)}


_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the places of a text's words; what is between them stays as it is."""
    return [match.span() for match in _WORD.finditer(text)]
