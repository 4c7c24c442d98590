"""A question and its answer under one of the usual pairs of names."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.shapes import transcript
from data_prep.supervised.turns import Options, Parts, Row

KIND, ORDER = "conversations", 22
NEEDS = (
    ("question", "answer"), ("query", "response"), ("prompt", "response"), ("question", "response"),
    ("input", "output"), ("query", "answer"), ("prompt", "answer"), ("inputs", "targets"), ("prompt", "output"),
)  # fmt: skip
SYSTEM = ("system", "system_prompt")
MAY = SYSTEM
WHY = "its two columns are a question and an answer"


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation."""
    question, answer = next(names for names in NEEDS if names[0] in row and names[1] in row)
    value = row[question]
    asked = transcript.asked(value, options) if isinstance(value, list) or transcript.is_transcript(value) else None
    system = turns.single(row, *(("system", name) for name in SYSTEM))
    if asked is not None:
        return [{"messages": [*system, *asked, *turns.single(row, ("assistant", answer))]}]
    return [{"messages": [*system, *turns.single(row, ("user", question), ("assistant", answer))]}]
