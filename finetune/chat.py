"""The only place where a chat template is applied and a loss mask made.

A template with `{% generation %}` tags says itself which tokens are the assistant's. For a template without them the
mask comes from a shipped one that writes the same, or from rendering turn by turn: what an assistant turn adds to the
text before it is the assistant's, up to its last control token. The end of turn is learned, or the model never stops;
what a template writes behind it (a line break) is not, because no model is ever asked to write it.

A token counts when any of its characters stand in an answer, as in transformers. Ids are those that transformers makes
of the same text, in which the template alone writes control tokens: BOS is there once, and a message that spells one
has it as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune import chat_templates, token_bytes
from finetune.chat_templates import MARKS, SPELLED, SPELLED_END, Span
from recipes.errors import UserError

Message = dict[str, str]
SURROGATE = re.compile("[\ud800-\udfff]")
MANY = 16  # texts from which on it is worth while to know how many bytes each token stands for
PIECES = re.compile(f"{SPELLED}(.*?){SPELLED_END}", re.DOTALL)


@dataclass(frozen=True)
class Rendered:
    """Token ids of a conversation; `mask` is 1 where the loss counts them (assistant text and end of turn), else 0."""

    input_ids: list[int]
    mask: list[int]


def render(tokenizer: Any, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
    """Render a conversation and its loss mask.

    Raises:
        UserError: the tokenizer has no chat template, or one that cannot tell the assistant's tokens apart.
    """
    require_template(tokenizer)
    template = chat_templates.of(tokenizer)
    marked, _ = template.spelled(messages)
    text, spans = template.answers(marked)
    if add_generation_prompt:
        text = template.prompt(marked)
    ((ids, mask),) = encode(tokenizer, [(text, spans)])
    return Rendered(list(ids), list(mask))


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """Render the messages up to where the assistant's next answer begins."""
    require_template(tokenizer)
    template = chat_templates.of(tokenizer)
    marked, _ = template.spelled(messages)
    ((ids, _),) = encode(tokenizer, [(template.prompt(marked), [])])
    return list(ids)


def encode(tokenizer: Any, texts: Iterable[tuple[str, Sequence[Span]]]) -> list[tuple[list[int], bytes]]:
    """Return ids, and 1 for each token that has characters in a span, of texts that a template has written."""
    texts = list(texts)
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = False
    plain = [text for text, _ in texts if SPELLED not in text]
    lengths = token_bytes.lengths(tokenizer) if len(texts) >= MANY else None
    # Without offsets the tokenizer needs a quarter less time.
    encoded = iter(
        (backend.encode_batch if lengths is None else backend.encode_batch_fast)(plain, add_special_tokens=False)
    )
    found = []
    for text, spans in texts:
        if SPELLED in text:
            found.append(_encode_pieces(tokenizer, text, spans))
            continue
        encoding = next(encoded)
        ids: list[int] = encoding.ids
        mask = None if lengths is None else token_bytes.mask(lengths, ids, text, spans)
        if mask is None:
            mask = _mask(encoding if lengths is None else backend.encode(text, add_special_tokens=False), spans)
        found.append((ids, mask))
    return found


def _mask(encoding: Any, spans: Sequence[Span]) -> bytes:
    """Return the mask of a text without marks: a span's first and last token are looked up, not searched for here."""
    mask = bytearray(len(encoding.ids))
    for start, end in spans:
        if start == end:
            continue
        first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
        behind = None if last is None else last + 1
        offsets_needed = (
            first is None or behind is None or (behind < len(mask) and encoding.token_to_chars(behind)[0] < end)
        )
        if offsets_needed:  # a letter of several tokens, or one that the tokenizer drops
            return _overlapping(encoding.offsets, spans)
        mask[first:behind] = b"\1" * (behind - first)
    return bytes(mask)


def _overlapping(offsets: Sequence[Span], spans: Sequence[Span]) -> bytes:
    return bytes(any(begin < end and stop > start for start, end in spans) for begin, stop in offsets)


def _encode_pieces(tokenizer: Any, text: str, spans: Sequence[Span]) -> tuple[list[int], bytes]:
    """Encode a text piece by piece: what stands between marks must not become the control token that it spells."""
    ids: list[int] = []
    offsets: list[Span] = []
    place = 0
    for number, piece in enumerate(PIECES.split(text)):
        as_text = number % 2 == 1
        place += as_text
        piece_ids, piece_offsets = _encode_piece(tokenizer, MARKS.sub("", piece), as_text, first=number == 0)
        ids += piece_ids
        offsets += [(begin + place, end + place) for begin, end in piece_offsets]
        place += len(piece) + as_text
    return ids, _overlapping(offsets, spans)


def _encode_piece(tokenizer: Any, piece: str, as_text: bool, first: bool) -> tuple[list[int], list[Span]]:
    """Encode a piece behind a line break that is then left out: SentencePiece would else put a blank before it."""
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = as_text
    try:
        if not first:
            lead = backend.encode("\n", add_special_tokens=False).ids
            encoding = backend.encode("\n" + piece, add_special_tokens=False)
            if encoding.ids[: len(lead)] == lead:
                offsets = [(max(0, begin - 1), end - 1) for begin, end in encoding.offsets[len(lead) :]]
                return encoding.ids[len(lead) :], offsets
        encoding = backend.encode(piece, add_special_tokens=False)
        return encoding.ids, encoding.offsets
    finally:
        backend.encode_special_tokens = False


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
    return isinstance(content, str) and (content.isascii() or not SURROGATE.search(content))


def require_template(tokenizer: Any) -> None:
    """Refuse a tokenizer that has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            str(tokenizer.name_or_path),
            "its tokenizer has no chat template, so it is not known how a conversation is written for this model",
            "write model.chat_template: NAME (plain fits any base with an EOS token), or name a base that has one",
        )
    if not tokenizer.is_fast:
        raise UserError(
            str(tokenizer.name_or_path),
            "its tokenizer runs in Python and does not say where a token stands in the text",
            "use a base with a tokenizer.json",
        )


def end_ids(tokenizer: Any) -> list[int]:
    """Return the ids that end an answer: EOS, and the special token with which the template ends an assistant turn."""
    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    if getattr(tokenizer, "chat_template", None) and (last := learned_end(tokenizer)) is not None:
        ends.append(last)
    return sorted(set(ends))


def learned_end(tokenizer: Any) -> int | None:
    """Return the special token that an answer ends with and the loss counts; None if there is none."""
    probe = render(tokenizer, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    # Some templates write white space behind the end of turn; the last special token is what stops.
    found = [token for token, bit in zip(probe.input_ids, probe.mask, strict=True) if bit and token in special]
    return found[-1] if found else None


def require_end(tokenizer: Any) -> None:
    """Refuse a template in which the end of an answer is not learned: the model would never stop.

    Raises:
        UserError: no special token is among the tokens of an answer that the loss counts.
    """
    if learned_end(tokenizer) is None:
        raise UserError(
            str(tokenizer.name_or_path),
            "its chat template ends an answer with no special token that the loss counts, so the model would not stop",
            "end an answer with {{ eos_token }} within the {% generation %} tags, or write model.chat_template: plain",
        )


def save_ends(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write generation_config.json with what ends an answer, beside an adapter too: every server stops there."""
    from copy import deepcopy

    settings = deepcopy(model.generation_config)
    settings.eos_token_id = end_ids(tokenizer)
    settings.save_pretrained(folder)
