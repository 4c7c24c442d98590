"""`messages: [{role, content}]`: OpenAI's and TRL's conversations, with `tools` where there are tool turns."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Row

KIND, ORDER = "conversations", 10
NEEDS = (("messages",),)
MAY = ("tools", "system")
WHY = "messages hold the whole conversation"


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation."""
    found = turns.messages(row["messages"], options, row.get("tools"))
    system = [] if found[0]["role"] == "system" else turns.single(row, ("system", "system"))
    return [{"messages": system + found}]
