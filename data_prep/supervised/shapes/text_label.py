"""A text, or two, with a label or a list of labels: text classification, also natural language inference."""

from __future__ import annotations

from typing import Any

from data_prep.supervised import turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "classification", 20
TWO = (
    ("premise", "hypothesis"), ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text_a", "text_b"),
    ("question1", "question2"), ("question", "sentence"), ("text", "text_pair"),
)  # fmt: skip
ONE = (
    "text", "sentence", "content", "utterance", "review", "tweet", "comment", "query", "question", "body", "document",
    "abstract", "title", "message", "email", "headline", "input",
)  # fmt: skip
LABELS = ("label_text", "label", "labels", "category", "categories", "class", "intent", "sentiment", "topic",
          "tag", "tags", "target", "emotion", "gold_label")  # fmt: skip
NEEDS = tuple((*texts, label) for label in LABELS for texts in (*TWO, *((name,) for name in ONE)))
SHOWN = ("text", "label")
MAY = ()
WHY = "it has a text and a label"


def fits(row: Row) -> bool:
    """Leave rows whose label is a long text to pairs of texts."""
    label = row[next(name for name in LABELS if name in row)]
    return not isinstance(label, dict) and not (isinstance(label, str) and len(label) > 200)


def read(row: Row, options: Options) -> list[Parts]:
    """Return text, the second text where there is one, and labels."""
    column = next(name for name in LABELS if name in row)
    pair = next((names for names in TWO if all(name in row for name in names)), None)
    names = pair or (next(name for name in ONE if name in row),)
    texts = [turns.text(row, name) for name in names]
    parts = {"text": texts[0], "labels": labels(column, row[column], options)}
    return [{**parts, "text_pair": texts[1]} if pair else parts]


def labels(column: str, value: Any, options: Options) -> list[str]:
    """Return the labels in a cell: one, or the members of a list; an empty list is a row to which none applies.

    Raises: Refused for a missing one, for one that is not in the list, for numbers with a fraction.
    """
    value = turns.unpacked(value)
    if isinstance(value, list):
        found = [label(column, item, options) for item in value]
        return list(dict.fromkeys(found))
    if options.label_separator and isinstance(value, str):
        pieces = [piece for piece in value.split(options.label_separator) if piece.strip()]
        return list(dict.fromkeys(label(column, piece, options) for piece in pieces))
    return [label(column, value, options)]


def label(column: str, value: Any, options: Options) -> str:
    """Return one label as a text; a number counts into the recipe's list of labels unless it stands in it itself.

    Raises: Refused.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Refused("label missing", column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int):
        raise Refused("label is no name", f"{column} is {value:g}" if isinstance(value, float) else
                      f"{column} is {turns.kind_of(value)}")  # fmt: skip
    found = str(value).strip()
    if isinstance(value, bool):
        found = found.lower()
    if not options.labels or found in options.labels:
        return found
    if found.isdigit() and int(found) < len(options.labels):
        return options.labels[int(found)]
    raise Refused("label not in the list", found[:60])
