"""What a classifier is trained on: the rows of a recipe's files read, their labels listed, everything encoded."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.classification import encoding, rows
from finetune.families import Family, config_of, family_of
from recipes.errors import UserError
from recipes.sections import Model

if TYPE_CHECKING:
    from finetune.stages.classify import Recipe

Encoded = list[dict[str, Any]]


@dataclass
class Prepared:
    """Encoded rows, with the validation rows as they were read; `weights` is what each label counts."""

    tokenizer: Any
    family: Family
    labels: list[str]
    weights: list[float] | None
    train: Encoded
    train_items: Sequence[Any]
    validation: Encoded
    validation_items: Sequence[Any]
    counts: dict[str, Any]  # for the manifest


def prepare(recipe: Recipe, tokenizer: Any, family: Family, left_out: Counter[str]) -> Prepared:
    """Read and encode a recipe's rows; count in `left_out` those that are not used.

    Raises:
        UserError: a row does not fit, or there are no two labels.
    """
    asked, multi = recipe.classification, recipe.classification.multi_label
    items = rows.read(recipe.data.train_file, asked.task, multi_label=multi, left_out=left_out)
    labels = rows.label_list(items, asked.labels)
    validation_rows = rows.read(recipe.data.validation_file, asked.task, multi_label=multi, left_out=left_out)
    check, unseen = rows.known(validation_rows, labels)
    if unseen and not check:
        what = f"no row has a label of the training rows ({_some(labels)}), all have others ({_some(list(unseen))})"
        raise UserError("data.validation_file", what, "name rows with the same labels, or leave it out")
    if unseen:
        left_out["validation: a label that no training row has"] += sum(unseen.values())
        names = ", ".join(f"{label} ({count})" for label, count in list(unseen.items())[:5])
        print(f"  validation rows with labels that no training row has are left out: {names}", file=sys.stderr)
    check_head(recipe.model, labels)
    weights = rows.class_weights(items, labels, asked.class_weights, multi_label=multi)
    cut: Counter[str] = Counter()
    train = encoded(recipe, tokenizer, family, items, labels, weights, cut)
    validation = encoded(recipe, tokenizer, family, check, labels, None if asked.kind == "single" else weights, cut)
    counts = {
        "train_rows": len(train),
        "labels": dict(sorted(Counter(name for item in items for name in rows.names_of(item)).items())),
        "left_out": dict(left_out),
        "truncated": dict(cut),
        "unseen_labels": unseen,
    }
    return Prepared(tokenizer, family, labels, weights, train, items, validation, check, counts)


def encoded(
    recipe: Recipe, tokenizer: Any, family: Family, items: list[Any], labels: Sequence[str],
    weights: list[float] | None, cut: Counter[str],
) -> Encoded:  # fmt: skip
    """Return rows as the loss reads them."""
    asked, longest = recipe.classification, recipe.data.max_length
    if asked.kind == "tokens":
        return encoding.word_rows(tokenizer, items, labels, longest, family, cut)
    return encoding.text_rows(
        tokenizer, items, labels, longest, family, cut, multi_label=asked.multi_label, weights=weights
    )


def tokenizer_of(model: Model) -> Any:
    """Load the tokenizer of a recipe's model, which may be a classifier itself."""
    from finetune import bases

    base, adapter = bases.base_of(model.model_name_or_path)
    return bases.load_tokenizer(adapter or base, trust_remote_code=model.trust_remote_code)


def check_head(model: Model, labels: Sequence[str]) -> None:
    """Refuse to go on with a finished classifier whose head tells other labels apart.

    A whole one with another number of labels gets a new head; with as many, its rows would come under other names.

    Raises:
        UserError: it has other labels, or the same in another order.
    """
    kept = _labels_of_head(model, len(labels))
    if kept is None or kept == list(labels):
        return
    what = f"its head tells {_some(kept)} apart, the rows {_some(labels)}"
    write = "start from its base, for which a head is made, or name rows with its labels"
    if set(labels) <= set(kept):
        write = f"write classification.labels: {json.dumps(kept, ensure_ascii=False)}"
    raise UserError(f"{model.model_name_or_path}: a classifier with its head", what, write)


def _labels_of_head(model: Model, wanted: int) -> list[str] | None:
    """Return the labels of a finished classifier's head that would be kept; None where there is none."""
    from finetune import bases, models

    base, adapter = bases.base_of(model.model_name_or_path)
    if adapter is not None:
        file = Path(adapter) / models.LABELS
        return list(json.loads(file.read_text(encoding="utf-8"))["labels"]) if file.is_file() else None
    config = config_of(base) or {}
    names = config.get("id2label") or {}
    classifies = any("Classification" in one for one in config.get("architectures") or [])
    return [names[str(index)] for index in range(wanted)] if classifies and len(names) == wanted else None


def _some(labels: Sequence[str], most: int = 5) -> str:
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def family_from(model: Model) -> Family:
    """Return the family of a recipe's model by transformers' reading of its configuration."""
    from transformers import AutoConfig

    from finetune import bases

    base, _ = bases.base_of(model.model_name_or_path)
    return family_of(AutoConfig.from_pretrained(base, trust_remote_code=model.trust_remote_code))
