"""`prompt` and `completion`, each a text or messages: TRL, OpenAI's older fine-tuning files."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.shapes import transcript
from data_prep.supervised.turns import Options, Parts, Row

KIND, ORDER = "conversations", 21
NEEDS = (("prompt", "completion"),)
MAY = ("system",)
WHY = "prompt and completion are one name"


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation."""
    asked = transcript.asked(row["prompt"], options)
    system = [] if asked and asked[0]["role"] == "system" else turns.single(row, ("system", "system"))
    return [{"messages": [*system, *asked, *turns.either(row["completion"], "assistant", options)]}]
