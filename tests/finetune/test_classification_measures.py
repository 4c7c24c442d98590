"""Measures of classifiers against scikit-learn and numbers worked by hand; labels, weights and rows that do not fit."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight

from data_prep.records import Labelled, Tagged, write_rows
from finetune.classification import entities, measures, rows
from recipes.errors import UserError


def test_single_labels_are_measured_as_scikit_learn_does() -> None:
    chooser = random.Random(0)
    real = [chooser.choice("aabc") for _ in range(200)]
    said = [one if chooser.random() < 0.6 else chooser.choice("abc") for one in real]
    found = measures.single(["abc".index(one) for one in said], ["abc".index(one) for one in real])
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(real, said))
    assert found["f1_macro"] == pytest.approx(reference.f1_score(real, said, average="macro"))
    table = measures.table(said, real, ["a", "b", "c", "d"])
    wanted = reference.classification_report(real, said, output_dict=True)
    for label in "abc":
        row, by = table[label], wanted[label]
        assert (row["precision"], row["recall"], row["f1"], row["rows"]) == (
            *(pytest.approx(by[name], abs=5e-5) for name in ("precision", "recall", "f1-score")), by["support"],
        )  # fmt: skip
    assert table["d"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "rows": 0}
    matrix = reference.confusion_matrix(real, said, labels=list("abc"))
    confusion = measures.confusion(said, real)
    assert [[confusion[a].get(b, 0) for b in "abc"] for a in "abc"] == matrix.tolist()


def test_several_labels_are_measured_as_scikit_learn_does() -> None:
    generator = np.random.default_rng(1)
    real = generator.random((150, 4)) < 0.3
    probabilities = np.clip(real * 0.4 + generator.random((150, 4)) * 0.6, 0, 1)
    found = measures.multi(probabilities, real, 0.5)
    said = probabilities >= 0.5
    assert found["f1_micro"] == pytest.approx(reference.f1_score(real, said, average="micro"))
    assert found["f1_macro"] == pytest.approx(reference.f1_score(real, said, average="macro"))
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(real, said))
    table = measures.multi_table(said, real, list("abcd"))
    assert [table[name]["f1"] for name in "abcd"] == pytest.approx(
        reference.f1_score(real, said, average=None), abs=5e-5
    )


@pytest.mark.parametrize("ties", [False, True])
def test_the_tuned_threshold_is_the_best_of_all(ties: bool) -> None:
    generator = np.random.default_rng(2)
    real = generator.random((40, 3)) < 0.25
    probabilities = np.clip(real * 0.3 + generator.random((40, 3)) * 0.7, 0, 1)
    probabilities = probabilities.round(1) if ties else probabilities
    tuned = measures.multi(probabilities, real, None)
    every = [
        reference.f1_score(real, probabilities >= limit, average="micro", zero_division=0)
        for limit in np.unique(probabilities)
    ]
    assert tuned["f1_micro"] == pytest.approx(max(every))
    assert measures.multi(probabilities, real, tuned["threshold"])["f1_micro"] == tuned["f1_micro"]
    assert measures.best_threshold(probabilities, np.zeros_like(real)) == 0.5


# Sets that seqeval 1.2.2 finds in its default mode; 40,000 random sequences of these two schemes agreed.
ENTITIES = [
    ("B-A I-A O B-B", {("A", 0, 2), ("B", 3, 4)}),
    ("I-A I-A B-A I-B", {("A", 0, 2), ("A", 2, 3), ("B", 3, 4)}),
    ("O I-B O I-B I-A", {("B", 1, 2), ("B", 3, 4), ("A", 4, 5)}),
    ("B-A E-A S-A B-B I-B", {("A", 0, 2), ("A", 2, 3), ("B", 3, 5)}),
    ("E-A I-A E-A O", {("A", 0, 1), ("A", 1, 3)}),
    ("S-A S-A I-A", {("A", 0, 1), ("A", 1, 2), ("A", 2, 3)}),
    ("O O", set()),
]


@pytest.mark.parametrize(("tags", "wanted"), ENTITIES)
def test_entities_are_those_of_the_conll_script(tags: str, wanted: set[Any]) -> None:
    assert entities.entities(tags.split()) == wanted


def test_entities_are_right_only_as_a_whole() -> None:
    real = [["B-A", "I-A", "O", "B-B"], ["O", "B-B"]]
    said = [["B-A", "O", "O", "B-B"], ["B-A", "B-B"]]
    found = measures.tokens(said, real)
    assert found["accuracy"] == pytest.approx(4 / 6)
    # 3 real, 4 said, 2 right
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx((2 / 4, 2 / 3, 4 / 7))
    assert measures.entity_table(said, real)["B"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "rows": 2}
    assert measures.tokens([["NOUN"]], [["VERB"]]) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("labels", "marks"), [(["O", "B-A"], True), (["B-A", "I-A"], True), (["NOUN", "O"], False), (["O"], False)]
)
def test_tags_that_mark_entities_are_recognised(labels: list[str], marks: bool) -> None:
    assert entities.is_scheme(labels) is marks


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    names = ["a"] * 6 + ["b"] * 3 + ["c"]
    made = [Labelled("x", [name]) for name in names]
    wanted = compute_class_weight("balanced", classes=np.array(list("abc")), y=names)
    found = rows.class_weights(made, list("abcd"), "balanced", multi_label=False)
    assert found == pytest.approx([*wanted, 1.0])
    several = [Labelled("x", ["a", "b"]), Labelled("x", ["a"]), Labelled("x", []), Labelled("x", ["a"])]
    assert rows.class_weights(several, ["a", "b"], "balanced", multi_label=True) == [1 / 3, 3.0]
    assert rows.class_weights(made, list("abc"), {"b": 2.0}, multi_label=False) == [1.0, 2.0, 1.0]
    with pytest.raises(UserError, match="no row has the label z; the labels are a, b, c"):
        rows.class_weights(made, list("abc"), {"z": 2.0}, multi_label=False)


def test_labels_come_from_the_training_rows_or_the_list() -> None:
    made = [Labelled("x", ["b"]), Labelled("x", ["a"])]
    assert rows.label_list(made, []) == ["a", "b"]
    assert rows.label_list(made, ["c", "b", "a"]) == ["c", "b", "a"]
    with pytest.raises(UserError, match="training rows have labels that are not in the list: a"):
        rows.label_list(made, ["b", "c"])
    with pytest.raises(UserError, match=r"all training rows have one label \(b\)"):
        rows.label_list(made[:1], [])
    with pytest.raises(UserError, match=r"all training rows have one label \(b\)"):
        rows.label_list(made[:1], ["b", "a"])
    assert rows.known([*made, Labelled("x", ["z", "a"])], ["a", "b"]) == (made, {"z": 1})


MISTAKES = [
    ({"text": "a"}, {}, "missing column labels; found text"),
    ({"sentence": "a", "label": "b"}, {}, "missing column text; found labels, sentence"),
    ({"text": "a", "label": None}, {}, "label is None, not the name of a label"),
    ({"text": "a", "label": 0.5}, {}, "label is 0.5, not the name of a label"),
    ({"text": 5, "label": "b"}, {}, "text is 5, not text"),
    ({"text": "a", "labels": ["b", "c"]}, {}, r"2 labels \(b, c\) where a text has one; write .*multi_label: true"),
    ({"text": "a", "labels": []}, {}, r"0 labels \(none\) where a text has one"),
    ({"text": "a", "label": "b", "weight": -1}, {}, "weight is -1"),
    ({"tokens": ["a"], "tags": ["b"]}, {}, "words with tags, .*; write classification.task: token-classification"),
]


@pytest.mark.parametrize(("row", "keys", "what"), MISTAKES)
def test_rows_that_are_no_labelled_texts_are_told(row: dict[str, Any], keys: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=f"x:1: {what}"):
        rows.labelled(row, "x:1", multi_label=False)


def test_a_label_may_stand_alone_or_in_a_list() -> None:
    assert rows.labelled({"text": "a", "label": 3}, "x", multi_label=False).labels == ["3"]
    assert rows.labelled({"text": "a", "label": True}, "x", multi_label=False).labels == ["true"]
    assert rows.labelled({"text": "a", "labels": []}, "x", multi_label=True).labels == []


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags; write a tag for each word"),
        ({"tokens": ["a", " "], "tags": ["O", "O"]}, "word 2 is blank"),
        ({"tokens": "a b", "tags": ["O"]}, 'tokens is "a b", not a list of texts'),
        ({"text": "a", "label": "b"}, "write classification.task: text-classification"),
    ],
)
def test_rows_that_are_no_tagged_words_are_told(row: dict[str, Any], what: str) -> None:
    with pytest.raises(UserError, match=what):
        rows.tagged(row, "x:1")


def test_rows_without_text_or_weight_are_counted(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "a.jsonl",
        [{"text": " ", "label": "a"}, {"text": "x", "label": "a", "weight": 0}, {"text": "x", "label": "b"}],
    )
    left_out: Counter[str] = Counter()
    kept = rows.read(str(tmp_path / "a.jsonl"), "text-classification", multi_label=False, left_out=left_out)
    assert [row.labels for row in kept] == [["b"]] and left_out == {"empty text": 1, "weight 0": 1}
    write_rows(tmp_path / "b.jsonl", [{"tokens": [], "tags": []}, {"tokens": ["a"], "tags": ["O"]}])
    found = rows.read(str(tmp_path / "b.jsonl"), "token-classification", multi_label=False, left_out=left_out)
    assert found == [Tagged(["a"], ["O"])] and left_out["no words"] == 1
