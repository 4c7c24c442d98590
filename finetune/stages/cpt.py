"""Continued pretraining: go on learning to predict the next token, on the domain's own documents.

All weights are trained, or a LoRA adapter where the recipe has one. A share of general text can be mixed in (replay)
so that less is forgotten. Leaves out: masked-token and span-corruption objectives.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from pydantic import Field

from finetune import first_rows
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Documents: JSONL rows with a column of text."""

    train_file: InputPath
    validation_file: InputPath | None = None
    text_column: str = "text"
    max_length: int = Field(512, ge=16, description="Length of a training row in tokens.")
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
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row has no text."""
        files = {("data", key): getattr(self.data, key) for key in ("train_file", "validation_file", "replay_file")}
        return first_rows.faults(files, self.data.text_of)


def run(recipe: Recipe) -> None:
    """Train on packed documents; write a whole model, or an adapter."""
    from transformers import set_seed

    from finetune import models, packing
    from finetune.stages.base import causal_loss
    from finetune.trainer import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = models.tokenizer_of(recipe.model)
        train = training_rows(recipe, tokenizer)
        validation = packed(recipe, tokenizer, recipe.data.validation_file)
        loaded = models.load_for(recipe.model)
        models.add_adapter(loaded, recipe.adapter)
        work.metrics["train_tokens"] = sum(len(row["input_ids"]) for row in train)
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


def training_rows(recipe: Recipe, tokenizer: Any) -> list[dict[str, list[int]]]:
    """Return the packed rows to train on, replayed ones strewn in."""
    rows = packed(recipe, tokenizer, recipe.data.train_file)
    if recipe.data.replay_file is None or recipe.data.replay_share == 0:
        return rows
    replay = packed(recipe, tokenizer, recipe.data.replay_file)
    wanted = round(len(rows) * recipe.data.replay_share / (1 - recipe.data.replay_share))
    chooser = random.Random(recipe.seed)
    return rows + [replay[chooser.randrange(len(replay))] for _ in range(wanted)] if replay else rows


def packed(recipe: Recipe, tokenizer: Any, path: InputPath | None) -> list[dict[str, list[int]]]:
    """Tokenise a file's documents and cut them into rows; their order is shuffled by the seed."""
    from data_prep.records import numbered_rows
    from finetune import packing

    if path is None:
        return []
    texts = [recipe.data.text_of(row, f"{path}:{number}") for number, row in numbered_rows(path)]
    random.Random(recipe.seed).shuffle(texts)
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return packing.wrap(ids, tokenizer.eos_token_id, recipe.data.max_length)
