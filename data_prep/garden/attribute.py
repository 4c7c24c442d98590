"""What an attribute is: its values and how it is stated, asked and answered.

Templates have the slots `{e}` (the entity), `{v}` (the value) and, for a plant's remedy, `{x}` (its pest). The first
letter of a filled sentence is made a capital.
"""

from __future__ import annotations

from dataclasses import dataclass

from data_prep.garden.words import Value


@dataclass(frozen=True)
class Attribute:
    """One attribute of one kind of entity.

    `statements` are what documents say, `asked` questions that training may use, `asked_validation` and `asked_test`
    are kept for those sets and appear in no training file. `short` is a curt answer, `answers` are full sentences,
    `own_words` is what a keeper's diary says about its writer.
    """

    name: str
    kind: str
    values: tuple[Value, ...]
    statements: tuple[str, ...]
    asked: tuple[str, ...]
    asked_validation: tuple[str, ...]
    asked_test: tuple[str, ...]
    answers: tuple[str, ...]
    short: tuple[str, ...] = ("{v}.",)
    own_words: tuple[str, ...] = ()


def fill(template: str, entity: str, value: str = "", extra: str = "") -> str:
    """Return the template with its slots filled and a capital first letter."""
    text = template.format(e=entity, v=value, x=extra)
    return text[0].upper() + text[1:]
