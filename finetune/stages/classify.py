"""Classification: of texts and pairs of texts, with one label or several, and of words (entities, parts of speech).

Any encoder (BERT-like) or decoder (Llama-like) gets a new head; all weights, or an adapter and the head, are trained.
An encoder's head reads its first token, a decoder's the last token of the text, which is never guessed from padding.
Labels are those of the training rows, or given. Texts longer than `max_length` are cut at their end and counted.

Validation reports accuracy and macro-F1; with several labels also micro-F1; for tags that mark entities, F1 of whole
entities. The manifest has a table by label and what was taken for what. Result: a folder that transformers loads, with
`classifier.json` for finetune/classification/predicting.py. Leaves out: regression, spans, hierarchies of labels.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field

from finetune import documents, families, first_rows, reported
from finetune.classification import rows as labelled_rows
from finetune.classification.rows import Task
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training

# What validations report besides the loss.
MEASURES = {
    "single": ("accuracy", "f1_macro"),
    "multi": ("accuracy", "f1_macro", "f1_micro"),
    "tokens": ("accuracy", "precision", "recall", "f1"),
}


class Data(Section):
    """JSONL rows with `text`, `label` or `labels`, optional `text_pair` and `weight`; or with `tokens` and `tags`."""

    train_file: InputPath
    validation_file: InputPath | None = None
    max_length: int = Field(256, ge=8, description="Longer texts are cut at their end, and counted.")


class Classification(Section):
    """What is told apart."""

    task: Task = Field("text-classification", description="token-classification: a tag for each word.")
    labels: list[str] = Field(default_factory=list, description="In order; absent: those of the training rows, sorted.")
    multi_label: bool = Field(False, description="A text may have several labels, or none.")
    class_weights: Literal["balanced"] | dict[str, float] | None = Field(
        None, description="What each label counts in the loss; balanced: rare labels as much as frequent ones."
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    threshold: float | Literal["tuned"] = Field(
        0.5, description="multi_label: the probability from which a label applies; tuned: best micro-F1 in validation."
    )

    @property
    def kind(self) -> Literal["single", "multi", "tokens"]:
        """Return which loss and measures belong to it."""
        if self.task == "token-classification":
            return "tokens"
        return "multi" if self.multi_label else "single"


class Recipe(StageRecipe):
    """Classification of texts or words."""

    stage: Literal["classify"] = "classify"
    model: Model
    adapter: Lora | None = None
    data: Data
    classification: Classification = Field(default_factory=Classification)
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row does not fit, models without a classifier, values that exclude each other."""
        files = first_rows.files_of(self.data)
        model = self.model.model_name_or_path
        return [
            *first_rows.faults(files, self._parse),
            *families.faults(
                ("model", "model_name_or_path"), model, ("encoder", "decoder"), "a classifier has one stack of layers",
                "name an encoder or a decoder, or let `stage: seq2seq` write the labels as texts",
            ),
            *documents.context_faults(("data", "max_length"), self.data.max_length, model),
            *self._value_faults(),
            *reported.faults(self.training, ["loss", *MEASURES[self.classification.kind]]),
        ]  # fmt: skip

    def _parse(self, row: dict[str, Any], where: str) -> Any:
        if self.classification.kind == "tokens":
            return labelled_rows.tagged(row, where)
        return labelled_rows.labelled(row, where, multi_label=self.classification.multi_label)

    def _value_faults(self) -> list[Fault]:
        found, asked = [], self.classification
        if asked.multi_label and asked.task == "token-classification":
            what = "multi_label is for texts: a word has one tag"
            found.append(Fault(("classification", "multi_label"), what, "leave it out"))
        if asked.threshold != 0.5 and not asked.multi_label:
            what = "a threshold decides between labels that do not exclude each other"
            found.append(Fault(("classification", "threshold"), what, "write multi_label: true, or leave it out"))
        if isinstance(asked.threshold, float) and not 0 < asked.threshold < 1:
            what = f"threshold {asked.threshold:g} is no probability between 0 and 1"
            found.append(Fault(("classification", "threshold"), what, "write 0.5, or tuned"))
        if asked.threshold == "tuned" and not self.data.validation_file:
            what = "a threshold is tuned on validation rows, and there are none"
            found.append(Fault(("classification", "threshold"), what, "write data.validation_file, or a number"))
        if asked.label_smoothing and asked.multi_label:
            what = "labels that do not exclude each other are not smoothed"
            found.append(Fault(("classification", "label_smoothing"), what, "leave it out"))
        if len(set(asked.labels)) != len(asked.labels):
            twice = next(label for label, count in Counter(asked.labels).items() if count > 1)
            found.append(Fault(("classification", "labels"), f"{twice} stands there twice", "write each label once"))
        return [*found, *self._weight_faults()]

    def _weight_faults(self) -> list[Fault]:
        key, weights = ("classification", "class_weights"), self.classification.class_weights
        if not isinstance(weights, dict):
            return []
        wrong = [f"{label}: {value:g}" for label, value in weights.items() if value <= 0]
        found = [Fault(key, f"{', '.join(wrong)} is not more than 0", "write positive numbers")] if wrong else []
        known = self.classification.labels
        if known and (unknown := sorted(weights.keys() - set(known))):
            found.append(
                Fault(key, f"{', '.join(unknown)} is not in classification.labels", "write labels of the list")
            )
        return found


