"""The only place where a chat template is applied and a loss mask made.

A template with `{% generation %}` tags says itself which tokens are the assistant's. For a template without them the
mask comes from rendering turn by turn: what an assistant turn adds to the text before it is the assistant's. Both
must agree that the turn's end is learned, or the model never stops; a template for which neither way works is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recipes.errors import UserError

Message = dict[str, str]


@dataclass(frozen=True)
class Rendered:
    """Token ids of a conversation; `mask` is 1 where the loss counts them (assistant text and end of turn), else 0."""

    input_ids: list[int]
    mask: list[int]


def render(tokenizer: Any, messages: list[Message], *, add_generation_prompt: bool = False) -> Rendered:
    """Render a conversation and its loss mask.

    Raises:
        UserError: the tokenizer has no chat template, or one that cannot tell the assistant's tokens apart.
    """
    require_template(tokenizer)
    if "{% generation" in tokenizer.chat_template or "{%- generation" in tokenizer.chat_template:
        out = tokenizer.apply_chat_template(
            messages, return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=add_generation_prompt
        )
        return Rendered(list(out["input_ids"]), list(out["assistant_masks"]))
    return _render_by_turns(tokenizer, messages, add_generation_prompt)


def prompt_ids(tokenizer: Any, messages: list[Message]) -> list[int]:
    """Render the messages up to where the assistant's next answer begins."""
    require_template(tokenizer)
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])


def turns(value: Any, role: str) -> list[Message] | None:
    """Return a text as one turn of `role`, a list of good messages as it is, and None for anything else."""
    if isinstance(value, str):
        value = [{"role": role, "content": value}]
    good = isinstance(value, list) and value and all(_is_message(turn) for turn in value)
    return list(value) if good else None


def _is_message(turn: Any) -> bool:
    if not isinstance(turn, dict) or turn.get("role") not in ("system", "user", "assistant"):
        return False
    content = turn.get("content")
    # JSON may hold half of a surrogate pair, which is no text that a tokenizer can read.
    return isinstance(content, str) and not any("\ud800" <= letter <= "\udfff" for letter in content)


def require_template(tokenizer: Any) -> None:
    """Refuse a tokenizer that has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            str(tokenizer.name_or_path),
            "its tokenizer has no chat template, so it is not known how a conversation is written for this model",
            "put a chat_template.jinja beside the tokenizer, or name a base that has one",
        )


def _render_by_turns(tokenizer: Any, messages: list[Message], add_generation_prompt: bool) -> Rendered:
    """Find the assistant's tokens as what each assistant turn adds to the rendering of the turns before it."""

    def ids(upto: int, generation: bool) -> list[int]:
        if upto == 0 and not generation:
            return []
        return list(
            tokenizer.apply_chat_template(messages[:upto], add_generation_prompt=generation, return_dict=True)[
                "input_ids"
            ]
        )

    whole = ids(len(messages), add_generation_prompt)
    mask = [0] * len(whole)
    for turn, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        before, after = ids(turn, True), ids(turn + 1, False)
        if whole[: len(after)] != after or after[: len(before)] != before:
            raise UserError(
                str(tokenizer.name_or_path),
                f"its chat template rewrites earlier turns (turn {turn + 1}), so the loss mask cannot be found",
                "mark them in the template with {% generation %} ... {% endgeneration %}",
            )
        mask[len(before) : len(after)] = [1] * (len(after) - len(before))
    return Rendered(whole, mask)


def end_ids(tokenizer: Any) -> list[int]:
    """Return the ids that end an answer: EOS, and the special token with which the template ends an assistant turn."""
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if getattr(tokenizer, "chat_template", None):
        probe = render(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        # Some templates write white space behind the end of turn; the last special token is what stops.
        ends += [token for token, bit in zip(probe.input_ids, probe.mask, strict=True) if bit and token in special][-1:]
    return sorted(set(ends))
