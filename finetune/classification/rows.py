"""Rows of a classifier: texts with labels, or words with tags, as `stage: instructions` writes them; which labels are.

A text has exactly one label, or with `multi_label` any number of labels that do not exclude each other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from data_prep.records import Labelled, Tagged, numbered_rows, parse
from recipes.errors import UserError

Task = Literal["text-classification", "token-classification"]
CONVERT = "or let `stage: instructions` with kind: classification convert the file"
TEXTS = f'write rows like {{"text": ..., "label": ...}}, {CONVERT}'
WORDS = f'write rows like {{"tokens": [...], "tags": [...]}}, {CONVERT}'


def labelled(row: dict[str, Any], where: str, *, multi_label: bool) -> Labelled:
    """Return one row as a text with its labels; a single one may stand in a column `label`.

    Raises:
        UserError: a column is missing or wrong, or a text has not as many labels as it must.
    """
    if "tokens" in row and "tags" in row and "text" not in row:
        what = "words with tags, where texts with labels are expected"
        raise UserError(where, what, "write classification.task: token-classification")
    if "labels" not in row and "label" in row:
        row = {name: value for name, value in row.items() if name != "label"} | {"labels": _single(row["label"], where)}
    try:
        found = parse(row, Labelled)
    except ValueError as error:
        raise UserError(where, str(error), TEXTS) from None
    if not multi_label and len(found.labels) != 1:
        what = f"{len(found.labels)} labels ({', '.join(found.labels) or 'none'}) where a text has one"
        raise UserError(where, what, "write classification.multi_label: true if labels do not exclude each other")
    if not (found.weight >= 0 and math.isfinite(found.weight)):
        raise UserError(where, f"weight is {found.weight}", "write a number that is not negative, or none")
    return found


def _single(value: Any, where: str) -> list[str]:
    """Return a label as a list of one; whole numbers and truth values become their names.

    Raises:
        UserError: there is none.
    """
    if isinstance(value, str) and value.strip():
        return [value]
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, int):
        return [str(value)]
    raise UserError(where, f"label is {value!r}, not the name of a label", TEXTS)


def tagged(row: dict[str, Any], where: str) -> Tagged:
    """Return one row as words with a tag each.

    Raises:
        UserError: a column is missing or wrong, a word is blank, or there are not as many tags as words.
    """
    if "text" in row and "tokens" not in row:
        what = "a text with labels, where words with tags are expected"
        raise UserError(where, what, "write classification.task: text-classification")
    try:
        found = parse(row, Tagged)
    except ValueError as error:
        raise UserError(where, str(error), WORDS) from None
    if len(found.tokens) != len(found.tags):
        raise UserError(where, f"{len(found.tokens)} words and {len(found.tags)} tags", "write a tag for each word")
    if blank := [number for number, word in enumerate(found.tokens, 1) if not word.strip()]:
        raise UserError(where, f"word {blank[0]} is blank", "leave it and its tag out")
    return found


def read(path: str | None, task: Task, *, multi_label: bool, left_out: Counter[str]) -> list[Any]:
    """Return the rows of a file; count in `left_out` those without any text, or of weight 0.

    Raises:
        UserError: a row does not fit.
    """
    found: list[Any] = []
    for number, row in numbered_rows(path) if path else ():
        where = f"{path}:{number}"
        one = labelled(row, where, multi_label=multi_label) if task == "text-classification" else tagged(row, where)
        if isinstance(one, Labelled) and not (one.text.strip() or one.text_pair.strip()):
            left_out["empty text"] += 1
        elif isinstance(one, Labelled) and one.weight == 0:
            left_out["weight 0"] += 1
        elif isinstance(one, Tagged) and not one.tokens:
            left_out["no words"] += 1
        else:
            found.append(one)
    return found


def names_of(row: Labelled | Tagged) -> list[str]:
    """Return the labels of a row, or its tags."""
    return row.labels if isinstance(row, Labelled) else row.tags


def label_list(rows: Iterable[Labelled | Tagged], given: Sequence[str]) -> list[str]:
    """Return the labels there are: those given, in their order, else those of the training rows, sorted.

    Raises:
        UserError: a training row has another label than those given, or there is but one label.
    """
    counts = Counter(name for row in rows for name in names_of(row))
    if given and (unknown := sorted(counts.keys() - set(given))):
        what = f"training rows have labels that are not in the list: {', '.join(unknown[:5])}"
        raise UserError("classification.labels", what, "write them into the list, or leave the list out")
    labels = list(given) or sorted(counts)
    if len(labels) < 2 or len(counts) < 2:
        what = f"all training rows have one label ({', '.join(counts) or 'none'}), so there is nothing to tell apart"
        raise UserError("data.train_file", what, "name a file with rows of every label")
    return labels


def known(rows: list[Any], labels: Sequence[str]) -> tuple[list[Any], dict[str, int]]:
    """Return the rows whose labels are all known, and how often each other label occurs."""
    wanted = set(labels)
    unseen = Counter(name for row in rows for name in names_of(row) if name not in wanted)
    return [row for row in rows if wanted.issuperset(names_of(row))], dict(sorted(unseen.items()))


def class_weights(
    rows: Sequence[Labelled | Tagged], labels: Sequence[str], wanted: Literal["balanced"] | dict[str, float] | None,
    *, multi_label: bool,
) -> list[float] | None:  # fmt: skip
    """Return what each label counts in the loss.

    `balanced` is scikit-learn's n / (K n_c): every label counts as much in all. With `multi_label` it is the weight of
    a label's positive rows against its negative ones, (n - n_c) / n_c. A label without rows counts 1.

    Raises:
        UserError: a weight is given for a label that there is not.
    """
    if wanted is None:
        return None
    if wanted != "balanced":
        if unknown := sorted(wanted.keys() - set(labels)):
            what = f"no row has the label {', '.join(unknown)}; the labels are {', '.join(labels[:20])}"
            raise UserError("classification.class_weights", what, "write labels that there are")
        return [float(wanted.get(label, 1.0)) for label in labels]
    counts = Counter(name for row in rows for name in names_of(row))
    if multi_label:
        return [(len(rows) - counts[label]) / counts[label] if counts[label] else 1.0 for label in labels]
    total, present = sum(counts.values()), sum(1 for label in labels if counts[label])
    return [total / (present * counts[label]) if counts[label] else 1.0 for label in labels]
