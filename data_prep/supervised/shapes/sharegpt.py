"""`conversations: [{from, value}]`: ShareGPT, LLaMA-Factory, Axolotl; also with role and content."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Row

KIND, ORDER = "conversations", 11
NEEDS = (("conversations",), ("conversation",))
MAY = ("system", "tools")
WHY = "conversations hold all the turns"


def fits(row: Row) -> bool:
    """Leave lists of bare texts to the shape `exchanges`."""
    value = turns.unpacked(row.get("conversations", row.get("conversation")))
    return not (isinstance(value, list) and value and isinstance(value[0], str))


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation."""
    value = row["conversations"] if "conversations" in row else row["conversation"]
    found = turns.messages(value, options, row.get("tools"))
    system = [] if found[0]["role"] == "system" else turns.single(row, ("system", "system"))
    return [{"messages": system + found}]
