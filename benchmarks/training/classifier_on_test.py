"""A finished classifier on a test file: accuracy and macro-F1 with 95 % intervals.

    python benchmarks/training/classifier_on_test.py RESULT TEST.jsonl [RESULT TEST.jsonl ...]

Accuracy has Wilson's interval, macro-F1 a bootstrap over the rows (eval/statistics.py); beside them what the most
frequent label of the test file would get.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path


def main() -> None:
    """Print a row for each pair of result and test file."""
    import numpy as np

    from eval import statistics
    from finetune.classification.predicting import Classifier

    print(f"{'':34}{'rows':>6}{'accuracy':>24}{'macro-F1':>24}{'most frequent':>15}")
    for result, file in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        rows = [json.loads(line) for line in Path(file).read_text("utf-8").splitlines()]
        classifier = Classifier.load(result)
        pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        said = [one.labels[0] for one in classifier.predict([row["text"] for row in rows], pairs)]
        wanted = [row["label"] for row in rows]
        right = sum(one == other for one, other in zip(said, wanted, strict=True))
        accuracy = statistics.wilson(right, len(rows))
        counts = counted(said, wanted)
        f1 = statistics.bootstrap(counts, macro_f1)
        whole = float(macro_f1(counts.sum(0, keepdims=True))[0])
        most = Counter(wanted).most_common(1)[0][1] / len(rows)
        print(
            f"{result:34}{len(rows):6}{right / len(rows):10.4f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
            f"{whole:10.4f} [{f1.low:.3f}, {f1.high:.3f}]{most:15.3f}",
            flush=True,
        )
        assert np.isfinite(whole)


def counted(said: list[str], wanted: list[str]) -> "np.ndarray":  # noqa: F821, UP037
    """Return for each row (N, 3 L) of which label it is a right answer, of which one it was said, of which it is."""
    import numpy as np

    labels = {label: place for place, label in enumerate(sorted({*said, *wanted}))}
    found = np.zeros((len(said), 3, len(labels)))
    for row, (one, other) in enumerate(zip(said, wanted, strict=True)):
        found[row, 0, labels[one]] = one == other
        found[row, 1, labels[one]] = 1
        found[row, 2, labels[other]] = 1
    return found.reshape(len(said), -1)


def macro_f1(sums: "np.ndarray") -> "np.ndarray":  # noqa: F821, UP037
    """Return the mean F1 (R,) of the labels that occur, from sums (R, 3 L)."""
    import numpy as np

    right, said, wanted = sums.reshape(len(sums), 3, -1).transpose(1, 0, 2)
    there = said + wanted > 0
    f1 = np.divide(2 * right, said + wanted, out=np.zeros_like(right), where=there)
    return f1.sum(-1) / there.sum(-1)


if __name__ == "__main__":
    main()
