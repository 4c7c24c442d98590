"""One answer and whether it is good: what KTO trains on. TRL's prompt, completion, label; messages with a label."""

from __future__ import annotations

from typing import Any

from data_prep.supervised import ranking, turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "unpaired", 10
ANSWERS = ("completion", "response", "answer", "output")
LABELS = ("label", "kto_tag", "thumbs_up", "is_good", "good", "accepted", "desirable", "feedback", "thumb")
NEEDS = tuple((prompt, answer, label) for label in LABELS for prompt in ranking.PROMPTS for answer in ANSWERS) + tuple(
    (name, label) for label in LABELS for name in ("messages", "conversations")
)
SHOWN = ("prompt", "completion", "label")
MAY = ("system", "system_prompt")
WHY = "it says of each answer whether it is good"
GOOD = ("true", "1", "1.0", "good", "up", "thumbs_up", "yes", "accepted", "desirable", "positive", "👍")
BAD = ("false", "0", "0.0", "-1", "bad", "down", "thumbs_down", "no", "rejected", "undesirable", "negative", "👎")


def read(row: Row, options: Options) -> list[Parts]:
    """Return prompt, completion and label."""
    column = next(name for name in LABELS if name in row)
    label = _verdict(column, row[column])
    name = next((name for name in ("messages", "conversations") if name in row), None)
    if name:
        found = turns.messages(row[name], options)
        return [{"prompt": found[:-1], "completion": found[-1:], "label": label}]
    answer = next(name for name in ANSWERS if name in row)
    prompt = ranking.prompt_of({key: value for key, value in row.items() if key != answer}, options)
    return [{"prompt": prompt, "completion": turns.either(row[answer], "assistant", options), "label": label}]


def _verdict(column: str, value: Any) -> bool:
    said = str(value).strip().lower()
    if value is None or said == "":
        raise Refused("label missing", column)
    if said in GOOD or said in BAD:
        return said in GOOD
    raise Refused("unknown label", f"{column} is {str(value)[:40]!r}, neither true nor false")
