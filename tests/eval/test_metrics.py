"""Every metric against an independent implementation, and equal through `evaluate`'s API."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval import metrics
from recipes.load import UserError

WORDS = "the a blue fern poppy grows blooms in June rock house water, every two days. Gladly: it".split()


def sentences(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 12))) for _ in range(count)]


def references(seed: int, count: int) -> list[list[str]]:
    """Two references each, never empty, many of them close to the predictions."""
    return [
        [f"{one} June", f"{two} in June"] for one, two in zip(sentences(seed, count), sentences(9, count), strict=True)
    ]


def test_accuracy_and_macro_f1_equal_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    draw = np.random.default_rng(3)
    for labels in (2, 5, 9):
        wanted, said = draw.integers(0, labels, 60).tolist(), draw.integers(0, labels, 60).tolist()
        assert metrics.compute("accuracy", predictions=said, references=wanted) == accuracy_score(wanted, said)
        ours = metrics.compute("f1_macro", predictions=said, references=wanted)
        assert ours == pytest.approx(f1_score(wanted, said, average="macro"), abs=1e-12)


def test_macro_f1_leaves_out_labels_that_never_occur() -> None:
    from sklearn.metrics import f1_score

    rows = metrics.named("f1_macro").statistics(predictions=[0, 1, 1], references=[0, 1, 0], labels=[0, 1, 2, 3])
    ours = float(metrics.named("f1_macro").score(np.asarray(rows).sum(axis=0)))
    assert ours == pytest.approx(f1_score([0, 1, 0], [0, 1, 1], average="macro"))


def test_bleu_equals_sacrebleu_also_without_matches() -> None:
    import sacrebleu

    for seed, count in ((1, 50), (2, 3), (4, 1), (5, 2)):
        said, wanted = sentences(seed, count), references(seed + 1, count)
        peer = sacrebleu.corpus_bleu(said, [list(column) for column in zip(*wanted, strict=True)]).score
        assert metrics.compute("bleu", predictions=said, references=wanted) == pytest.approx(peer, abs=1e-9)
    assert metrics.compute("bleu", predictions=["x y z w"], references=[["a b c d"]]) == 0.0
    assert metrics.compute("bleu", predictions=[""], references=[["a b c d"]]) == 0.0


def test_bleu_equals_the_command_line_of_sacrebleu(tmp_path: Path) -> None:
    said, wanted = sentences(6, 30), [pair[:1] for pair in references(7, 30)]
    (tmp_path / "said.txt").write_text("\n".join(said) + "\n")
    (tmp_path / "wanted.txt").write_text("\n".join(one for [one] in wanted) + "\n")
    command = [sys.executable, "-m", "sacrebleu", "wanted.txt", "-i", "said.txt", "-m", "bleu", "-w", "6"]
    out = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert round(metrics.compute("bleu", predictions=said, references=wanted), 6) == out["score"]
    ours = metrics.signature("bleu")
    assert ours.replace("nrefs:var", "nrefs:1") == out["signature"]


def test_bleu_of_many_sums_at_once_is_bleu_of_each() -> None:
    metric = metrics.named("bleu")
    rows = np.asarray(metric.statistics(predictions=sentences(1, 20), references=references(2, 20)))
    counts = np.random.default_rng(0).integers(0, 3, size=(7, 20)).astype(float)
    together = metric.score(counts @ rows)
    assert together == pytest.approx([float(metric.score(row)) for row in counts @ rows])


def squad_f1(prediction: str, truth: str) -> float:
    """The published SQuAD 1.1 script's own steps, written out."""
    import collections
    import re
    import string

    def normalize(text: str) -> list[str]:
        text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split()).split()

    said, wanted = normalize(prediction), normalize(truth)
    common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def test_token_f1_and_exact_match_equal_squad() -> None:
    said, wanted = sentences(1, 80), references(2, 80)
    peer = np.mean([max(squad_f1(one, truth) for truth in several) for one, several in zip(said, wanted, strict=True)])
    assert metrics.compute("token_f1", predictions=said, references=wanted) == pytest.approx(peer)
    one = {
        "predictions": ["The Blue Poppy!", "a fern", "June"],
        "references": [["blue poppy"], ["ferns"], ["May", "june."]],
    }
    assert metrics.compute("exact_match", **one) == pytest.approx(2 / 3)


def test_contains_wants_whole_words_side_by_side() -> None:
    answers = ["It blooms in June.", "It blooms in Juneau.", "June it is, the month", "in the June"]
    found = metrics.named("contains").statistics(predictions=answers, references=[["in June"]] * 4)
    assert [row[0] for row in found] == [1.0, 0.0, 0.0, 1.0]


def test_likelihood_metrics_by_hand() -> None:
    nll, tokens, size = [2 * math.log(4), 6 * math.log(2)], [2, 6], [10, 30]
    # 10 nats-in-bits over 8 tokens: 2 ** 1.25; the mean of the two documents' perplexities would be 3.
    assert metrics.compute("perplexity", nll=nll, tokens=tokens) == pytest.approx(2**1.25)
    assert metrics.compute("word_perplexity", nll=nll, words=[1, 1]) == pytest.approx(2**5)
    assert metrics.compute("bits_per_byte", nll=nll, bytes=size) == pytest.approx(10 / 40)


COLUMNS = {
    "accuracy": {"predictions": [1, 0, 2, 2], "references": [1, 1, 2, 0]},
    "bits_per_byte": {"nll": [3.5, 1.25], "bytes": [7, 3]},
    "bleu": {"predictions": sentences(1, 9), "references": references(2, 9)},
    "chrf": {"predictions": sentences(1, 9), "references": references(2, 9)},
    "rouge_l": {"predictions": sentences(1, 9), "references": references(2, 9)},
    "contains": {"predictions": sentences(1, 9), "references": references(2, 9)},
    "exact_match": {"predictions": ["a fern", "June"], "references": [["ferns"], ["june"]]},
    "f1_macro": {"predictions": [1, 0, 2, 2], "references": [1, 1, 2, 0]},
    "mean": {"values": [0.5, 0.25]},
    "perplexity": {"nll": [3.5, 1.25], "tokens": [7, 3]},
    "token_f1": {"predictions": sentences(1, 9), "references": references(2, 9)},
    "word_perplexity": {"nll": [3.5, 1.25], "words": [7, 3]},
}


def test_evaluate_gives_the_same_without_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert set(COLUMNS) == set(metrics.names())
    # A file of the same name in the working folder would be run by evaluate.load("accuracy").
    (tmp_path / "accuracy.py").write_text("raise SystemExit('the wrong accuracy')")
    monkeypatch.chdir(tmp_path)
    for name, columns in COLUMNS.items():
        module = metrics.load(name)
        assert module.compute(**columns)[name] == pytest.approx(metrics.compute(name, **columns), abs=1e-12)
        assert module.name == name
    batched = metrics.load("accuracy")
    batched.add(predictions=1, references=1)
    batched.add_batch(predictions=[0, 2], references=[1, 2])
    assert batched.compute()["accuracy"] == pytest.approx(2 / 3)


def test_metrics_combine_as_those_of_evaluate_do() -> None:
    import evaluate

    both = evaluate.combine([metrics.load("accuracy"), metrics.load("f1_macro")])
    found = both.compute(predictions=[1, 0, 2, 2], references=[1, 1, 2, 0])
    assert found["accuracy"] == 0.5
    assert found["f1_macro"] == pytest.approx(metrics.compute("f1_macro", **COLUMNS["f1_macro"]))


def test_an_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean token_f1"):
        metrics.named("token-f1")
