"""Several answers to one prompt with ranks, scores or votes -> pairs of a better and a worse one.

Every two answers of different worth make a pair; `margin` is how far apart they are in the data's own unit (a rank, a
grade, a point). Votes say how many people were for each, so `agreement` is the share of the two answers' votes that
the better one has and `raters` is how many there are. Of more than `max_pairs` pairs those with the widest margins are
kept: a prompt with twenty answers would otherwise weigh as much as 190 with two.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.records import Message
from data_prep.supervised import turns
from data_prep.supervised.shapes import transcript
from data_prep.supervised.turns import Options, Parts, Refused, Row

TEXTS = ("answer", "response", "completion", "text", "content", "output", "body", "message", "value")
RANKS = ("rank", "ranking", "position")
VOTES = ("votes", "upvotes", "up_votes", "likes", "pm_score", "count")
SCORES = (
    "score",
    "grade",
    "rating",
    "overall_score",
    "fine_grained_score",
    "reward",
    "points",
    "quality",
    "helpfulness",
)
PROMPTS = ("prompt", "question", "instruction", "query", "input")


@dataclass(frozen=True)
class Answer:
    """One answer: `worth` is larger for better ones; `votes` where people voted."""

    said: list[Message]
    worth: float
    votes: float | None = None


def prompt_of(row: Row, options: Options) -> list[Message]:
    """Return a row's prompt under any of its names, with the system message before it.

    Raises: Refused.
    """
    name = next((name for name in PROMPTS if row.get(name)), None)
    if name is None:
        raise Refused("missing column", f"no {', '.join(PROMPTS)}")
    value = row[name]
    if name == "instruction" and isinstance(row.get("input"), str) and row["input"].strip():
        value = f"{value}\n\n{row['input']}"
    asked = transcript.asked(value, options)
    system = (
        [] if asked[0]["role"] == "system" else turns.single(row, ("system", "system"), ("system", "system_prompt"))
    )
    return [*system, *asked]


def from_objects(items: Sequence[Any], options: Options) -> list[Answer]:
    """Return the answers in a list of objects, each with a text and a rank, score or number of votes.

    Raises: Refused.
    """
    found = []
    for item in items:
        if not isinstance(item, dict):
            raise Refused("not an answer", f"{turns.kind_of(item)} where an object was expected")
        text = next((item[name] for name in TEXTS if item.get(name) is not None), None)
        if text is None:
            raise Refused("not an answer", f"needs one of {', '.join(TEXTS)}")
        name = next((name for name in (*RANKS, *SCORES, *VOTES) if item.get(name) is not None), None)
        if name is None:
            raise Refused("not an answer", f"needs one of {', '.join((*RANKS, *SCORES, *VOTES))}")
        found.append(answer(turns.either(text, "assistant", options), name, item[name]))
    return found


def answer(said: list[Message], name: str, value: Any) -> Answer:
    """Return an answer with the worth that a column of this name gives it.

    Raises: Refused for a worth that is no number.
    """
    worth = number(name, value)
    if name in RANKS:
        return Answer(said, -worth)
    return Answer(said, worth, worth if name in VOTES and worth >= 0 else None)


def number(name: str, value: Any) -> float:
    """Return a number, also one that is written as text.

    Raises: Refused.
    """
    try:
        found = float(value) if not isinstance(value, bool) else float("nan")
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if found != found or abs(found) == float("inf"):
        raise Refused("not a number", f"{name} is {str(value)[:40]!r}" if isinstance(value, str) else
                      f"{name} is {turns.kind_of(value)}")  # fmt: skip
    return found


def pairs(prompt: list[Message], answers: Sequence[Answer], options: Options) -> list[Parts]:
    """Return the pairs of answers that differ in worth, the widest apart first.

    Raises: Refused where no pair can be made.
    """
    if len(answers) < 2:
        raise Refused("one answer only", f"{len(answers)}")
    found = [_pair(prompt, better, worse) for better, worse in _ordered(answers, options.min_margin)]
    if not found:
        raise Refused("no better answer", f"{len(answers)} answers, no two further apart than {options.min_margin:g}")
    return found[: options.max_pairs] if options.max_pairs else found


def _ordered(answers: Sequence[Answer], min_margin: float) -> Iterator[tuple[Answer, Answer]]:
    couples = [
        (one, other) if one.worth > other.worth else (other, one)
        for one, other in itertools.combinations(answers, 2)
        if one.worth != other.worth and abs(one.worth - other.worth) >= min_margin
    ]
    yield from sorted(couples, key=lambda couple: couple[1].worth - couple[0].worth)


def _pair(prompt: list[Message], better: Answer, worse: Answer) -> Parts:
    parts: Parts = {"prompt": [dict(turn) for turn in prompt], "chosen": better.said, "rejected": worse.said}
    if better.votes is None or worse.votes is None:
        return {**parts, "margin": round(better.worth - worse.worth, 6)}
    total = better.votes + worse.votes
    return {**parts, "agreement": round(better.votes / total, 6), "raters": int(total)}
