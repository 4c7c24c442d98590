"""Pairs of a source and a target as training rows, and what a model writes for sources.

An encoder-decoder reads the source with its prefix and writes the target. A decoder gets the same as a conversation:
source from the user, target from the assistant, through its chat template. A source that is too long is cut at its end,
a target never: it would teach to stop in its middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_prep.records import Pair, numbered_rows, parse
from finetune.families import Family
from recipes.errors import UserError

if TYPE_CHECKING:
    from finetune.stages.seq2seq import Data, Writing

CUT = "source cut at max_source_length"
TOO_LONG = "target longer than max_target_length"
BATCH = 1024  # texts that are tokenised together
WRITE = 'write rows like {"source": ..., "target": ...}, or let `stage: instructions` with kind: pairs convert the file'


def pair(row: dict[str, Any], where: str) -> Pair:
    """Return one row as a pair.

    Raises:
        UserError: a column is missing or holds no text.
    """
    try:
        return parse(row, Pair)
    except ValueError as error:
        raise UserError(where, str(error), WRITE) from None


def read(path: str | None, left_out: Counter[str]) -> list[Pair]:
    """Return the pairs of a file; count in `left_out` those with an empty side.

    Raises:
        UserError: a row is no pair.
    """
    found = []
    for number, row in numbered_rows(path) if path else ():
        one = pair(row, f"{path}:{number}")
        if one.source.strip() and one.target.strip():
            found.append(one)
        else:
            left_out["empty source or target"] += 1
    return found


@dataclass(frozen=True)
class Encoder:
    """Turns texts into the ids that a family of models reads and writes."""

    tokenizer: Any
    family: Family
    data: Data
    cut: Counter[str] = field(default_factory=Counter)

    def rows(self, pairs: Sequence[Pair], left_out: Counter[str]) -> list[dict[str, Any]]:
        """Return training rows; count in `left_out` the pairs whose target is too long."""
        found = []
        for start in range(0, len(pairs), BATCH):
            chunk = pairs[start : start + BATCH]
            sources = self.sources([one.source for one in chunk])
            targets = self._targets([one.target for one in chunk])
            for one, source, target in zip(chunk, sources, targets, strict=True):
                if len(target) > self.data.max_target_length:
                    left_out[TOO_LONG] += 1
                elif self.family == "encoder_decoder":
                    found.append({"input_ids": self._ids(source), "labels": target})
                else:
                    found.append(self._conversation(source, one.target))
        return found

    def sources(self, texts: Sequence[str]) -> list[str]:
        """Return sources with their prefix, cut where they are too long; the cut ones are counted."""
        whole = [self.data.source_prefix + text for text in texts]
        made = self.tokenizer(whole, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        room = self.data.max_source_length - (len(self._ids("")) if self.family == "encoder_decoder" else 0)
        found = []
        for text, ids, offsets in zip(whole, made["input_ids"], made["offset_mapping"], strict=True):
            if len(ids) > room:
                self.cut[CUT] += 1
                text = text[: offsets[room - 1][1]]
            found.append(text)
        return found

    def _targets(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of targets: as an encoder-decoder writes them, or as they count for a decoder."""
        if self.family == "encoder_decoder":
            return [list(ids) for ids in self.tokenizer(text_target=list(texts), verbose=False)["input_ids"]]
        return [list(ids) for ids in self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]

    def _ids(self, source: str) -> list[int]:
        return list(self.tokenizer(source, verbose=False)["input_ids"])

    def _conversation(self, source: str, target: str) -> dict[str, Any]:
        from finetune import chat

        turns = [{"role": "user", "content": source}, {"role": "assistant", "content": target}]
        rendered = chat.render(self.tokenizer, turns)
        return {"input_ids": rendered.input_ids, "mask": rendered.mask}

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids that a model reads before it writes."""
        from finetune import chat

        sources = self.sources(texts)
        if self.family == "encoder_decoder":
            return [self._ids(source) for source in sources]
        return [chat.prompt_ids(self.tokenizer, [{"role": "user", "content": source}]) for source in sources]


def write(model: Any, encoder: Encoder, texts: Sequence[str], how: Writing, batch_size: int) -> list[str]:
    """Return what a model writes for each source: with beams, or its first choice at each step."""
    from finetune import attention, generate
    from recipes.sections import Generation

    prompts = encoder.prompts(texts)
    longest = encoder.data.max_target_length
    if encoder.family == "encoder_decoder":
        return _beams(model, encoder.tokenizer, prompts, how, longest, batch_size)
    with attention.restored(model):
        settings = Generation(max_new_tokens=longest, do_sample=False)
        answers = generate.generate(model, encoder.tokenizer, prompts, settings, seed=0, batch_size=batch_size)
    return [answer.text.strip() for answer in answers]


def _beams(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], how: Writing, longest: int, batch_size: int
) -> list[str]:
    """Write with transformers' `generate`; sources of like length share a batch."""
    import torch

    from finetune.attention import base_of

    writer, device = base_of(model), next(model.parameters()).device
    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), index))
    texts = [""] * len(prompts)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            batch = tokenizer.pad({"input_ids": [prompts[index] for index in chunk]}, padding_side="right")
            inputs = {name: torch.tensor(batch[name], device=device) for name in ("input_ids", "attention_mask")}
            ids = writer.generate(
                **inputs, do_sample=False, max_new_tokens=longest, num_beams=how.num_beams,
                length_penalty=how.length_penalty, no_repeat_ngram_size=how.no_repeat_ngram_size,
            )  # fmt: skip
            for index, text in zip(chunk, tokenizer.batch_decode(ids, skip_special_tokens=True), strict=True):
                texts[index] = text.strip()
    model.train(was_training)
    return texts


