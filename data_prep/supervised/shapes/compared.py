"""Two answers and which one is better: AlpacaFarm, arena votes, WebGPT, SHP, SafeRLHF, summaries by people.

The verdict is a column that names the better one (1, 2; a, b; 0, 1 where the columns are numbered from 0; model_a), or
two scores. Ties make no pair and are counted.
"""

from __future__ import annotations

from typing import Any

from data_prep.records import Message
from data_prep.supervised import ranking, turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "preferences", 12
ANSWERS = (
    ("output_1", "output_2"), ("answer_1", "answer_2"), ("response_1", "response_2"), ("completion_1", "completion_2"),
    ("answer_0", "answer_1"), ("response_0", "response_1"), ("output_0", "output_1"),
    ("response_a", "response_b"), ("answer_a", "answer_b"), ("output_a", "output_b"),
    ("human_ref_A", "human_ref_B"), ("conversation_a", "conversation_b"),
)  # fmt: skip
VERDICTS = ("winner", "preference", "preferred", "choice", "better_response_id", "better", "label", "labels", "vote")
SCORES = ("score", "rating", "grade", "votes")
TIES = ("tie", "ties", "equal", "both", "tie (bothbad)", "both_bad", "bothbad", "neither", "none", "draw", "same", "")
# SHP keeps the post that was answered under this name, and 1 for A, 0 for B.
SHOWN = ("prompt", "answer_1", "answer_2", "winner")
MAY = (*ranking.PROMPTS, "history", "system", *VERDICTS)
WHY = "it has two answers and a verdict"


def _scores(names: tuple[str, str]) -> list[tuple[str, str]]:
    ends = tuple(name.rpartition("_")[2] for name in names)
    return [(f"{score}_{ends[0]}", f"{score}_{ends[1]}") for score in SCORES]


NEEDS = tuple((*names, verdict) for names in ANSWERS for verdict in VERDICTS) + tuple(
    (*names, *scores) for names in ANSWERS for scores in _scores(names)
)


def read(row: Row, options: Options) -> list[Parts]:
    """Return the pair; a conversation's first turns that both share are its prompt."""
    names = next(names for names in ANSWERS if names[0] in row and names[1] in row)
    first, second = (turns.either(row[name], "assistant", options) for name in names)
    prompt, first, second = _prompt(row, first, second, options)
    scores = next(
        (pair for pair in _scores(names) if row.get(pair[0]) is not None and row.get(pair[1]) is not None), None
    )
    if scores:
        values = [ranking.number(name, row[name]) for name in scores]
        kind = "votes" if scores[0].startswith("votes") or names[0] == "human_ref_A" else "score"
        said = zip((first, second), values, strict=True)
        return ranking.pairs(prompt, [ranking.answer(text, kind, value) for text, value in said], options)
    verdict = next(name for name in VERDICTS if name in row)
    better = _better(names, verdict, row[verdict])
    return [{"prompt": prompt, "chosen": (first, second)[better], "rejected": (second, first)[better]}]


def _prompt(
    row: Row, first: list[Message], second: list[Message], options: Options
) -> tuple[list[Message], list[Message], list[Message]]:
    shared = 0
    while shared < min(len(first), len(second)) - 1 and first[shared] == second[shared]:
        shared += 1
    if isinstance(row.get("history"), str):
        start = [{"role": "user", "content": turns.text(row, "history")}]
    else:
        start = ranking.prompt_of(row, options) if not shared or len(first) == 1 else []
    return start + first[:shared], first[shared:], second[shared:]


def _better(names: tuple[str, str], verdict: str, value: Any) -> int:
    """Return 0 or 1: which answer is the better one.

    Raises: Refused for a tie and for a verdict that cannot be read.
    """
    said = str(value).strip().lower() if value is not None else ""
    if said in TIES:
        raise Refused("tie", f"{verdict} is {said or 'empty'}")
    if names == ("human_ref_A", "human_ref_B") and said in ("0", "1"):
        return 1 - int(said)
    ends = [name.rpartition("_")[2].lower() for name in names]
    for place, (name, end) in enumerate(zip(names, ends, strict=True)):
        other = ("first", "second")[place]
        if said in (end, name.lower(), f"model_{end}", f"response_{end}", f"answer_{end}", f"output_{end}", other):
            return place
    raise Refused("unknown verdict", f"{verdict} is {str(value)[:40]!r}")
