"""A text and the one to be made of it: summaries, simplifications, data to text; each of several targets a row."""

from __future__ import annotations

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "pairs", 20
NEEDS = (
    ("source", "target"), ("src", "tgt"), ("src", "trg"), ("source", "targets"), ("input_text", "target_text"),
    ("article", "highlights"), ("article", "summary"), ("document", "summary"), ("dialogue", "summary"),
    ("text", "summary"), ("report", "summary"), ("article", "abstract"), ("article", "headline"), ("text", "headline"),
    ("mr", "ref"), ("mr", "refs"), ("meaning_representation", "human_reference"), ("complex", "simple"),
    ("original", "simplification"), ("text", "target"), ("source", "references"), ("source_text", "target_text"),
    ("text", "paraphrase"), ("source", "reference"), ("document", "headline"),
)  # fmt: skip
MAY = ()
WHY = "one column is made of the other"


def read(row: Row, options: Options) -> list[Parts]:
    """Return a pair for each target."""
    source, target = next(names for names in NEEDS if all(name in row for name in names))
    asked, targets = turns.text(row, source), row[target]
    found = turns.unpacked(targets)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        return [{"source": asked, "target": turns.text(row, target)}]
    if not found:
        raise Refused("empty answer", f"{target} is an empty list")
    return [{"source": asked, "target": item} for item in dict.fromkeys(found)]
