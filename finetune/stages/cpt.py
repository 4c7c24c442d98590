"""Continued pretraining: go on learning from the domain's own documents, as the base once learned.

A decoder (GPT-like) foretells the next token, an encoder (BERT-like) tells masked tokens, an encoder-decoder (T5-like)
writes spans that were taken out: one file each in finetune/objectives/. All weights are trained, or an adapter where
the recipe has one. A share of general text can be mixed in (replay) so that less is forgotten; how much is forgotten
shows in `general_validation_file`, measured before and after. Documents are tokenised here, or come tokenised from
`stage: tokens`. A vocabulary that `stage: tokenizer` has extended is taken over, with new embeddings made from those of
the pieces (vocabulary.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from finetune import families, first_rows, objectives, reported
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training

FILES = ("train_file", "validation_file", "replay_file", "general_validation_file")
# Keys that only one objective reads.
OWN_KEYS = {
    "masked_tokens": ("mlm_probability", "whole_word_mask"),
    "span_corruption": ("noise_density", "mean_noise_span_length"),
}


class Data(Section):
    """Documents: JSONL rows with a column of text, or folders that `stage: tokens` wrote."""

    train_file: InputPath
    validation_file: InputPath | None = None
    text_column: str = "text"
    objective: Literal["auto", "next_token", "masked_tokens", "span_corruption"] = Field(
        "auto", description="auto: the one for the model's family (decoder, encoder, encoder-decoder)."
    )
    max_length: int = Field(512, ge=16, description="Length of a training row in tokens.")
    packing: Literal["wrap", "best_fit"] = Field(
        "wrap", description="wrap: one stream cut into rows. best_fit: no document is cut that fits a row."
    )
    attend_across_documents: bool | None = Field(
        None,
        description="Let a token see other documents of its row. Absent: no; for encoders and encoder-decoders with "
        "wrap yes.",
    )
    mlm_probability: float = Field(0.15, gt=0, lt=1, description="masked_tokens: the share of tokens to be told.")
    whole_word_mask: bool = Field(False, description="masked_tokens: mask all pieces of a word together.")
    noise_density: float = Field(0.15, gt=0, lt=1, description="span_corruption: the share of tokens taken out.")
    mean_noise_span_length: float = Field(3.0, ge=1, description="span_corruption: tokens in a span.")
    replay_file: InputPath | None = Field(None, description="General text, mixed in against forgetting.")
    replay_share: float = Field(0.1, ge=0, lt=1, description="Share of all training tokens that is replayed.")
    general_validation_file: InputPath | None = Field(
        None, description="General text that is measured along with validation_file, before training too."
    )

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

        files = {("data", key): getattr(self.data, key) for key in FILES}
        model = self.model.model_name_or_path
        return [
            *first_rows.faults(files, self.data.text_of),
            *documents.faults(files, self.tokenizer or model),
            *documents.context_faults(("data", "max_length"), self.data.max_length, model),
            *vocabulary.faults(("tokenizer",), self.tokenizer, model),
            *self._objective_faults(),
            *self._replay_faults(),
            *reported.faults(self.training, self._entries()),
        ]

    def _entries(self) -> list[str]:
        """Return what validations can report, whatever the objective."""
        general = ["general_loss", "general_bits_per_byte"] if self.data.general_validation_file else []
        return ["loss", "accuracy", "bits_per_byte", *general]

    def _replay_faults(self) -> list[Fault]:
        if self.data.replay_file is None and "replay_share" in self.data.model_fields_set:
            what = f"{self.data.replay_share} of nothing: there is no data.replay_file"
            return [Fault(("data", "replay_share"), what, "name a file of general text, or leave the key out")]
        if self.data.replay_file is not None and self.data.replay_share == 0:
            what = "0, so data.replay_file would not be read"
            return [Fault(("data", "replay_share"), what, "write a share such as 0.1, or leave replay_file out")]
        return []

    def _objective_faults(self) -> list[Fault]:
        model, name = self.model.model_name_or_path, str(self.data.objective)
        config = families.config_of(model)
        found = []
        if name == "auto" and config is None:  # not there yet, or on a hub
            return []
        if name == "auto" and config is not None:
            name = objectives.BY_FAMILY[families.family_of(config)]
        chosen = objectives.named(name)
        if config is not None and (family := families.family_of(config)) != chosen.FAMILY:
            what = f"{model} is {families.NAMES[family]}, and {name} is for {families.NAMES[chosen.FAMILY]}"
            found.append(Fault(("data", "objective"), what, f"write {objectives.BY_FAMILY[family]}, or leave it out"))
        for other, keys in OWN_KEYS.items():
            if other != name:
                written = [key for key in keys if key in self.data.model_fields_set]
                found += [
                    Fault(("data", key), f"{name} has no {key}, which is {other}'s", "leave it out") for key in written
                ]
        return [*found, *chosen.faults(self.data, config)]


def run(recipe: Recipe) -> None:
    """Train on packed documents; write a whole model, or an adapter."""
    from transformers import set_seed

    from finetune import models, vocabulary
    from finetune.objectives import corpus
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        texts = corpus.read(recipe, tokenizer_of(recipe))
        loaded = models.load_for(
            recipe.model, corpus.HEADS[texts.objective], adapter=None if recipe.tokenizer else recipe.adapter
        )
        if recipe.tokenizer:
            vocabulary.extend(loaded, texts.tokenizer, recipe.tokenizer)
        models.add_adapter(loaded, recipe.adapter)
        work.metrics |= texts.counts
        learning = texts.learning(loaded.model)
        check = corpus.Validation(texts, learning, recipe.training.per_device_eval_batch_size)
        work.metrics |= check.before(loaded.model)
        training, train = texts.visited(recipe.training, recipe.launch.num_processes)
        work.metrics |= fit(
            loaded.model,
            training,
            train,
            texts.validation,
            loss=check.loss,
            collate=learning.collate,
            work=work,
            seed=recipe.seed,
            name="cpt",
            processes=recipe.launch.num_processes,
            score=check.score if texts.general else None,
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
    """Return the rows to train on, replayed ones strewn in."""
    from finetune.objectives import corpus

    return corpus.read(recipe, tokenizer, left_out, validate=False).train


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and a mask of what is learned of each training row, for `tuneloop show`."""
    from finetune.objectives import corpus

    found = []
    for number, row in enumerate(corpus.read(recipe, tokenizer, left_out, validate=False).train, 1):
        found += corpus.sample(number, row)
    return found
