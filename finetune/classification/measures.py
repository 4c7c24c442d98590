"""How good a classifier's predictions are: what validations log, and the tables of the manifest.

Accuracy and macro-F1 are those of `eval/metrics`; entities are counted in entities.py. Shapes: N texts, K labels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finetune.classification import entities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Truths = NDArray[np.bool_]


def single(predicted: Sequence[int], real: Sequence[int]) -> dict[str, float]:
    """Return accuracy and macro-F1 of one label a text."""
    from finetune.training import selection

    return {
        name: selection.compute(name, predictions=list(predicted), references=list(real))
        for name in ("accuracy", "f1_macro")
    }


def multi(probabilities: Floats, real: Truths, threshold: float | None) -> dict[str, float]:
    """Return F1 over all decisions (micro), its mean over labels (macro), and the share of texts that are all right.

    Without a threshold the one is taken that gives the best micro-F1 on these very rows.
    """
    limit = best_threshold(probabilities, real) if threshold is None else threshold
    predicted = probabilities >= limit
    hits, said, there = ((predicted & real).sum(0), predicted.sum(0), real.sum(0))
    each = [entities.scores(*map(int, column))[2] for column in zip(hits, said, there, strict=True) if sum(column)]
    return {
        "f1_micro": entities.scores(int(hits.sum()), int(said.sum()), int(there.sum()))[2],
        "f1_macro": sum(each) / len(each) if each else 0.0,
        "accuracy": float((predicted == real).all(1).mean()),
        "threshold": limit,
    }


def best_threshold(probabilities: Floats, real: Truths) -> float:
    """Return the probability from which a label is said to apply so that micro-F1 is highest; 0.5 where none applies.

    It lies half-way between the last probability that is over it and the next one.
    """
    import numpy as np

    flat, truth = probabilities.ravel().astype(float), real.ravel()
    if not truth.any():
        return 0.5
    order = np.argsort(-flat, kind="stable")
    flat, hits = flat[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(flat) + 1) + truth.sum())
    f1[:-1][flat[:-1] == flat[1:]] = -1.0  # equal probabilities cannot be told apart
    last = int(f1.argmax())
    below = flat[last + 1] if last + 1 < len(flat) else 0.0
    return float((flat[last] + below) / 2)


def tokens(predicted: Sequence[Sequence[str]], real: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the share of words whose tag is right, and precision, recall and F1 of entities where tags mark them."""
    pairs = [pair for one, other in zip(predicted, real, strict=True) for pair in zip(one, other, strict=True)]
    found = {"accuracy": sum(one == other for one, other in pairs) / max(1, len(pairs))}
    if entities.is_scheme(sorted({tag for sentence in real for tag in sentence})):
        sums = [sum(column) for column in zip(*entities.counts(predicted, real).values(), strict=True)] or [0, 0, 0]
        found |= dict(zip(("precision", "recall", "f1"), entities.scores(*sums), strict=True))
    return found


def table(predicted: Sequence[str], real: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and number of rows of each label."""
    hits = Counter(one for one, other in zip(predicted, real, strict=True) if one == other)
    return _table({label: (hits[label], predicted.count(label), real.count(label)) for label in labels})


def multi_table(predicted: Truths, real: Truths, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the same for labels that do not exclude each other, from decisions (N, K)."""
    sums = zip((predicted & real).sum(0), predicted.sum(0), real.sum(0), strict=True)
    return _table({label: (int(a), int(b), int(c)) for label, (a, b, c) in zip(labels, sums, strict=True)})


def entity_table(predicted: Sequence[Sequence[str]], real: Sequence[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Return the same for each type of entity."""
    return _table(entities.counts(predicted, real))


def _table(counts: dict[str, tuple[int, int, int]]) -> dict[str, dict[str, float]]:
    found = {}
    for label, (right, said, there) in counts.items():
        precision, recall, f1 = entities.scores(right, said, there)
        row = {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}
        found[label] = {**row, "rows": there}
    return found


def confusion(predicted: Sequence[str], real: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how often each real label was taken for each other or itself; pairs that do not occur are left out."""
    found: dict[str, Any] = {}
    for (wanted, said), count in sorted(Counter(zip(real, predicted, strict=True)).items()):
        found.setdefault(wanted, {})[said] = count
    return found
