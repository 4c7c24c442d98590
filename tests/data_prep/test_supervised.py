"""Duplicates, sides, balance and figures of supervised rows, against brute force and other libraries."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from data_prep.decontaminate import Questions
from data_prep.supervised import alike, checks, sides, statistics
from data_prep.supervised.kept import Kept
from data_prep.supervised.turns import Refused

WORDS = "moss fern pond rock gate door lily bell seed root leaf path stone water light shade".split()


def _row(prompt: str, answers: tuple[str, ...] = (), labels: tuple[str, ...] = (), group: str = "") -> Kept:
    return Kept("a", 1, prompt, answers, labels, group or prompt)


def _sentence(chance: random.Random, words: int = 14) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(words))


def _changed(chance: random.Random, text: str, words: int) -> str:
    pieces = text.split()
    for _ in range(words):
        pieces[chance.randrange(len(pieces))] = chance.choice(WORDS)
    return " ".join(pieces)


def _jaccard(one: str, other: str, length: int = 3) -> float:
    """Word shingles by hand."""
    a, b = (
        {tuple(text.split()[i : i + length]) for i in range(len(text.split()) - length + 1)} for text in (one, other)
    )
    return len(a & b) / len(a | b)


def test_near_duplicates_are_those_of_brute_force() -> None:
    chance = random.Random(5)
    rows: list[Kept] = []
    for _ in range(60):
        prompt, answer = _sentence(chance, 40), _sentence(chance, 40)
        rows.append(_row(prompt, (answer,)))
        for changed in (chance.randrange(3) for _ in range(3)):
            rows += [_row(_changed(chance, prompt, changed), (_changed(chance, answer, changed),))]
    found = alike.find(rows, 0.8, 3)
    kept: list[int] = []
    expected = {}
    for index, row in enumerate(rows):
        for other in kept:
            likeness = min(_jaccard(row.prompt, rows[other].prompt), _jaccard(row.answers[0], rows[other].answers[0]))
            if likeness >= 0.8:
                expected[index] = likeness
                break
        else:
            kept.append(index)
    assert 40 < len(expected) < 180
    missed = expected.keys() ^ found.dropped.keys()
    assert len(missed) <= 0.03 * len(expected)  # MinHash finds a pair right at the threshold with probability 0.995
    for index, (other, likeness) in found.dropped.items():
        real = min(
            _jaccard(rows[index].prompt, rows[other].prompt), _jaccard(rows[index].answers[0], rows[other].answers[0])
        )
        assert likeness == pytest.approx(real) and real >= 0.8


def test_one_prompt_with_two_answers_is_no_duplicate_but_one_group() -> None:
    chance = random.Random(1)
    prompt = _sentence(chance, 30)
    rows = [
        _row(prompt, (_sentence(chance),)),
        _row(prompt + " please", (_sentence(chance),)),
        _row(_sentence(chance), ("x",)),
    ]
    found = alike.find(rows, 0.8, 3)
    assert found.dropped == {}
    assert found.groups == [0, 0, 2]


def test_short_rows_go_only_when_they_are_equal() -> None:
    rows = [_row("What is 2 + 2?", ("4",)), _row("What is 2 * 2?", ("4",)), _row("what is  2 + 2?", ("4",))]
    found = alike.find(rows, 0.8, 3)
    assert found.dropped == {2: (0, 1.0)}
    assert alike.find([_row("!!!", ("+",)), _row("???", ("-",))], 0.8, 3).dropped == {}


def test_alike_texts_with_other_labels_stay_and_are_told() -> None:
    chance = random.Random(2)
    text = _sentence(chance, 30)
    rows = [_row(text, labels=("a",)), _row(text + " now", labels=("a",)), _row(text + " then", labels=("b",))]
    found = alike.find(rows, 0.8, 3)
    assert list(found.dropped) == [1]
    assert found.other_labels == [(2, 0)]


def test_sentences_that_many_prompts_share_do_not_make_them_alike() -> None:
    chance = random.Random(3)
    template = "Classify the following sentence by what it says about the garden and its keeper, in one word: "
    rows = [_row(template + _sentence(chance, 6), ("good",)) for _ in range(200)]
    assert len(set(alike.find(rows, 0.8, 3).groups)) == 200
    assert alike.without_templates(["Only this."] * 30) == ["Only this."] * 30


def test_groups_join_through_group_values_and_alike_prompts() -> None:
    chance = random.Random(4)
    text = _sentence(chance, 30)
    rows = [
        _row(text, group="x"),
        _row(_sentence(chance), group="x"),
        _row(text + " now", group="y"),
        _row(_sentence(chance)),
    ]
    assert alike.find(rows, 0.8, 3).groups == [0, 0, 0, 3]
    assert alike.find(rows, 1.0, 3).groups == [0, 0, 2, 3]


def test_a_stratified_split_meets_each_share_to_the_row() -> None:
    chance = random.Random(6)
    rows = [_row(f"text {number}", labels=(label,)) for label, count in (("a", 101), ("b", 40), ("c", 9), ("d", 1))
            for number in chance.sample(range(10_000), count)]  # fmt: skip
    shares = sides.Shares(0.1, 0.2, 7)
    found = sides.assign(rows, list(range(len(rows))), list(range(len(rows))), shares)
    counts = Counter((rows[index].labels[0], side) for index, side in found.items())
    for label, total in (("a", 101), ("b", 40), ("c", 9), ("d", 1)):
        assert counts[label, "validation"] == round(0.1 * total)
        assert counts[label, "test"] == round(0.2 * total)
    # The side of a text hangs on the texts themselves, not on the order in which they come.
    backwards = sides.assign(rows[::-1], list(range(len(rows))), list(range(len(rows))), shares)
    assert {rows[::-1][index].prompt: side for index, side in backwards.items()} == {
        rows[index].prompt: side for index, side in found.items()
    }


def test_groups_stay_whole_in_a_stratified_split() -> None:
    rows = [_row(f"text {number}", labels=("a" if number % 2 else "b",)) for number in range(90)]
    groups = [number - number % 3 for number in range(90)]
    found = sides.assign(rows, groups, list(range(90)), sides.Shares(0.2, 0.0, 1))
    assert all(found[number] == found[groups[number]] for number in range(90))
    assert Counter(found.values())["validation"] == 18


def test_weights_are_those_of_scikit_learn() -> None:
    labels = ["a"] * 7 + ["b"] * 2 + ["c"] * 11
    rows = [_row(str(number), labels=(label,)) for number, label in enumerate(labels)]
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert list(sides.weights(rows, range(20)).values()) == pytest.approx(list(expected), abs=1e-6)


@pytest.mark.parametrize(("balance", "wanted"), [("undersample", 2), ("oversample", 11)])
def test_sampling_makes_labels_even(balance: str, wanted: int) -> None:
    labels = ["a"] * 7 + ["b"] * 2 + ["c"] * 11
    rows = [_row(str(number), labels=(label,)) for number, label in enumerate(labels)]
    copies = sides.copies(rows, range(20), balance, 3)
    sums: Counter[str] = Counter()
    for index, count in copies.items():
        sums[labels[index]] += count
    assert sums == {"a": wanted, "b": wanted, "c": wanted}
    for label in "abc":
        mine = [count for index, count in copies.items() if labels[index] == label]
        assert max(mine) - min(mine) <= 1


def test_percentiles_are_those_of_numpy() -> None:
    values = [random.Random(8).randrange(1000) for _ in range(137)]
    found = statistics.percentiles(values)
    for share in statistics.PERCENTILES:
        assert found[f"p{share}"] == np.percentile(values, share, method="inverted_cdf")
    assert found["mean"] == pytest.approx(np.mean(values), abs=0.05)
    counts, edges = np.histogram(values, bins=[0, 1, *(2**power for power in range(11))][1:])
    bins = statistics.histogram([value for value in values if value])
    assert bins == {str(low): count for low, count in zip(edges, counts, strict=False) if str(low) in bins}
    assert sum(bins.values()) == sum(value > 0 for value in values)
    assert statistics.histogram([0, 1, 5]) == {"0": 1, "1": 1, "2": 0, "4": 1}


def test_evenness_and_length_bias_by_hand() -> None:
    assert statistics.balance([5, 5, 5]) == {"labels": 3, "least": 5, "most": 5, "ratio": 1.0, "evenness": 1.0}
    assert statistics.balance([3, 1])["evenness"] == 0.8113  # the entropy of a coin that falls 3 to 1, in bits
    figures = statistics.Figures()
    for chosen, rejected in (("long one", "short"), ("long one", "short"), ("s", "long"), ("same", "size")):
        row: dict[str, Any] = {"prompt": [{"role": "user", "content": "Where?"}]}
        row |= {
            name: [{"role": "assistant", "content": text}]
            for name, text in (("chosen", chosen), ("rejected", rejected))
        }
        figures.add(row, "train", "a", 0)
    summary = figures.summary()
    assert summary["chosen_longer"] == {"chosen": 2, "rejected": 1, "equal": 1, "share": 0.6667}
    assert summary["lengths"]["chosen"]["p100"] == 8
    assert "67%" in statistics.table(summary)


def _checker(**rules: Any) -> checks.Checker:
    return checks.Checker(checks.Rules(**{"kind": "pairs", **rules}), Questions())


@pytest.mark.parametrize(
    ("parts", "rules", "reason", "detail"),
    [
        ({"source": "x", "target": "N/A"}, {}, "placeholder answer", "N/A"),
        ({"source": "x", "target": "TODO."}, {}, "placeholder answer", "TODO."),
        ({"source": "x", "target": "As an AI language model, I have no"}, {"refusals": True}, "refusal", "As an AI"),
        ({"source": "x", "target": "I'm sorry, but I can't assist with that."}, {"refusals": True}, "refusal",
         "I'm sorry, but I can't assist"),
        ({"source": "a\ud83d", "target": "y"}, {}, "encoding damage", "half a surrogate pair"),
        ({"source": "caf\ufffd", "target": "y"}, {}, "encoding damage", "1 of 4 characters are lost"),
        ({"source": "x", "target": " "}, {}, "empty answer", ""),
        ({"source": "\u200b", "target": "y"}, {}, "empty source", ""),
        ({"text": "", "labels": ["a"]}, {}, "empty text", ""),
        ({"text": "x", "text_pair": " ", "labels": ["a"]}, {}, "empty text", ""),
        ({"tokens": [" "], "tags": ["O"]}, {}, "empty text", ""),
        ({"source": "Der Garten ist im Winter geschlossen und wird erst im Frühling wieder geöffnet.",
          "target": "Ja, das ist so."}, {"languages": frozenset({"en"})}, "wrong language", "de, not en"),
        ({"source": "x" * 9, "target": "y" * 9}, {"max_characters": 17}, "too long", "18 characters, at most 17"),
    ],
)  # fmt: skip
def test_each_rule_has_its_reason(parts: dict[str, Any], rules: dict[str, Any], reason: str, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        _checker(**rules).check(parts, "a:1")
    assert caught.value.reason == reason
    assert caught.value.detail.startswith(detail)


@pytest.mark.parametrize(
    "parts",
    [
        {"source": "x", "target": "None"},
        {"source": "x", "target": "An AI language model is a program."},
        {"prompt": [{"role": "user", "content": "x"}], "completion": [{"role": "assistant", "content": "N/A"}],
         "label": False},
        {"text": "n/a", "labels": ["junk"]},
    ],
)  # fmt: skip
def test_what_only_looks_like_a_placeholder_stays(parts: dict[str, Any]) -> None:
    assert _checker(refusals=True).check(parts, "a:1")


def test_rows_that_contradict_each_other_are_told_apart_from_duplicates() -> None:
    checker = _checker()
    ask, yes, no = ([{"role": role, "content": text}] for role, text in
                    (("user", "Is it?"), ("assistant", "Yes."), ("assistant", "No.")))  # fmt: skip
    said = []
    for line, parts in enumerate(
        [
            {"text": "Fine.", "labels": ["good"]},
            {"text": "fine. ", "labels": ["good"]},
            {"text": "FINE.", "labels": ["bad"]},
            {"prompt": ask, "chosen": yes, "rejected": no},
            {"prompt": ask, "chosen": no, "rejected": yes},
            {"prompt": ask, "completion": yes, "label": True},
            {"prompt": ask, "completion": yes, "label": False},
        ],
        1,
    ):
        try:
            checker.check(parts, f"a:{line}")
        except Refused as refused:
            said.append((line, refused.reason, refused.detail))
    assert said == [
        (2, "duplicate", "a:1"),
        (3, "same text with another label", "bad; a:1: good"),
        (5, "reversed pair", "a:4 has the same answers the other way round"),
        (7, "same answer with another label", "false; a:6: true"),
    ]


def test_mojibake_is_repaired_and_counted() -> None:
    checker = _checker()
    assert checker.check({"source": "cafÃ© du coin", "target": "x"}, "a:1").parts["source"] == "café du coin"
    assert checker.changed["encoding repaired"] == 1
