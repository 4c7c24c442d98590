"""A classifier's word on a file: `predictions.jsonl` with each row, its labels (or tags) and their probabilities.

Reads rows with `text` (and `text_pair`), or `tokens` for a classifier of words; whatever else a row has is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field

from finetune import first_rows
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, ModelRef, StageRecipe

PREDICTIONS = "predictions.jsonl"


class Recipe(StageRecipe):
    """Labels for the rows of a file."""

    stage: Literal["predict"] = "predict"
    classifier: ModelRef = Field(description="The folder of a `stage: classify`.")
    input_file: InputPath
    batch_size: int = Field(32, ge=1)

    def faults(self) -> list[Fault]:
        """Refuse a file without texts and a folder that is no classifier."""
        from finetune.classification.predicting import Settings
        from recipes.sections import shipped

        found = first_rows.faults({("input_file",): self.input_file}, _readable)  # type: ignore[dict-item]
        if shipped(self.classifier).is_dir():
            try:
                settings = Settings.read(self.classifier)
                found = found or first_rows.faults({("input_file",): self.input_file}, _with_column(settings.kind))  # type: ignore[dict-item]
            except UserError as error:
                found.append(Fault(("classifier",), f"{error.where}: {error.what}", error.write))
        return found


def _with_column(kind: str) -> Callable[[dict[str, Any], str], None]:
    """Return what refuses a row without the column that a classifier reads."""
    column = "tokens" if kind == "tokens" else "text"

    def look(row: dict[str, Any], where: str) -> None:
        if column not in row:
            raise UserError(where, f"no {column}; the columns are {', '.join(row)}", f"write a column {column}")

    return look


def _readable(row: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a row that has a text or words.

    Raises:
        UserError: it has neither.
    """
    words = row.get("tokens")
    good_words = (
        isinstance(words, list) and bool(words) and all(isinstance(word, str) and word.strip() for word in words)
    )
    if not isinstance(row.get("text"), str) and not good_words:
        raise UserError(
            where, f"no text and no words; the columns are {', '.join(row)}", 'write rows like {"text": ...}'
        )
    return row


def run(recipe: Recipe) -> None:
    """Write the predictions."""
    from data_prep.records import numbered_rows, write_rows
    from finetune.classification.predicting import Classifier
    from recipes import artifact

    with artifact.writing(recipe) as work:
        path = recipe.input_file
        rows = [(f"{path}:{number}", _readable(row, f"{path}:{number}")) for number, row in numbered_rows(path)]
        classifier = Classifier.load(recipe.classifier)
        look = _with_column(classifier.settings.kind)
        for where, row in rows:
            look(row, where)
        said = predicted(classifier, [row for _, row in rows], recipe.batch_size)
        write_rows(work.path / PREDICTIONS, ({**row, **one} for (_, row), one in zip(rows, said, strict=True)))
        labels = Counter(label for one in said for label in one["predicted"])
        work.metrics |= {"rows": len(rows), "labels": dict(sorted(labels.items()))}


def predicted(classifier: Any, rows: list[dict[str, Any]], batch_size: int) -> list[dict[str, Any]]:
    """Return what a classifier says of each row, as columns."""
    if classifier.settings.kind == "tokens":
        tags = classifier.tag([row["tokens"] for row in rows], batch_size=batch_size)
        return [{"predicted": one} for one in tags]
    pairs = [str(row.get("text_pair") or "") for row in rows]
    said = classifier.predict([row["text"] for row in rows], pairs, batch_size=batch_size)
    return [
        {"predicted": one.labels, "probabilities": {name: round(value, 6) for name, value in one.probabilities.items()}}
        for one in said
    ]
