"""The shapes in which people keep supervised data -> messages.

A shape is recognised by its columns. `read` turns a row into `Conversation`'s messages or `Preference`'s three
lists, and says in a few words why it cannot (`Refused`). The rules for what makes a good row are in `check_turns`.

| shape | columns | where it comes from |
|---|---|---|
| messages | messages: [{role, content}] | OpenAI, TRL |
| sharegpt | conversations: [{from, value}] | ShareGPT, LLaMA-Factory, Axolotl |
| alpaca | instruction, output (input, system) | Stanford Alpaca |
| prompt_completion | prompt, completion: texts or messages | TRL |
| question_answer | question, answer (system) | question lists; also query/response, prompt/response, input/output |
| preference | chosen, rejected, each text or messages (prompt) | TRL, UltraFeedback; or both start with the prompt |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.records import Message

Row = Mapping[str, Any]
ROLE_NAMES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "system": "system",
}  # fmt: skip


class Refused(Exception):
    """A row that cannot be used: a short reason that is counted, and what was seen."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Shape:
    """One way to write supervised data: `needs` are alternatives of columns that must all be there."""

    name: str
    kind: str
    needs: tuple[tuple[str, ...], ...]
    may: tuple[str, ...]
    read: Callable[[Row], dict[str, list[Message]]]

    def fits(self, columns: Iterable[str]) -> bool:
        """Tell whether one of the alternatives is there."""
        return self.needed(columns) is not None

    def needed(self, columns: Iterable[str]) -> tuple[str, ...] | None:
        """Return the first alternative that is there."""
        there = set(columns)
        return next((names for names in self.needs if there.issuperset(names)), None)

    def used(self, columns: Iterable[str]) -> list[str]:
        """Return the columns that the shape reads."""
        there = list(columns)
        return [*(self.needed(there) or ()), *(name for name in self.may if name in there)]


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("not text", f"{name} is a {type(value).__name__}")
    return value


def _turns(row: Row, *pairs: tuple[str, str]) -> list[Message]:
    """Return (role, column) pairs as messages; an absent system text gives none."""
    found = [{"role": role, "content": _text(row, name)} for role, name in pairs]
    return [turn for turn in found if turn["role"] != "system" or turn["content"].strip()]


def _messages(row: Row) -> dict[str, list[Message]]:
    return {"messages": _list(row["messages"], "role", "content")}


def _sharegpt(row: Row) -> dict[str, list[Message]]:
    name = "conversations" if "conversations" in row else "conversation"
    turns = row[name]
    first = turns[0] if isinstance(turns, list) and turns else {}
    keys = ("role", "content") if isinstance(first, dict) and "content" in first else ("from", "value")
    return {"messages": [*_turns(row, ("system", "system")), *_list(turns, *keys)]}


def _alpaca(row: Row) -> dict[str, list[Message]]:
    given = "\n\n".join(filter(str.strip, (_text(row, "instruction"), _text(row, "input"))))
    asked = {**row, "instruction": given}
    return {"messages": _turns(asked, ("system", "system"), ("user", "instruction"), ("assistant", "output"))}


def _question_answer(row: Row) -> dict[str, list[Message]]:
    question, answer = next(names for names in QUESTION_ANSWER if names[0] in row and names[1] in row)
    return {"messages": _turns(row, ("system", "system"), ("user", question), ("assistant", answer))}


def _prompt_completion(row: Row) -> dict[str, list[Message]]:
    return {"messages": [*_either(row["prompt"], "user"), *_either(row["completion"], "assistant")]}


def _preference(row: Row) -> dict[str, list[Message]]:
    """Return prompt, chosen and rejected; messages that both answers start with belong to the prompt."""
    chosen, rejected = (_either(row[name], "assistant") for name in ("chosen", "rejected"))
    prompt = _either(row["prompt"], "user") if row.get("prompt") else []
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    # UltraFeedback and others give the prompt twice: on its own, and at the start of both conversations.
    start = chosen[:shared] if chosen[: len(prompt)] == prompt or not prompt else prompt + chosen[:shared]
    return {
        "prompt": start or prompt,
        "chosen": chosen[shared:],
        "rejected": rejected[shared:],
    }


def _either(value: Any, role: str) -> list[Message]:
    """Return a text as one message of a role, or messages as they are."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return _list(value, "role", "content")


def _list(value: Any, role_key: str, text_key: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise Refused("no messages", f"a {type(value).__name__}" if value else "empty")
    return [_message(item, role_key, text_key) for item in value]


def _message(item: Any, role_key: str, text_key: str) -> Message:
    if not isinstance(item, dict) or role_key not in item or text_key not in item:
        raise Refused("not a message", f"needs {role_key} and {text_key}")
    role, content = ROLE_NAMES.get(str(item[role_key]).lower()), item[text_key]
    if role is None:
        raise Refused("unknown role", str(item[role_key])[:40])
    if not isinstance(content, str):
        raise Refused("not text", f"{text_key} is a {type(content).__name__}")
    return {"role": role, "content": content}


QUESTION_ANSWER = (
    ("question", "answer"), ("query", "response"), ("prompt", "response"), ("question", "response"),
    ("input", "output"),
)  # fmt: skip
SHAPES = (
    Shape("preference", "preferences", (("chosen", "rejected"),), ("prompt",), _preference),
    Shape("messages", "conversations", (("messages",),), (), _messages),
    Shape("sharegpt", "conversations", (("conversations",), ("conversation",)), ("system",), _sharegpt),
    Shape("alpaca", "conversations", (("instruction", "output"),), ("input", "system"), _alpaca),
    Shape("prompt_completion", "conversations", (("prompt", "completion"),), (), _prompt_completion),
    Shape("question_answer", "conversations", QUESTION_ANSWER, ("system",), _question_answer),
)


def recognise(columns: Iterable[str], kind: str) -> Shape | None:
    """Return the shape of rows with these columns."""
    there = list(columns)
    return next((shape for shape in SHAPES if shape.kind == kind and shape.fits(there)), None)


def known(kind: str) -> str:
    """Return the columns of every shape of a kind in words."""
    return ", or ".join("+".join(names) for shape in SHAPES if shape.kind == kind for names in shape.needs)


def renamed(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a row with our column names where `columns` says which of theirs is meant."""
    theirs = set(columns.values())
    kept = {name: value for name, value in row.items() if name not in theirs and name not in columns}
    return {**kept, **{ours: row[name] for ours, name in columns.items() if name in row}}


def check_turns(messages: list[Message]) -> None:
    """Refuse a conversation that cannot be trained on.

    Raises: Refused.
    """
    for index, message in enumerate(messages):
        if not message["content"].strip():
            raise Refused("empty answer" if message["role"] == "assistant" else "empty message", f"turn {index + 1}")
    roles = [message["role"] for message in messages]
    if "user" not in roles:
        raise Refused("no user turn", " ".join(roles) or "no turn at all")
    if roles[-1] != "assistant":
        raise Refused("no answer at the end", f"the last turn is the {roles[-1]}'s")
    turns = roles[1:] if roles[0] == "system" else roles
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(turns)):
        raise Refused("roles out of order", " ".join(roles)[:120])
