"""Continued pretraining: go on learning to predict the next token, on the domain's own documents.

All weights are trained, or a LoRA adapter where the recipe has one. A share of general text can be mixed in (replay)
so that less is forgotten. Documents are tokenised here, or come tokenised from `stage: tokens`. A vocabulary that
`stage: tokenizer` has extended is taken over, with new embeddings made from those of the pieces (vocabulary.py).
Leaves out: masked-token and span-corruption objectives.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from finetune import first_rows
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Documents: JSONL rows with a column of text, or folders that `stage: tokens` wrote."""

    train_file: InputPath
    validation_file: InputPath | None = None
    text_column: str = "text"
    max_length: int = Field(512, ge=16, description="Length of a training row in tokens.")
    packing: Literal["wrap", "best_fit"] = Field(
        "wrap", description="wrap: one stream cut into rows. best_fit: no document is cut that fits a row."
    )
    replay_file: InputPath | None = Field(None, description="General text, mixed in against forgetting.")
    replay_share: float = Field(0.1, ge=0, lt=1, description="Share of all training tokens that is replayed.")

    def text_of(self, row: dict[str, Any], where: str) -> str:
        """Return the text of one row.

        Raises:
            UserError: the column is missing or holds no text.
        """
        text = row.get(self.text_column)
        if not isinstance(text, str):
            raise UserError(
                where,
                f"no text in column {self.text_column!r}; the columns are {', '.join(row)}",
                "write the text's column as data.text_column",
            )
        return text


class Recipe(StageRecipe):
    """Continued pretraining."""

    stage: Literal["cpt"] = "cpt"
    model: Model
    adapter: Lora | None = None
    data: Data
    tokenizer: InputPath | None = Field(
        None, description="A `stage: tokenizer` result that extends the model's own vocabulary."
    )
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row has no text, another tokenizer's tokens, and rows beyond the model's context."""
        from finetune import documents, vocabulary

        files = {("data", key): getattr(self.data, key) for key in ("train_file", "validation_file", "replay_file")}
        model = self.model.model_name_or_path
        return [
            *first_rows.faults(files, self.data.text_of),
            *documents.faults(files, self.tokenizer or model),
            *documents.context_faults(("data", "max_length"), self.data.max_length, model),
            *vocabulary.faults(("tokenizer",), self.tokenizer, model, has_adapter=self.adapter is not None),
        ]


def run(recipe: Recipe) -> None:
    """Train on packed documents; write a whole model, or an adapter."""
    from transformers import set_seed

    from finetune import models, packing, vocabulary
    from finetune.stages.base import causal_loss
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = tokenizer_of(recipe)
        left_out: Counter[str] = Counter()
        train = training_rows(recipe, tokenizer, left_out)
        validation = packed(recipe, tokenizer, recipe.data.validation_file, left_out)
        loaded = models.load_for(recipe.model)
        if recipe.tokenizer:
            vocabulary.extend(loaded, tokenizer, recipe.tokenizer)
        models.add_adapter(loaded, recipe.adapter)
        work.metrics["train_tokens"] = packing.token_count(train)
        work.metrics["left_out"] = dict(left_out)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            train,
            validation,
            loss=causal_loss,
            collate=packing.collate_tokens,
            work=work,
            seed=recipe.seed,
            name="cpt",
            processes=recipe.launch.num_processes,
        )
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)


def tokenizer_of(recipe: Recipe) -> Any:
    """Load the tokenizer to train with: the extended one, or the model's."""
    from finetune import models

    return models.load_tokenizer(recipe.tokenizer) if recipe.tokenizer else models.tokenizer_of(recipe.model)


def training_rows(recipe: Recipe, tokenizer: Any, left_out: Counter[str] | None = None) -> Sequence[dict[str, Any]]:
    """Return the packed rows to train on, replayed ones strewn in."""
    from data_prep.tokens.packed_rows import Chosen, Joined

    rows = packed(recipe, tokenizer, recipe.data.train_file, left_out)
    if recipe.data.replay_file is None or recipe.data.replay_share == 0:
        return rows
    replay = packed(recipe, tokenizer, recipe.data.replay_file, left_out)
    wanted = round(len(rows) * recipe.data.replay_share / (1 - recipe.data.replay_share))
    chooser = random.Random(recipe.seed)
    return Joined(rows, Chosen(replay, [chooser.randrange(len(replay)) for _ in range(wanted)])) if replay else rows


def packed(
    recipe: Recipe, tokenizer: Any, path: str | None, left_out: Counter[str] | None = None
) -> Sequence[dict[str, Any]]:
    """Return the rows of a file of documents, or of a folder of tokens; their order is shuffled by the seed."""
    from finetune import documents

    return documents.rows(
        path,
        tokenizer,
        recipe.data.text_of,
        max_length=recipe.data.max_length,
        packing=recipe.data.packing,
        seed=recipe.seed,
        left_out=Counter() if left_out is None else left_out,
    )