def shared(texts: Sequence[str], write: Callable[[Sequence[str]], list[str]]) -> list[str]:
    """Return what processes that hold the whole model write together; where it is sharded each writes everything."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType, gather_object

    state = PartialState()
    whole = state.distributed_type in (DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
    if state.num_processes == 1 or not whole:
        return write(texts)
    own = texts[state.process_index :: state.num_processes]
    found = [""] * len(texts)
    for rank, said in enumerate(gather_object([write(own) if own else []])):
        found[rank :: state.num_processes] = said
    return found


@dataclass
class Validation:
    """Sources with all targets that they have, and the measures of what a model writes for them."""

    encoder: Encoder
    how: Writing
    batch_size: int
    targets: dict[str, list[str]]
    written: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, pairs: Sequence[Pair], encoder: Encoder, how: Writing, batch_size: int) -> Validation:
        """Gather the targets of each source; the first `samples` sources are measured."""
        targets: dict[str, list[str]] = {}
        for one in pairs:
            if one.source in targets or len(targets) < how.samples:
                targets.setdefault(one.source, []).append(one.target)
        return cls(encoder, how, batch_size, targets)

    def score(self, model: Any) -> dict[str, float]:
        """Write a target for each source and measure; every process writes its share, and all get the same measures."""
        from finetune.training import selection

        self.written = shared(
            list(self.targets), lambda own: write(model, self.encoder, own, self.how, self.batch_size)
        )
        references = list(self.targets.values())
        return {
            name: selection.compute(name, predictions=self.written, references=references) for name in self.how.metrics
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return the sources with what was written last, and their targets."""
        both = zip(self.targets.items(), self.written, strict=True)
        return [{"source": source, "written": text, "targets": targets} for (source, targets), text in both]


def learning(
    model: Any, tokenizer: Any, family: Family
) -> tuple[Callable[[Sequence[Any]], dict[str, Any]], Callable[[Any, dict[str, Any]], tuple[Any, dict[str, Any]]]]:
    """Return how rows become batches for a loaded model, and their loss."""
    from functools import partial

    from finetune import losses, packing
    from finetune.objectives import encoder_decoder

    if family == "encoder_decoder":
        return partial(encoder_decoder.collate, pad=tokenizer.pad_token_id or 0), encoder_decoder.loss
    return packing.collate_for(model), losses.causal_lm_loss
