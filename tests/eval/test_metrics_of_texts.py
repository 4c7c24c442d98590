"""chrF against sacrebleu, ROUGE-L against numbers worked by hand and a plain table of common subsequences."""

from __future__ import annotations

import random

import numpy as np
import pytest
from sacrebleu.metrics.chrf import CHRF

from eval import metrics
from eval.metrics import chrf, rouge_l

WORDS = "the fern grows in a rock house and wants water every two days".split()


def texts(seed: int, count: int) -> list[str]:
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 9))) for _ in range(count)]


def test_chrf_equals_sacrebleu_also_without_matches() -> None:
    said, one, other = texts(0, 40), texts(1, 40), texts(2, 40)
    both = [list(pair) for pair in zip(one, other, strict=True)]
    expected = CHRF().corpus_score(said, [one, other]).score
    assert metrics.compute("chrf", predictions=said, references=both) == pytest.approx(expected)
    for pair in (("xyz", "abc"), ("a", "a"), ("", "abc"), ("ab", "abcdefgh")):
        expected = CHRF().corpus_score([pair[0]], [[pair[1]]]).score
        found = metrics.compute("chrf", predictions=[pair[0]], references=[[pair[1]]])
        assert found == pytest.approx(expected)


def test_chrf_of_many_sums_at_once_is_chrf_of_each() -> None:
    rows = np.array(chrf.statistics(texts(3, 30), [[one] for one in texts(4, 30)]))
    sums = np.stack([rows[start : start + 10].sum(axis=0) for start in (0, 10, 20)])
    assert chrf.score(sums).tolist() == pytest.approx([float(chrf.score(one)) for one in sums])


def longest_common(one: list[str], other: list[str]) -> int:
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, word in enumerate(one):
        for j, word_there in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if word == word_there else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_rouge_l_is_the_best_f1_of_the_longest_common_subsequence() -> None:
    # LCS "police the gunman" of 4 and 4 words; "police kill" is worse
    said, several = "police killed the gunman", ["police ended the gunman", "the gunman kill police"]
    assert rouge_l.statistics([said], [several]) == [(0.75, 1.0)]
    one, other = texts(5, 50), texts(6, 50)
    pairs = [(a.split(), b.split()) for a, b in zip(one, other, strict=True)]
    expected = sum(2 * longest_common(a, b) / (len(a) + len(b)) for a, b in pairs) / 50
    found = metrics.compute("rouge_l", predictions=one, references=[[text] for text in other])
    assert found == pytest.approx(expected)
    assert metrics.compute("rouge_l", predictions=[""], references=[["a"]]) == 0.0
