"""A file of conversations to rows of token ids and loss masks: one pass, in batches, kept for the next run.

Each conversation is written once by the compiled template, and some hundred texts at a time are tokenised in Rust, on
all cores (`RAYON_NUM_THREADS` says otherwise), in order. Answers are found by characters, so nothing runs over tokens
in Python. The ids are those of transformers' `apply_chat_template`.

Rows are kept (row_cache.py) in the run's scratch folder, which is gone once it is published, or in the folder that the
environment variable `TUNELOOP_CACHE` names, for all runs on the same data.

Nothing is cut within an answer, and what cannot be used is left out and counted. Leaves out: tools.
"""

from __future__ import annotations

import datetime
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from finetune import chat, chat_templates, row_cache, token_bytes
from finetune.row_cache import Chunk, Rows
from recipes import hashing
from recipes.errors import UserError
from recipes.sections import shipped

TOO_LONG, NOTHING_LEARNT, NO_ANSWER = "longer than max_length", "no turn to train on", "no assistant turn"
SHORTENED, SPELLED = "conversations without their first turns", "conversations that spell a special token"
OTHER_SHAPES = ("alpaca", "question_answer", "sharegpt", "prompt_completion")  # of data_prep/supervised/shapes
AT_ONCE = 512  # conversations
Message = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What becomes of a conversation; the names are those of `stage: sft`."""

    max_length: int
    train_on: Literal["assistant", "last_turn", "all"] = "assistant"
    system_prompt: str | None = None
    too_long: Literal["leave_out", "drop_first_turns", "refuse"] = "leave_out"
    special_tokens_in_text: Literal["as_text", "as_tokens", "refuse"] = "as_text"


def rows(path: str | None, tokenizer: Any, settings: Settings, scratch: Path | None = None) -> Rows:
    """Return the rows of a file; kept in `scratch` or where TUNELOOP_CACHE says, or in memory if there is neither.

    Raises:
        UserError: no conversation can be used, a line is none, or the settings refuse one.
    """
    chat.require_template(tokenizer)
    if path is None:
        return row_cache.in_memory([])
    path = str(shipped(path))
    reading = _Reading(path, tokenizer, settings)
    named = os.environ.get("TUNELOOP_CACHE")
    folder = Path(named) if named else scratch
    if folder is None:
        found = row_cache.in_memory(reading.chunks())
        found.left_out, found.told = dict(reading.left_out), dict(reading.told)
        return found
    return row_cache.kept(folder, _depends_on(path, tokenizer, settings), reading.chunks, reading.counts)


def _depends_on(path: str, tokenizer: Any, settings: Settings) -> dict[str, Any]:
    """Return everything that rows depend on: a change of any makes them anew."""
    import tokenizers
    import transformers

    code = [Path(module.__file__ or "") for module in (chat, chat_templates, token_bytes, row_cache)] + [Path(__file__)]
    template = tokenizer.chat_template
    return {
        "file": hashing.file_hash(path),
        "tokenizer": hashing.text_hash(tokenizer.backend_tokenizer.to_str()),
        "template": [template, repr(tokenizer.special_tokens_map)],
        "shipped": [chat_templates.source(name) for name in chat_templates.names()],
        "settings": asdict(settings),
        "code": [hashing.file_hash(file) for file in code],
        "versions": [tokenizers.__version__, transformers.__version__],
        # Llama 3.1's own template and others write today's date.
        "day": datetime.date.today().isoformat() if "strftime_now" in template else None,
    }


@dataclass
class _Reading:
    """One pass over a file, and what it counts."""

    path: str
    tokenizer: Any
    settings: Settings
    left_out: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    long: list[tuple[int, int]] = field(default_factory=list)  # line and length of what is longer than max_length

    def __post_init__(self) -> None:
        self.template = chat_templates.of(self.tokenizer)

    def counts(self) -> dict[str, Any]:
        """Return the counts."""
        return {"left_out": dict(self.left_out), "told": dict(self.told)}

    def chunks(self) -> Iterator[Chunk]:
        """Yield the rows of some hundred conversations at a time."""
        from data_prep.records import numbered_rows

        lines, used, count = numbered_rows(self.path), 0, 0
        while some := list(islice(lines, AT_ONCE)):
            count += len(some)
            chunk = self._chunk(some)
            used += len(chunk.lengths)
            yield chunk
        if self.settings.too_long == "refuse" and self.long:
            raise self._too_long(f"{len(self.long)} of {count} conversations are longer than max_length")
        if not used:
            raise self._nothing_left(count)

    def _chunk(self, lines: Sequence[tuple[int, dict[str, Any]]]) -> Chunk:
        written = [(number, *made) for number, row in lines if (made := self._written(number, row))]
        with _all_cores():
            encoded = chat.encode(self.tokenizer, [(text, spans) for _, _, text, spans in written])
        kept = [
            fitting
            for (number, messages, _, _), row in zip(written, encoded, strict=True)
            if (fitting := self._fitting(number, messages, *row)) is not None
        ]
        return row_cache.joined(kept)

    def _written(self, number: int, row: dict[str, Any]) -> tuple[list[Message], str, list[chat_templates.Span]] | None:
        """Return a row's messages, their text and where in it the loss counts; None if it is left out."""
        messages = conversation(row, f"{self.path}:{number}")
        if self.settings.system_prompt is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.settings.system_prompt}, *messages]
        learnt = [_learnt(message, f"{self.path}:{number}") for message in messages if message["role"] == "assistant"]
        if not any(learnt):
            self.left_out[NOTHING_LEARNT if learnt else NO_ANSWER] += 1
            return None
        made = self._text(number, messages, learnt)
        return made and (messages, *made)

    def _text(
        self, number: int, messages: list[Message], learnt: list[bool]
    ) -> tuple[str, list[chat_templates.Span]] | None:
        """Return a conversation's text and the spans that the loss counts; None if the template refuses it."""
        from jinja2 import TemplateError

        try:
            marked, spells = self.template.spelled(messages)
            if spells and self.settings.special_tokens_in_text == "as_tokens":
                marked = messages
            text, spans = self.template.answers(marked)
        except TemplateError as error:
            self.left_out[f"the chat template refuses it: {error}"] += 1
            return None
        if spells:
            self._tell_spelling(number)
        return text, self._counted(number, text, spans, learnt)

    def _tell_spelling(self, number: int) -> None:
        if self.settings.special_tokens_in_text == "refuse":
            raise UserError(
                f"{self.path}:{number}",
                "a message spells a special token of the model",
                "take it out, or write data.special_tokens_in_text: as_text",
            )
        self.told[SPELLED] += 1

    def _counted(
        self, number: int, text: str, spans: list[chat_templates.Span], learnt: list[bool]
    ) -> list[chat_templates.Span]:
        """Return where in the text the loss counts."""
        if self.settings.train_on == "assistant" and all(learnt):
            return spans
        if len(spans) != len(learnt):
            raise UserError(
                f"{self.path}:{number}",
                f"its {len(learnt)} assistant turns have {len(spans)} parts between {{% generation %}} tags, so none "
                "of them can be left out of the loss",
                "write train_on: assistant and no weights, or another model.chat_template",
            )
        if self.settings.train_on == "last_turn":
            return spans[-1:] if learnt[-1] else []
        if self.settings.train_on == "all":
            cuts = [
                0,
                *(place for span, keep in zip(spans, learnt, strict=True) if not keep for place in span),
                len(text),
            ]
            return [(start, end) for start, end in zip(cuts[::2], cuts[1::2], strict=True) if start < end]
        return [span for span, keep in zip(spans, learnt, strict=True) if keep]

    def _fitting(
        self, number: int, messages: list[Message], ids: list[int], mask: bytes
    ) -> tuple[list[int], bytes] | None:
        """Return a row that is short enough and has something to learn, without its first turns if need be."""
        if len(ids) > self.settings.max_length:
            shorter = self._shortened(number, messages) if self.settings.too_long == "drop_first_turns" else None
            if shorter is None:
                self.long.append((number, len(ids)))
                self.left_out[TOO_LONG] += 1
                return None
            self.told[SHORTENED] += 1
            ids, mask = shorter
        if 1 not in mask:
            self.left_out[NOTHING_LEARNT] += 1
            return None
        return ids, mask

    def _shortened(self, number: int, messages: list[Message]) -> tuple[list[int], bytes] | None:
        """Return the row of the system prompt and as many of the last exchanges as fit; None if not one does."""
        start = int(messages[0]["role"] == "system")
        for first, message in enumerate(messages[start + 1 :], start + 1):
            if message["role"] != "user":
                continue
            rest = messages[:start] + messages[first:]
            learnt = [_learnt(turn, "") for turn in rest if turn["role"] == "assistant"]
            made = self._text(number, rest, learnt) if any(learnt) else None
            if made:
                (row,) = chat.encode(self.tokenizer, [made])
                if len(row[0]) <= self.settings.max_length:
                    return row
        return None

    def _too_long(self, what: str) -> UserError:
        lengths = sorted(length for _, length in self.long)
        lines = ", ".join(str(number) for number, _ in self.long[:5]) + (", ..." if len(self.long) > 5 else "")
        spread = f"shortest {lengths[0]} tokens, half of them up to {lengths[len(lengths) // 2]}, longest {lengths[-1]}"
        ways = {
            "refuse": ", or too_long: leave_out or drop_first_turns",
            "leave_out": ", or too_long: drop_first_turns",
        }
        write = f"write data.max_length: {lengths[-1]}" + ways.get(self.settings.too_long, "")
        return UserError(self.path, f"{what} of {self.settings.max_length} (lines {lines}; {spread})", write)

    def _nothing_left(self, count: int) -> UserError:
        if self.left_out[TOO_LONG]:
            last = {**self.left_out, TOO_LONG: self.left_out.pop(TOO_LONG)}  # max_length and what is said of it follow
            return self._too_long(f"none of {count} conversations can be used: {_said(last)}")
        said = _said(self.left_out) or "the file has no rows"
        return UserError(
            self.path, f"none of {count} conversations can be used: {said}", "name a file of conversations"
        )


