"""Cells of a row -> messages and texts; what the shapes in `data_prep/supervised/shapes/` share.

A cell may hold a value or, as in CSV files, the value written as JSON or as a Python literal. A message's content is a
text or OpenAI's list of parts, of which all must be text. Roles go by `ROLE_NAMES`, to which a recipe may add.

Tool calls and results have no role of their own in the rows that trainers read. `tool_turns: refuse` refuses such a
conversation; `as_text` writes them in the form of Hermes and Qwen: a call as `<tool_call>` in the assistant's text, a
result as `<tool_response>` in a user's turn, the tools' descriptions as `<tools>` in the system message, so that calls
are trained on and results are not.

An answer with `weight: 0` (OpenAI) or `train: false` (Axolotl) is kept with `weight: 0`: it is read and not learnt.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_prep.records import Message

Row = Mapping[str, Any]
Parts = dict[str, Any]
ROLE_NAMES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant",
    "system": "system", "developer": "system",
    "function_call": "tool call", "tool_call": "tool call",
    "tool": "tool result", "function": "tool result", "observation": "tool result", "tool_response": "tool result",
    "ipython": "tool result",
}  # fmt: skip
MAX_LITERAL = 2**20  # characters of a Python literal in a CSV cell that are parsed


class Refused(Exception):
    """A row that cannot be used: a short reason that is counted, and what was seen."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def said(self) -> str:
        """Return reason and detail in one line."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


@dataclass(frozen=True)
class Options:
    """How cells are to be understood; see the recipe of `stage: instructions`."""

    roles: Mapping[str, str] = field(default_factory=lambda: ROLE_NAMES)
    tool_turns: str = "refuse"
    label_separator: str = ""
    languages: tuple[str, str] = ("", "")
    labels: tuple[str, ...] = ()
    max_pairs: int = 0
    min_margin: float = 0.0

    def role(self, name: Any) -> str:
        """Return our role for theirs.

        Raises: Refused.
        """
        role = self.roles.get(str(name).lower()) or self.roles.get(str(name))
        if role is None:
            raise Refused("unknown role", str(name)[:40])
        return role


def kind_of(value: Any) -> str:
    """Return the type of a value in JSON's words."""
    if isinstance(value, bool):
        return "a truth value"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def text(row: Row, name: str) -> str:
    """Return the text in a column; a missing one is empty.

    Raises: Refused.
    """
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused("not text", f"{name} is {kind_of(value)}")
    return value


def unpacked(value: Any) -> Any:
    """Return the list or object that a text stands for, else the value itself."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")) or len(value) > MAX_LITERAL:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def single(row: Row, *pairs: tuple[str, str]) -> list[Message]:
    """Return (role, column) pairs as messages; an absent system text gives none."""
    found = [{"role": role, "content": text(row, name)} for role, name in pairs]
    return [turn for turn in found if turn["role"] != "system" or turn["content"].strip()]


def either(value: Any, role: str, options: Options) -> list[Message]:
    """Return a text as one message of a role, or messages as they are."""
    if isinstance(value, str) and not is_messages(unpacked(value)):
        return [{"role": role, "content": value}]
    return messages(value, options)


def is_messages(value: Any) -> bool:
    """Tell a list of messages from any other list, which may well be an answer."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], dict)
        and bool({"role", "from"} & set(value[0]))
    )


def messages(value: Any, options: Options, tools: Any = None) -> list[Message]:
    """Return a list of messages in either spelling: role and content, or from and value.

    Raises: Refused.
    """
    value = unpacked(value)
    if isinstance(value, dict) and ("content" in value or "value" in value):
        value = [value]  # ORPO and others: an answer as one message
    if not isinstance(value, list) or not value:
        raise Refused("no messages", kind_of(value) if value else "empty")
    keys = ("from", "value") if isinstance(value[0], dict) and "from" in value[0] else ("role", "content")
    turns = [turn for item in value for turn in _turns(item, *keys, options)]
    if tools and options.tool_turns == "as_text":
        turns = _with_tools(turns, unpacked(tools))
    return _merged(turns)


