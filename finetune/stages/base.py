"""Pretrain a small base from scratch: its tokenizer, its weights, its chat template.

Leaves out: scaling beyond what one process trains in hours. The architecture is Llama's (Touvron et al. 2023,
https://arxiv.org/abs/2302.13971), the tokenizer byte-level BPE. Conversations in the mix are rendered with the chat
template and learned whole, so that the tokens of the roles mean something before fine-tuning.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from recipes.sections import InputPath, Launch, Section, StageRecipe, Training

SPECIAL_TOKENS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")


class Source(Section):
    """One file of the mix; the templates name the columns of its rows, as in `{question}`."""

    file: InputPath
    text: str | None = Field(None, description="Template of a document.")
    user: str | None = Field(None, description="Template of a question; goes with `assistant`.")
    assistant: str | None = None
    remove: str | None = Field(None, description="Regular expression; what it matches is taken out.")
    repeat: int = Field(1, ge=1)
    held_out: int = Field(0, ge=0, description="Every N-th row is kept for validation; 0: none.")

    @model_validator(mode="after")
    def _says_what_to_read(self) -> Self:
        if (self.text is None) == (self.user is None) or (self.user is None) != (self.assistant is None):
            raise ValueError("does not say what to read: write text, or user and assistant")
        return self


class Data(Section):
    """The mix."""

    sources: list[Source] = Field(min_length=1)
    max_length: int = Field(256, ge=16)


class Architecture(Section):
    """Llama's shape; the names are those of transformers' `LlamaConfig`."""

    vocab_size: int = Field(4096, ge=300)
    hidden_size: int = Field(256, ge=16)
    intermediate_size: int = Field(704, ge=16)
    num_hidden_layers: int = Field(4, ge=1)
    num_attention_heads: int = Field(4, ge=1)
    num_key_value_heads: int = Field(2, ge=1)
    max_position_embeddings: int = Field(1024, ge=64)
    rope_theta: float = Field(10000.0, gt=0)
    tie_word_embeddings: bool = True


class Recipe(StageRecipe):
    """Pretraining from scratch."""

    stage: Literal["base"] = "base"
    data: Data
    architecture: Architecture = Field(default_factory=Architecture)
    training: Training
    launch: Launch = Field(default_factory=Launch)


def run(recipe: Recipe) -> None:
    """Train the tokenizer, then the weights; write a Hugging Face model folder in bfloat16."""
    import torch
    from transformers import set_seed

    from finetune import packing
    from finetune.models import save
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        train, held_out = read_mix(recipe.data)
        tokenizer = train_tokenizer((text for item in train for text in texts(item)), recipe.architecture.vocab_size)
        random.Random(recipe.seed).shuffle(train)
        end = tokenizer.eos_token_id
        rows = packing.wrap(encode(tokenizer, train), end, recipe.data.max_length)
        check = packing.wrap(encode(tokenizer, held_out), end, recipe.data.max_length)
        model = new_model(recipe.architecture, tokenizer)
        work.metrics["parameters"] = model.num_parameters()
        work.metrics["train_tokens"] = sum(len(row["input_ids"]) for row in rows)
        work.metrics |= fit(
            model,
            recipe.training,
            rows,
            check,
            loss=causal_loss,
            collate=packing.collate_tokens,
            work=work,
            seed=recipe.seed,
            name="base",
            processes=recipe.launch.num_processes,
        )
        if work.main:
            save(model.to(torch.bfloat16), tokenizer, work.path)


def causal_loss(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Summed next-token loss of a batch from `collate_tokens`; there is nothing else to report."""
    from finetune.losses import next_token_loss

    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return next_token_loss(logits, batch["labels"]), {}


def read_mix(data: Data) -> tuple[list[Any], list[Any]]:
    """Return the training and the held-out items: documents (str) and conversations (lists of messages)."""
    train: list[Any] = []
    held_out: list[Any] = []
    for source in data.sources:
        for number, item in enumerate(read_source(source)):
            if source.held_out and number % source.held_out == 0:
                held_out.append(item)
            else:
                train.extend([item] * source.repeat)
    return train, held_out


def read_source(source: Source) -> Iterator[Any]:
    """Yield the items of one file."""
    from data_prep.records import numbered_rows

    for number, row in numbered_rows(source.file):
        where = f"{source.file}:{number}"
        if source.text is not None:
            yield fill(source.text, row, source.remove, where)
        elif source.user is not None and source.assistant is not None:
            yield [
                {"role": "user", "content": fill(source.user, row, source.remove, where)},
                {"role": "assistant", "content": fill(source.assistant, row, source.remove, where)},
            ]


def fill(template: str, row: dict[str, Any], remove: str | None, where: str) -> str:
    """Return a template with a row's columns filled in, without what the expression `remove` matches.

    Raises:
        UserError: the template names a column that the row does not have.
    """
    from recipes.errors import UserError

    try:
        text = template.format(**row)
    except (KeyError, IndexError) as error:
        what = f"no column for {template!r}; the columns are {', '.join(row)}"
        raise UserError(where, what, "write the template with these columns") from error
    return (re.sub(remove, "", text) if remove else text).strip()


def texts(item: Any) -> list[str]:
    """Return the plain texts of an item."""
    return [item] if isinstance(item, str) else [message["content"] for message in item]


def encode(tokenizer: Any, items: list[Any]) -> Iterator[list[int]]:
    """Yield the ids of each item; a conversation goes through the chat template."""
    from finetune import chat

    for item in items:
        if isinstance(item, str):
            yield tokenizer(item, add_special_tokens=False)["input_ids"]
        else:
            yield chat.render(tokenizer, item).input_ids


def train_tokenizer(corpus: Iterator[str], vocab_size: int) -> Any:
    """Return a byte-level BPE tokenizer with the chat template that ships; digits stand alone."""
    from pathlib import Path

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=list(SPECIAL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        clean_up_tokenization_spaces=False,
    )
    template = Path(__file__).parents[1] / "templates" / "tuneloop.jinja"
    wrapped.chat_template = template.read_text(encoding="utf-8")
    return wrapped


def new_model(architecture: Architecture, tokenizer: Any) -> Any:
    """Return a Llama model with fresh weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    values = architecture.model_dump()
    values["vocab_size"] = len(tokenizer)
    rope = {"rope_type": "default", "rope_theta": values.pop("rope_theta")}
    config = LlamaConfig(
        **values,
        rope_parameters=rope,
        head_dim=architecture.hidden_size // architecture.num_attention_heads,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)
