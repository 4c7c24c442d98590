"""Supervised fine-tuning on conversations, with LoRA or on all weights.

Only the assistant's tokens count, the end of turn among them (`train_on: assistant`), or all tokens. A conversation
that is too long is never cut: it is left out, counted, and shown in the manifest. Rows of like length share a batch, or
with `packing` a row of `max_length` holds several conversations that do not see each other. Leaves out: tool calls.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field

from finetune import chat, first_rows
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Conversations: JSONL rows with `messages` (role, content), or with `prompt` and `completion`."""

    train_file: InputPath
    validation_file: InputPath | None = None
    max_length: int = Field(1024, ge=16, description="Conversations of more tokens are left out, and counted.")
    train_on: Literal["assistant", "all"] = "assistant"
    packing: bool = Field(False, description="Several conversations in a row of max_length, by best fit; none is cut.")


class Recipe(StageRecipe):
    """Supervised fine-tuning."""

    stage: Literal["sft"] = "sft"
    model: Model
    adapter: Lora | None = None
    data: Data
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row is no conversation, and attention that lets packed ones see each other."""
        files = {("data", key): getattr(self.data, key) for key in ("train_file", "validation_file")}
        return [*first_rows.faults(files, conversation), *self._packing_faults()]

    def _packing_faults(self) -> list[Fault]:
        if not self.data.packing or self.model.attn_implementation in ("sdpa", "eager"):
            return []
        what = f"packed conversations are kept apart with sdpa and eager, not with {self.model.attn_implementation}"
        return [Fault(("data", "packing"), what, "write attn_implementation: sdpa, or packing: false")]


def run(recipe: Recipe) -> None:
    """Train on conversations; write an adapter, or a whole model."""
    from transformers import set_seed

    from finetune import models, packing
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = models.tokenizer_of(recipe.model)
        left_out: Counter[str] = Counter()
        train = rows(recipe.data, tokenizer, recipe.data.train_file, left_out)
        validation = rows(recipe.data, tokenizer, recipe.data.validation_file, left_out)
        loaded = models.load_for(recipe.model)
        models.add_adapter(loaded, recipe.adapter)
        work.metrics["train_conversations"] = len(train)
        work.metrics["left_out"] = dict(left_out)
        work.metrics["supervised_share"] = round(
            sum(sum(row["mask"]) for row in train) / max(1, sum(len(row["mask"]) for row in train)), 4
        )
        if recipe.data.packing:
            train, validation = (
                packing.pack_conversations(rows, recipe.data.max_length) for rows in (train, validation)
            )
            work.metrics["packed_rows"] = len(train)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            train,
            validation,
            loss=answer_loss,
            collate=packing.collate_packed if recipe.data.packing else packing.collate_tokens,
            work=work,
            seed=recipe.seed,
            name="sft",
            processes=recipe.launch.num_processes,
            by_length=True,
        )
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)


def answer_loss(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Summed next-token loss over the assistant's tokens, and how many of them were the model's first choice."""
    from finetune.losses import next_token_loss

    logits = model(input_ids=batch["input_ids"], position_ids=batch.get("position_ids"), use_cache=False).logits
    targets = batch["labels"][:, 1:]
    right = (logits.detach()[:, :-1].argmax(-1) == targets).sum() if not model.training else targets.new_zeros(())
    return next_token_loss(logits, batch["labels"]), {"accuracy": right}


def rows(data: Data, tokenizer: Any, path: InputPath | None, left_out: Counter[str]) -> list[dict[str, list[int]]]:
    """Render a file's conversations to rows of input_ids and mask; count in `left_out` what is not used, and why."""
    from data_prep.records import numbered_rows

    found = []
    for number, row in numbered_rows(path) if path else ():
        rendered = chat.render(tokenizer, conversation(row, f"{path}:{number}"))
        if len(rendered.input_ids) > data.max_length:
            left_out["longer than max_length"] += 1
        elif not any(rendered.mask):
            left_out["no assistant turn"] += 1
        else:
            mask = rendered.mask if data.train_on == "assistant" else [1] * len(rendered.mask)
            found.append({"input_ids": rendered.input_ids, "mask": mask})
    return found


def conversation(row: dict[str, Any], where: str) -> list[dict[str, str]]:
    """Return the messages of one row.

    Raises:
        UserError: the row has neither messages nor prompt and completion.
    """
    from recipes.errors import UserError

    messages = row.get("messages")
    if messages is None and "prompt" in row and "completion" in row:
        prompt, completion = chat.turns(row["prompt"], "user"), chat.turns(row["completion"], "assistant")
        messages = prompt + completion if prompt and completion else None
    if not isinstance(messages, list) or not chat.turns(messages, "user"):
        raise UserError(
            where,
            f"not a conversation; the columns are {', '.join(row)}",
            'write rows like {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}, '
            "or let `stage: instructions` convert the file",
        )
    return messages
