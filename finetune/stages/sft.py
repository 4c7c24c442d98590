"""Supervised fine-tuning on conversations, with LoRA or on all weights.

Only the assistant's tokens count, the end of turn among them (`train_on`), or all tokens. No answer is ever cut: a
conversation that is too long is left out, loses its first turns, or ends the run; all of it is counted, shown, and kept
in the manifest. A batch is one row of conversations that do not see each other, without padding; with `packing` such
rows are filled beforehand up to `max_length`, by best fit. Leaves out: tool calls.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from finetune import answer_metrics, conversations, documents, families, first_rows, reported
from finetune.answer_metrics import Evaluation
from finetune.conversations import conversation
from finetune.row_cache import Rows
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Conversations: JSONL rows with `messages`, with `prompt` and `completion`, or instructions and questions."""

    train_file: InputPath
    validation_file: InputPath | None = None
    max_length: int = Field(1024, ge=16, description="Tokens of the longest conversation, and of a packed row.")
    too_long: Literal["leave_out", "drop_first_turns", "refuse"] = Field(
        "leave_out", description="What becomes of a longer one; drop_first_turns keeps the system prompt and the end."
    )
    train_on: Literal["assistant", "last_turn", "all"] = Field(
        "assistant", description="An answer with `weight: 0` or `train: false` never counts."
    )
    system_prompt: str | None = Field(None, description="Put before conversations that have none.")
    special_tokens_in_text: Literal["as_text", "as_tokens", "refuse"] = Field(
        "as_text", description="A message that spells a special token, such as <|im_end|>: it stays text."
    )
    packing: bool = Field(False, description="Several conversations in a row of max_length, by best fit; none is cut.")

    def settings(self, context: int | None = None) -> conversations.Settings:
        """Return what becomes of a conversation, which is never longer than the model's context."""
        names = ("max_length", "train_on", "system_prompt", "too_long", "special_tokens_in_text")
        values = {name: getattr(self, name) for name in names}
        return conversations.Settings(**values | {"max_length": min(self.max_length, context or self.max_length)})


class Recipe(StageRecipe):
    """Supervised fine-tuning."""

    stage: Literal["sft"] = "sft"
    model: Model
    adapter: Lora | None = None
    data: Data
    training: Training
    evaluation: Evaluation | None = None
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row is no conversation, models that do not talk, and metrics that do not exist."""
        files = first_rows.files_of(self.data)
        model, written = self.model.model_name_or_path, "max_length" in self.data.model_fields_set
        return [
            *first_rows.faults(files, conversation),
            *families.talking_faults(model),
            *(documents.context_faults(("data", "max_length"), self.data.max_length, model) if written else ()),
            *answer_metrics.faults(self.evaluation, self.data.validation_file),
            *self._packing_faults(),
            *reported.faults(
                self.training, ["loss", "accuracy", *(self.evaluation.metrics if self.evaluation else ())]
            ),
        ]

    def _packing_faults(self) -> list[Fault]:
        if not self.data.packing or self.adapter is None or not self.adapter.virtual_tokens:
            return []
        what = "prompt tuning puts its virtual tokens before a row, which with packing holds several conversations"
        return [Fault(("data", "packing"), what, "write packing: false, or another adapter")]


def run(recipe: Recipe) -> None:
    """Train on conversations; write an adapter, or a whole model."""
    from transformers import set_seed

    from finetune import chat, models, packing
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = models.tokenizer_of(recipe.model)
        chat.require_end(tokenizer)
        train, validation = (
            _read(recipe.data, tokenizer, path, work.scratch / "rows", context_of(recipe))
            for path in (recipe.data.train_file, recipe.data.validation_file)
        )
        work.metrics |= _counts(train, validation)
        loaded = models.load_for(recipe.model, adapter=recipe.adapter)
        models.add_adapter(loaded, recipe.adapter)
        if work.main:
            _tell(work.metrics)
        rows = [
            packing.pack_conversations(part, recipe.data.max_length) if recipe.data.packing else part
            for part in (train, validation)
        ]
        if recipe.data.packing:
            work.metrics["packed_rows"] = len(rows[0])
        collate = packing.collate_for(loaded.model)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            *rows,
            loss=answer_loss,
            collate=collate,
            work=work,
            seed=recipe.seed,
            name="sft",
            processes=recipe.launch.num_processes,
            by_length=collate is packing.collate_tokens,  # where there is padding, as little of it as can be
            score=_score(recipe, tokenizer),
        )
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, tokenizer, work.path)
            chat.save_ends(loaded.model, tokenizer, work.path)


def answer_loss(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Summed next-token loss over the assistant's tokens, and how many of them were the model's first choice."""
    from finetune.losses import causal_lm_loss

    return causal_lm_loss(model, batch)


def rows(
    data: Data, tokenizer: Any, path: InputPath | None, left_out: Counter[str], context: int | None = None
) -> Rows:
    """Render a file's conversations to rows of input_ids and mask; count in `left_out` what is not used, and why."""
    found = _read(data, tokenizer, path, None, context)
    left_out.update(found.left_out)
    return found


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and mask of each conversation, for `tuneloop show`."""
    found = enumerate(rows(recipe.data, tokenizer, recipe.data.train_file, left_out, context_of(recipe)), 1)
    return [(f"conversation {number}", row["input_ids"].tolist(), row["mask"].tolist()) for number, row in found]


def context_of(recipe: Recipe) -> int | None:
    """Return how many tokens the model's positions reach, where its files say so."""
    config = families.config_of(recipe.model.model_name_or_path)
    return families.context_of(config) if config else None


def _read(data: Data, tokenizer: Any, path: InputPath | None, scratch: Path | None, context: int | None) -> Rows:
    return conversations.rows(path, tokenizer, data.settings(context), scratch)


def _counts(train: Rows, validation: Rows) -> dict[str, Any]:
    """Return what the manifest keeps of the rows."""
    left_out, told = (
        Counter(getattr(train, kind)) + Counter(getattr(validation, kind)) for kind in ("left_out", "told")
    )
    share = round(train.supervised_share(), 4)
    return {"train_conversations": len(train), "supervised_share": share, "left_out": dict(left_out), **told}


def _tell(counts: dict[str, Any]) -> None:
    """Say on the terminal what is not trained on as it stands."""
    told = {f"left out, {reason}": count for reason, count in counts["left_out"].items()}
    told |= {what: counts[what] for what in (conversations.SHORTENED, conversations.SPELLED) if what in counts}
    for what, count in told.items():
        print(f"  sft: {count} {what}", file=sys.stderr, flush=True)


def _score(recipe: Recipe, tokenizer: Any) -> answer_metrics.Score | None:
    """Return what measures sampled answers to validation conversations, if the recipe asks for it."""
    from data_prep.records import numbered_rows

    path = recipe.data.validation_file
    if recipe.evaluation is None or path is None:
        return None
    talks = (conversation(row, f"{path}:{number}") for number, row in numbered_rows(path))
    return answer_metrics.scorer(recipe.evaluation, tokenizer, talks, recipe.seed)
