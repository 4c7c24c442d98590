"""A chosen and a rejected answer, each a text, a message, messages or a transcript: TRL, UltraFeedback, HH, Orca, ...

What both conversations start with belongs to the prompt. The margin is the column `margin`, else the difference of two
scores where the row has them.
"""

from __future__ import annotations

from typing import Any

from data_prep.records import Message
from data_prep.supervised import ranking, turns
from data_prep.supervised.shapes import transcript
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "preferences", 10
NEEDS = (("chosen", "rejected"), ("chosen_response", "rejected_response"), ("response_j", "response_k"))
SCORES = (
    ("score_chosen", "score_rejected"), ("chosen_score", "rejected_score"), ("rating_chosen", "rating_rejected"),
    ("chosen_rating", "rejected_rating"), ("chosen_grade", "rejected_grade"),
)  # fmt: skip
SHOWN = ("prompt", "chosen", "rejected")
MAY = (*ranking.PROMPTS, "conversations", "system", "system_prompt")
WHY = "it says outright which answer was chosen"


def read(row: Row, options: Options) -> list[Parts]:
    """Return prompt, chosen and rejected; messages that both answers start with belong to the prompt."""
    names = next(names for names in NEEDS if names[0] in row and names[1] in row)
    chosen, rejected = (_answer(row[name], options) for name in names)
    prompt = _prompt(row, options)
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    # UltraFeedback and others give the prompt twice: on its own, and at the start of both conversations.
    spoken = [turn for turn in prompt if turn["role"] != "system"]
    start = chosen[:shared] if chosen[: len(prompt)] == prompt else prompt + chosen[:shared]
    if chosen[: len(spoken)] == spoken and shared >= len(spoken):
        start = prompt + chosen[len(spoken) : shared]
    return [{"prompt": start, "chosen": chosen[shared:], "rejected": rejected[shared:], **_margin(row)}]


def _answer(value: Any, options: Options) -> list[Message]:
    if transcript.is_transcript(value):
        return transcript.parsed(value, options)
    return turns.either(value, "assistant", options)


def _prompt(row: Row, options: Options) -> list[Message]:
    if row.get("conversations"):
        found = turns.messages(row["conversations"], options)
        return [*([] if found[0]["role"] == "system" else turns.single(row, ("system", "system"))), *found]
    return ranking.prompt_of(row, options) if any(row.get(name) for name in ranking.PROMPTS) else []


def _margin(row: Row) -> Parts:
    """Return the difference of two scores.

    Raises: Refused where the chosen answer has the lower one.
    """
    names = next((names for names in SCORES if row.get(names[0]) is not None and row.get(names[1]) is not None), None)
    if names is None or row.get("margin") is not None:
        return {}
    better, worse = (ranking.number(name, row[name]) for name in names)
    if better < worse:
        raise Refused("chosen is scored lower", f"{better:g} against {worse:g}")
    return {"margin": round(better - worse, 6)}