def _turns(item: Any, role_key: str, text_key: str, options: Options) -> list[Message]:
    if not isinstance(item, dict) or role_key not in item or not {text_key, "tool_calls", "function_call"} & set(item):
        raise Refused("not a message", f"needs {role_key} and {text_key}")
    role, calls = options.role(item[role_key]), item.get("tool_calls") or item.get("function_call")
    if role in ("tool call", "tool result") or calls:
        found = _tool_turn(role, item.get(text_key), calls, options, str(item[role_key]))
    else:
        found = [{"role": role, "content": _content(item.get(text_key), text_key)}]
    if found[0]["role"] != "assistant" or _is_learnt(item):
        return found
    return [{**turn, "weight": 0} for turn in found]


def _is_learnt(item: Row) -> bool:
    """Return whether a message counts in the loss.

    Raises: Refused for a weight between 0 and 1.
    """
    weights = [item[name] for name in ("weight", "train") if item.get(name) is not None]
    if odd := [value for value in weights if value not in (0, 1)]:
        raise Refused("weight of a turn", f"{str(odd[0])[:40]}, not 0 or 1")
    return all(weights)


def unlearnt(turns: Sequence[Message]) -> int:
    """Return how many answers are read and not learnt."""
    return sum(turn.get("weight") == 0 for turn in turns)


def _content(value: Any, name: str) -> str:
    """Return a content's text.

    Raises: Refused.
    """
    if isinstance(value, list):
        for part in value:
            if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
                seen = part.get("type", "a part") if isinstance(part, dict) else kind_of(part)
                raise Refused("not text", f"{name} holds {str(seen)[:40]}")
        return "\n".join(part["text"] for part in value)
    if not isinstance(value, str):
        raise Refused("not text", f"{name} is {kind_of(value)}")
    return value


def _tool_turn(role: str, content: Any, calls: Any, options: Options, written: str) -> list[Message]:
    if options.tool_turns != "as_text":
        raise Refused("tool turn", written if not calls else f"{written} calls a tool")
    said = content if isinstance(content, str) else "" if content is None else _json(content)
    if role == "tool result":
        return [{"role": "tool result", "content": f"<tool_response>\n{said.strip()}\n</tool_response>"}]
    if role == "tool call":
        calls, said = [said], ""
    blocks = [f"<tool_call>\n{_call(call)}\n</tool_call>" for call in (calls if isinstance(calls, list) else [calls])]
    return [{"role": "assistant", "content": "\n".join(filter(None, (said.strip(), *blocks)))}]


def _call(call: Any) -> str:
    """Return a call as `{"name": ..., "arguments": {...}}`; OpenAI keeps the arguments as a text of JSON."""
    call = unpacked(call)
    if not isinstance(call, dict):
        return str(call).strip()
    function = call.get("function", call)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Refused("not a message", "a tool call without a name")
    return _json({"name": function["name"], "arguments": unpacked(function.get("arguments", {}))})


def _with_tools(turns: list[Message], tools: Any) -> list[Message]:
    block = "<tools>\n" + "\n".join(map(_json, tools if isinstance(tools, list) else [tools])) + "\n</tools>"
    if turns and turns[0]["role"] == "system":
        return [{"role": "system", "content": f"{turns[0]['content'].rstrip()}\n\n{block}"}, *turns[1:]]
    return [{"role": "system", "content": block}, *turns]


def _merged(turns: list[Message]) -> list[Message]:
    """Return tool results as users' turns, the results of calls made at once as one."""
    merged: list[Message] = []
    results = False
    for turn in turns:
        if turn["role"] != "tool result":
            merged.append(turn)
        elif results:
            merged[-1] = {"role": "user", "content": merged[-1]["content"] + "\n" + turn["content"]}
        else:
            merged.append({"role": "user", "content": turn["content"]})
        results = turn["role"] == "tool result"
    return merged


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check_turns(turns: list[Message]) -> None:
    """Refuse a conversation that cannot be trained on.

    Raises: Refused.
    """
    for index, message in enumerate(turns):
        if not message["content"].strip():
            raise Refused("empty answer" if message["role"] == "assistant" else "empty message", f"turn {index + 1}")
    roles = [message["role"] for message in turns]
    if "user" not in roles:
        raise Refused("no user turn", " ".join(roles) or "no turn at all")
    if roles[-1] != "assistant":
        raise Refused("no answer at the end", f"the last turn is the {roles[-1]}'s")
    if unlearnt(turns) == roles.count("assistant"):
        raise Refused("turn of weight 0", "no answer of the row is to be learnt")
    spoken = roles[1:] if roles[0] == "system" else roles
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(spoken)):
        raise Refused("roles out of order", " ".join(roles)[:120])
