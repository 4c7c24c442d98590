"""ROUGE-L against the textbook's table of subsequences, and the pool against comparing with every text."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from data_prep.synthesis.rouge import Pool, common, f1, words


def table(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common subsequence, cell by cell."""
    rows = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            rows[i + 1][j + 1] = rows[i][j] + 1 if left == right else max(rows[i][j + 1], rows[i + 1][j])
    return rows[-1][-1]


def texts(count: int, seed: int) -> list[list[str]]:
    chance = random.Random(seed)
    vocabulary = [f"w{number}" for number in range(40)]
    made: list[list[str]] = []
    for _ in range(count):
        if made and chance.random() < 0.6:  # like one that is there
            text = list(chance.choice(made))
            for _ in range(chance.randrange(4)):
                text.insert(chance.randrange(len(text) + 1), chance.choice(vocabulary))
                del text[chance.randrange(len(text))]
        else:
            text = [chance.choice(vocabulary) for _ in range(chance.randrange(1, 14))]
        made.append(text or ["w0"])
    return made


def test_by_hand() -> None:
    """The example of Lin 2004, section 3.1: "police killed the gunman" against two others."""
    reference = words("police killed the gunman")
    assert f1(reference, words("Police kill the gunman.")) == pytest.approx(3 / 4)
    assert f1(reference, words("the gunman kill police")) == pytest.approx(2 / 4)
    assert f1(reference, []) == 0
    assert f1(words("What is acne?"), words("what is ACNE")) == 1


def test_subsequences_as_in_the_textbook() -> None:
    made = texts(120, 1)
    for one in made[:40]:
        for other in made:
            assert common(one, other) == table(one, other)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 1.0])
@pytest.mark.parametrize("known", [True, False])
def test_the_pool_finds_what_comparing_with_all_finds(threshold: float, known: bool) -> None:
    made = texts(400, 2)
    pool = Pool(threshold, Counter(word for text in made for word in text) if known else None)
    found = 0
    for number, text in enumerate(made):
        expected = [(f1(text, other), at) for at, other in enumerate(made[:number]) if f1(text, other) >= threshold]
        assert list(pool.near(text)) == expected
        found += len(expected)
        assert pool.add(text) == number
    assert found > 50
