"""A conversation as one text with marks: "\\n\\nHuman: ... Assistant: ..." (HH), "### Human:" (Guanaco), ChatML."""

from __future__ import annotations

import re
from typing import Any

from data_prep.records import Message
from data_prep.supervised.turns import Options, Parts, Refused, Row, either, text

KIND, ORDER = "conversations", 13
NEEDS = (("text",), ("transcript",), ("conversation",))
MAY = ()
WHY = "its text has the marks of a conversation"

_MARKS = (
    re.compile(r"(?:^|\n\n)(Human|Assistant|System): ?"),
    re.compile(r"### ?(Human|Assistant|System|User|Instruction|Response|Input): ?\n?"),
    re.compile(r"<\|im_start\|>(\w+)\n"),
)
_ROLES = {"instruction": "user", "response": "assistant"}
_END = re.compile(r"<\|im_end\|>\s*$")


def fits(row: Row) -> bool:
    """Tell a text that starts with a mark and has two."""
    value = next((row[names[0]] for names in NEEDS if names[0] in row), None)
    return is_transcript(value)


def read(row: Row, options: Options) -> list[Parts]:
    """Return the row's conversation."""
    name = next(names[0] for names in NEEDS if names[0] in row)
    return [{"messages": parsed(text(row, name), options)}]


def is_transcript(value: object) -> bool:
    """Tell whether a value is a text that begins with the mark of a turn and holds another."""
    if not isinstance(value, str):
        return False
    return any(mark.match(value.lstrip()) and len(mark.findall(value)) > 1 for mark in _MARKS)


def asked(value: Any, options: Options) -> list[Message]:
    """Return a prompt's messages: a text, messages, or a transcript that ends with the mark of the answer to come.

    Raises: Refused.
    """
    if not is_transcript(value):
        return either(value, "user", options)
    found = parsed(value, options)
    return found[:-1] if not found[-1]["content"] else found


def parsed(value: str, options: Options) -> list[Message]:
    """Return the turns of a text.

    Raises: Refused.
    """
    value = value.strip()
    mark = next((mark for mark in _MARKS if mark.match(value)), None)
    if mark is None:
        raise Refused("not a transcript", "does not start with Human:, ### Human: or <|im_start|>")
    pieces = mark.split(value)[1:]
    return [
        {"role": options.role(_ROLES.get(role.lower(), role)), "content": _END.sub("", said).strip()}
        for role, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
