"""One answer with its score in each row, the rows of a prompt anywhere in the file: HelpSteer, judged answers, forums.

A row alone makes no pair, so the rows of a file are held until its end (`gather`), prompts in the order in which they
first stood.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.supervised import ranking, turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "preferences", 13
ANSWERS = ("response", "answer", "completion", "output")
WORTHS = (*ranking.RANKS, *ranking.SCORES, *ranking.VOTES)
NEEDS = tuple(
    (prompt, answer, worth)
    for worth in WORTHS
    for prompt in ranking.PROMPTS
    for answer in ANSWERS
)  # fmt: skip
SHOWN = ("prompt", "response", "score")
MAY = ("system", "system_prompt")
WHY = "it has one answer a row with its score"


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's answer; `gather` makes pairs of all of them."""
    answer = next(name for name in ANSWERS if name in row)
    worth = next(name for name in WORTHS if name in row)
    said = turns.either(row[answer], "assistant", options)
    found = ranking.answer(said, worth, row[worth])
    if not said[-1]["content"].strip():
        raise Refused("empty answer", answer)
    return [{"prompt": ranking.prompt_of(row, options), "answer": found}]


def gather(rows: Sequence[tuple[Any, Parts]], options: Options) -> Iterator[tuple[Any, list[Parts] | Refused]]:
    """Yield for each prompt the place of its first row and its pairs, or why it has none."""
    by_prompt: dict[str, list[tuple[Any, Parts]]] = {}
    for place, parts in rows:
        by_prompt.setdefault(repr(parts["prompt"]), []).append((place, parts))
    for members in by_prompt.values():
        place, first = members[0]
        try:
            yield place, ranking.pairs(first["prompt"], [parts["answer"] for _, parts in members], options)
        except Refused as refused:
            yield place, refused
