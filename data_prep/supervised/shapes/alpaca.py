"""An instruction, perhaps with an input, and its answer: Stanford Alpaca, Dolly, LLaMA-Factory (with `history`)."""

from __future__ import annotations

from typing import Any

from data_prep.records import Message
from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "conversations", 20
ANSWERS = ("output", "response", "completion", "answer")
NEEDS = tuple(("instruction", answer) for answer in ANSWERS)
INPUTS = ("input", "context")
SYSTEM = ("system", "system_prompt")
MAY = (*INPUTS, *SYSTEM, "history")
WHY = "it reads the instruction and its input together"


def read(row: Row, options: Options) -> list[Parts]:
    """Return the instruction and its input, an empty line between them, and the answer."""
    answer = next(name for name in ANSWERS if name in row)
    inputs = [turns.text(row, name) for name in INPUTS]
    asked = {**row, "instruction": "\n\n".join(filter(str.strip, (turns.text(row, "instruction"), *inputs)))}
    system = turns.single(row, *(("system", name) for name in SYSTEM))
    last = turns.single(asked, ("user", "instruction"), ("assistant", answer))
    return [{"messages": [*system, *_history(row.get("history")), *last]}]


def _history(value: Any) -> list[Message]:
    """Return earlier exchanges: [[question, answer], ...]."""
    value = turns.unpacked(value)
    found: list[Message] = []
    if value and not isinstance(value, list):
        raise Refused("not a message", f"history is {turns.kind_of(value)}")
    for exchange in value or ():
        if not isinstance(exchange, list) or len(exchange) != 2 or not all(isinstance(said, str) for said in exchange):
            raise Refused("not a message", "history is not a list of [question, answer]")
        found += [{"role": "user", "content": exchange[0]}, {"role": "assistant", "content": exchange[1]}]
    return found
