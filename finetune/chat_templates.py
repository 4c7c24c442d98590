"""Chat templates: the shipped ones, the choice of one for a tokenizer, and conversations written with it.

A shipped template is one file `templates/NAME.jinja`, written from what a family of models publishes, in the subset of
Jinja that transformers runs, so that it is saved with the result and serves as it trained. It marks the answers with
`{% generation %}`; its first comment says which tokens it `needs`.

A text is written with marks (Unicode's noncharacters, which no text contains) around the answers, and around whatever
in a message is spelled like a control token: such spellings are read as ordinary text, as transformers does with
`sanitize_control_tokens`. Leaves out: tools.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recipes.errors import UserError

FOLDER = Path(__file__).with_name("templates")
Span = tuple[int, int]
ANSWER, ANSWER_END, SPELLED, SPELLED_END = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
MARKS = re.compile(f"[{ANSWER}-{SPELLED_END}]")
TAG = re.compile(r"\{%[-+]?\s*generation\b")
NEEDS = re.compile(r"\{#[^#]*?needs:\s*([^#]*?)\s*-?#\}")
LOOKS_LIKE_A_TOKEN = re.compile(r"<\|[^\s|<>{}'+]+\|>")
PROBES = (
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    [{"role": "system", "content": "c"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
)


def names() -> list[str]:
    """Return the names of the shipped templates."""
    return sorted(file.stem for file in FOLDER.glob("*.jinja"))


def source(name: str) -> str:
    """Return the text of a shipped template, or of a file."""
    file = FOLDER / f"{name}.jinja"
    return (file if name in names() else Path(name)).read_text(encoding="utf-8")


def choose(tokenizer: Any, name: str | None) -> None:
    """Give a tokenizer the template that a recipe names; without one it keeps its own.

    A shipped template that writes no BOS is made to where the tokenizer begins every text with one: the base has never
    read a text without.

    Raises:
        UserError: the template is not written in Jinja, or needs tokens that the tokenizer does not have.
    """
    if name is None:
        return
    text = source(name)
    _check_syntax(name, text)
    if missing := lacking(tokenizer, text):
        fitting = [other for other in names() if not lacking(tokenizer, source(other))]
        raise UserError(
            "model.chat_template",
            f"{name} writes {', '.join(missing)}, which the tokenizer does not have",
            f"write one whose tokens it has ({', '.join(fitting)}), or add the tokens to the vocabulary first"
            if fitting
            else "give the tokenizer an EOS token and write chat_template: plain",
        )
    if name in names() and "bos_token" not in text and _begins_with_bos(tokenizer):
        text = "{{- bos_token }}\n" + text
    tokenizer.chat_template = text


def _check_syntax(name: str, text: str) -> None:
    from jinja2 import TemplateSyntaxError

    try:
        compiled(text)
    except TemplateSyntaxError as error:
        what = f"{name}, line {error.lineno}: {error.message}"
        raise UserError(
            "model.chat_template", what, "correct the template, or write the name of a shipped one"
        ) from None


def lacking(tokenizer: Any, text: str) -> list[str]:
    """Return the tokens that a template needs and a tokenizer lacks; a file that does not say is searched for them."""
    declared = NEEDS.search(text)
    wanted = declared[1].split() if declared else sorted(set(LOOKS_LIKE_A_TOKEN.findall(text)))
    vocabulary = tokenizer.get_vocab()
    have = {"bos_token": True, "eos_token": tokenizer.eos_token is not None}  # without BOS nothing is written there
    return [token for token in wanted if not have.get(token, token in vocabulary)]


def _begins_with_bos(tokenizer: Any) -> bool:
    return tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]


class Template:
    """A tokenizer's template, compiled: conversations to texts, and where in them the answers are."""

    def __init__(self, name: str, text: str, variables: dict[str, Any], controls: tuple[str, ...]) -> None:
        self.name, self.text, self.variables, self.controls = name, text, variables, controls
        self.tagged = bool(TAG.search(text))
        longest_first = sorted(filter(None, controls), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._first_letters = tuple({token[0] for token in longest_first})
        self._family = None if self.tagged else _family(self)

    def write(self, messages: Sequence[dict[str, Any]], prompt: bool = False) -> str:
        """Return a conversation as one text; the answers between marks if the template tags them."""
        return str(compiled(self.text).render(messages=messages, add_generation_prompt=prompt, **self.variables))

    def prompt(self, messages: Sequence[dict[str, Any]]) -> str:
        """Return a conversation as one text, up to where the next answer begins."""
        return _unmarked(self.write(messages, prompt=True))[0]

    def spelled(self, messages: Sequence[dict[str, Any]]) -> tuple[Sequence[dict[str, Any]], bool]:
        """Return messages with marks around spellings of control tokens, and whether there are any."""
        if not any(self._suspicious(message["content"]) for message in messages):
            return messages, False
        found = [{**message, "content": self._spelled(message["content"])} for message in messages]
        return found, any(SPELLED in message["content"] for message in found)

    def _suspicious(self, content: str) -> bool:
        letters = self._first_letters
        return any(letter in content for letter in letters) or (not content.isascii() and bool(MARKS.search(content)))

    def _spelled(self, content: str) -> str:
        return self._control.sub(f"{SPELLED}\\g<0>{SPELLED_END}", MARKS.sub("\ufffd", content))

    def answers(self, messages: Sequence[dict[str, Any]]) -> tuple[str, list[Span]]:
        """Return a conversation's text, and where in it (in characters) each assistant turn's answer and end stand.

        Raises:
            UserError: the template has no tags and rewrites earlier turns.
        """
        if self.tagged:
            return _unmarked(self.write(messages))
        whole = self.write(messages)
        if self._family:
            text, found = self._family.answers(messages)
            if text == whole:
                return whole, found
        return whole, [
            self._added(messages, whole, turn)
            for turn, message in enumerate(messages)
            if message["role"] == "assistant"
        ]

    def _added(self, messages: Sequence[dict[str, Any]], whole: str, turn: int) -> Span:
        """Return what an assistant turn adds to the text before it, up to its last control token."""
        before = self.write(messages[:turn], prompt=True)
        after = self.write(messages[: turn + 1])
        if not whole.startswith(after):  # Phi 3 and others end every finished conversation with EOS
            after = after.removesuffix(str(self.variables.get("eos_token") or ""))
        if not whole.startswith(after) or not after.startswith(before):
            raise UserError(
                self.name,
                f"its chat template rewrites earlier turns (turn {turn + 1}), so the loss mask cannot be found",
                "mark them in the template with {% generation %} ... {% endgeneration %}, or name another with "
                "model.chat_template",
            )
        ended = after.rstrip()
        return len(before), len(ended if ended.endswith(self.controls) and len(ended) > len(before) else after)


def of(tokenizer: Any) -> Template:
    """Return the template of a tokenizer, compiled once for each."""
    controls = tuple(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    variables = dict(tokenizer.special_tokens_map)
    key = (tokenizer.chat_template, repr(variables), controls)
    if key not in _known:
        _known[key] = Template(str(tokenizer.name_or_path), tokenizer.chat_template, variables, controls)
    return _known[key]


_known: dict[tuple[str, str, tuple[str, ...]], Template] = {}


def _family(template: Template) -> Template | None:
    """Return the shipped template that writes the same as one without tags, if one does."""
    for name in names():
        other = Template(template.name, source(name), template.variables, template.controls)
        if all(_same(template, other, probe) for probe in PROBES):
            return other
    return None


def _same(one: Template, other: Template, messages: list[dict[str, Any]]) -> bool:
    from jinja2 import TemplateError

    try:
        return one.write(messages) == _unmarked(other.write(messages))[0]
    except TemplateError:
        return False


def _unmarked(text: str) -> tuple[str, list[Span]]:
    """Return a text without the marks of answers, and where those stood."""
    first, *marked = text.split(ANSWER)
    parts, spans, length = [first], [], len(first)
    for part in marked:
        inside, _, behind = part.partition(ANSWER_END)
        spans.append((length, length + len(inside)))
        parts += (inside, behind)
        length += len(inside) + len(behind)
    return "".join(parts), spans


@functools.lru_cache(maxsize=64)
def compiled(text: str) -> Any:
    """Return a template compiled in transformers' sandbox, with marks in place of its `{% generation %}` tags."""
    from jinja2 import nodes
    from jinja2.ext import Extension
    from transformers.utils.chat_template_utils import _compile_jinja_template

    class Marks(Extension):
        """`{% generation %}` writes marks; transformers' own extension counts characters of blocks instead."""

        tags = {"generation"}
        priority = 200  # behind transformers', so that it is this one which has the tag

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

        def _marked(self, caller: Any) -> str:
            return f"{ANSWER}{caller()}{ANSWER_END}"

    return _compile_jinja_template(text).environment.overlay(extensions=[Marks]).from_string(text)