def _said(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _learnt(message: Message, where: str) -> bool:
    """Return whether an answer counts: not where it has `weight: 0` (OpenAI) or `train: false` (Axolotl)."""
    for key in ("weight", "train"):
        value = message.get(key)
        if value is not None and value not in (0, 1):
            raise UserError(where, f"a message has {key} {value!r}", "write 0 or 1: an answer counts, or it does not")
        if value is not None and not value:
            return False
    return True


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use all cores for a while; afterwards processes that data loaders fork must not."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true" if len(os.sched_getaffinity(0)) > 1 else "false"
    try:
        yield
    finally:
        os.environ[name] = before or "false"


def conversation(row: dict[str, Any], where: str) -> list[Message]:
    """Return the messages of one row: `messages`, `prompt` and `completion`, or another shape that is plain.

    Raises:
        UserError: the row is no conversation.
    """
    messages = row.get("messages")
    if messages is None and "prompt" in row and "completion" in row:
        prompt, completion = chat.turns(row["prompt"], "user"), chat.turns(row["completion"], "assistant")
        messages = prompt + completion if prompt and completion else None
    elif messages is None:
        messages = _of_another_shape(row, where)
    found = chat.turns(messages, "user") if isinstance(messages, list) else None
    if not found:
        raise UserError(where, f"not a conversation; the columns are {', '.join(row)}", _written_as(row))
    return found


def _of_another_shape(row: dict[str, Any], where: str) -> list[Message] | None:
    """Return the messages of instruction, input and output; of question and answer; of ShareGPT's conversations."""
    from data_prep.supervised import shapes
    from data_prep.supervised.turns import Options, Refused

    for name in OTHER_SHAPES:
        shape = shapes.named(name, "conversations")
        if shape and shape.fits(row):
            try:
                found = shape.read(row, Options())
            except Refused as error:
                raise UserError(where, f"not a conversation: {error.said()}", _written_as(row)) from None
            return list(found[0]["messages"]) if len(found) == 1 else None
    return None


def _written_as(row: Iterable[str]) -> str:
    columns = json.dumps(list(row)[:2], ensure_ascii=False)
    return (
        'write rows like {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}, '
        f"or convert the file: `stage: instructions`, `kind: conversations`, `inputs: [{{path: FILE, shape: "
        f"question_answer, columns: {{question: COLUMN, answer: COLUMN}}}}]`; the columns are {columns}"
    )
