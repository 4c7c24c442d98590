"""A Modelfile for Ollama beside a GGUF file: where a turn begins and ends, and what stops an answer.

Ollama writes conversations with a Go template of its own, not with the Jinja one in the file. Where a chat template
does no more than put the same marks around each role's message, these are found by rendering, and what comes out is
held against the template on several conversations; any other template is left to the reader, in a comment.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

ROLES = ("system", "user", "assistant")
MARK = "\u2063message\u2063"
TALKS = (("user",), ("system", "user"), ("user", "assistant", "user"), ("system", "user", "assistant", "user"))
Around = dict[str, tuple[str, str]]


def write(folder: Path, file: str, tokenizer: Any, *, adds_bos: bool) -> bool:
    """Write the Modelfile; return whether it has a template."""
    from finetune import chat

    lines = [f"FROM ./{file}"]
    found = around(tokenizer, adds_bos) if tokenizer.chat_template else None
    if found:
        lines.append(f'TEMPLATE """{_go(*found)}"""')
    else:
        lines.append("# Ollama needs a TEMPLATE in Go's language here: the chat template was not carried over.")
    ends = dict.fromkeys([tokenizer.eos_token_id, *chat.end_ids(tokenizer)])
    lines += [f'PARAMETER stop "{token}"' for token in tokenizer.convert_ids_to_tokens(list(ends))]
    (folder / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return found is not None


def around(tokenizer: Any, adds_bos: bool) -> tuple[Around, str] | None:
    """Return what stands before and behind each role's message, and before the answer; None if it depends on more."""
    from jinja2 import TemplateError

    bos = tokenizer.bos_token or ""

    def render(roles: tuple[str, ...], prompt: bool = False) -> str:
        talk = [{"role": role, "content": f"{MARK}{role}"} for role in roles]
        text = str(tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=prompt))
        # llama.cpp puts BOS there itself.
        return text.removeprefix(bos) if adds_bos and bos else text

    try:
        found = _marks(render)
        if found is None or any(render(roles, True) != _joined(*found, roles) for roles in TALKS):
            return None
    except TemplateError:
        return None
    literal = "".join(part for pair in found[0].values() for part in pair) + found[1]
    return None if "{{" in literal or '"""' in literal or "\\" in literal else found


def _marks(render: Callable[..., str]) -> tuple[Around, str] | None:
    system, user, talk = render(("system", "user")), render(("user",)), render(("user", "assistant"))
    prompted = render(("user",), True)
    if not (system.endswith(user) and talk.startswith(user) and prompted.startswith(user)):
        return None
    pieces = system[: -len(user)], user, talk[len(user) :]
    parts = [text.split(f"{MARK}{role}") for role, text in zip(ROLES, pieces, strict=True)]
    if any(len(part) != 2 for part in parts):
        return None
    return {role: (part[0], part[1]) for role, part in zip(ROLES, parts, strict=True)}, prompted[len(user) :]


def _joined(marks: Around, prompt: str, roles: tuple[str, ...]) -> str:
    return "".join(f"{marks[role][0]}{MARK}{role}{marks[role][1]}" for role in roles) + prompt


def _go(marks: Around, prompt: str) -> str:
    """Return the template in Go's language; an unfinished last answer is gone on with."""
    branches = [
        f'{{{{ if eq .Role "{role}" }}}}{marks[role][0]}{{{{ .Content }}}}{marks[role][1]}{{{{ end }}}}'
        for role in ROLES
    ]
    return f"{{{{ range .Messages }}}}{''.join(branches)}{{{{ end }}}}{prompt}"