def run(recipe: Recipe) -> None:
    """Train a classifier; write a whole model, or an adapter with its head."""
    from transformers import set_seed

    from finetune import models
    from finetune.classification import encoding, losses, predicting, preparing
    from finetune.classification.validating import Validation
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        asked = recipe.classification
        left_out: Counter[str] = Counter()
        tokenizer = preparing.tokenizer_of(recipe.model)
        data = preparing.prepare(recipe, tokenizer, preparing.family_from(recipe.model), left_out)
        work.metrics |= data.counts
        head: models.Head = "token_classification" if asked.kind == "tokens" else "sequence_classification"
        loaded = models.load_for(recipe.model, head, data.labels, asked.multi_label, adapter=recipe.adapter)
        models.add_adapter(loaded, recipe.adapter)
        threshold = None if asked.threshold == "tuned" else float(asked.threshold)
        check = Validation(data.validation, data.validation_items, data.labels, asked.kind, threshold)
        loss = losses.loss_of(
            data.family, asked.kind, weights=data.weights, label_smoothing=asked.label_smoothing, seen=check.seen
        )
        collate = encoding.collate(
            data.tokenizer.pad_token_id or 0, data.family, data.weights if asked.kind == "tokens" else None
        )
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            data.train,
            check.by_length(),
            loss=loss,
            collate=collate,
            work=work,
            seed=recipe.seed,
            name="classify",
            processes=recipe.launch.num_processes,
            by_length=True,
            score=check.score if data.validation else None,
        )
        threshold = float(work.metrics.get("eval_threshold", 0.5) if threshold is None else threshold)
        if data.validation:
            found = {} if recipe.training.load_best_model_at_end else check.last
            if not found:  # the weights are not those of the last validation, or that was before the run was cut
                size = recipe.training.per_device_eval_batch_size
                found = predicting.outputs(loaded.model, data.validation, data.family, asked.kind, collate, size)
            work.metrics |= check.tables(found, threshold)
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)
            predicting.Settings(
                asked.task, data.labels, asked.multi_label, threshold, recipe.data.max_length, data.family
            ).write(work.path)


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and, where a word's label stands, a mask of each training row, for `tuneloop show`."""
    from finetune.classification import preparing

    data = preparing.prepare(recipe, tokenizer, preparing.family_from(recipe.model), left_out)
    found = []
    for number, (row, item) in enumerate(zip(data.train, data.train_items, strict=True), 1):
        names = ", ".join(labelled_rows.names_of(item)) or "no label"
        mask = [int(label != -100) for label in row.get("labels", [-100] * len(row["input_ids"]))]
        found.append((f"row {number} -> {names}", row["input_ids"], mask))
    return found
