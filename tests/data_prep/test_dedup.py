"""Duplicates against brute force; the best copy stays; chains lose nothing that is not alike to what is kept."""

from __future__ import annotations

import random
import time
from itertools import combinations

import numpy as np
import pytest

from data_prep import dedup, shingles

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _words(generator: random.Random, count: int) -> list[str]:
    return ["".join(generator.choices(LETTERS, k=generator.randint(2, 7))) for _ in range(count)]


def _collection(seed: int, families: int = 60) -> list[str]:
    """Return texts in families: an original and copies with more and more words changed."""
    generator = random.Random(seed)
    texts = []
    for _ in range(families):
        original = _words(generator, generator.randint(8, 220))
        texts.append(original)
        for _ in range(generator.randint(0, 5)):
            copy = list(original)
            for place in generator.sample(range(len(copy)), k=generator.randint(0, max(1, len(copy) // 12))):
                copy[place] = _words(generator, 1)[0]
            texts.append(copy[: len(copy) - generator.randint(0, 4)])
    generator.shuffle(texts)
    return [" ".join(words) for words in texts]


def _jaccard(a: str, b: str, length: int = 5) -> float:
    """The plain definition, on sets of word tuples."""
    left, right = (
        {tuple(w[i : i + length]) for i in range(max(1, len(w) - length + 1))} for w in (a.split(), b.split())
    )
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_against_brute_force(threshold: float) -> None:
    texts = _collection(seed=int(threshold * 10))
    found = dedup.find(texts, threshold)
    alike = [(a, b) for a, b in combinations(range(len(texts)), 2) if _jaccard(texts[a], texts[b]) >= threshold]
    assert len(alike) > 40
    together = sum(found.cluster[a] == found.cluster[b] for a, b in alike)
    assert together >= 0.97 * len(alike)
    for index, twin in found.twins.items():  # precision: nothing goes without a kept copy that is really alike
        assert twin.kept not in found.twins
        assert twin.likeness == pytest.approx(_jaccard(texts[index], texts[twin.kept]))
        assert twin.likeness >= threshold
    kept = [index for index in range(len(texts)) if index not in found.twins]
    assert sum(_jaccard(texts[a], texts[b]) >= threshold for a, b in combinations(kept, 2)) <= 0.03 * len(alike)


def test_exact_copies_are_told_from_near_ones_and_the_first_stays() -> None:
    base = " ".join(_words(random.Random(1), 60))
    found = dedup.find([base, "something else entirely, with words of its own", f"{base}\n", base.upper()])
    assert found.twins == {2: dedup.Twin(0, 1.0, exact=True), 3: dedup.Twin(0, 1.0, exact=False)}
    assert found.cluster == [0, 1, 0, 0]


def test_the_copy_with_the_most_words_stays() -> None:
    base = " ".join(_words(random.Random(2), 100))
    found = dedup.find([base, f"{base} and a remark", base])
    assert {index: twin.kept for index, twin in found.twins.items()} == {0: 1, 2: 1}
    assert dedup.find([base, f"{base} and a remark"], rank=lambda index: (index,)).twins.keys() == {1}


def test_a_chain_stays_in_one_cluster_but_its_far_end_is_kept() -> None:
    words = _words(random.Random(3), 200)
    texts = [" ".join(words[start : start + 120]) for start in (0, 12, 24)]
    assert _jaccard(texts[0], texts[1]) >= 0.8 > _jaccard(texts[0], texts[2])
    found = dedup.find(texts)
    assert found.cluster == [0, 0, 0]
    assert {index: twin.kept for index, twin in found.twins.items()} == {1: 0}


def test_empty_and_tiny_texts() -> None:
    found = dedup.find(["", "", "word", "word", "other", " "])
    assert found.cluster == [0, 0, 2, 2, 4, 0]
    assert dedup.find([]).cluster == []


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_banding_finds_a_pair_at_the_threshold_with_the_longest_bands(threshold: float) -> None:
    bands, rows = dedup.banding(threshold, 128)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= dedup.RECALL_AT_THRESHOLD
    longer = rows + 1
    assert 1 - (1 - threshold**longer) ** (128 // longer) < dedup.RECALL_AT_THRESHOLD


def test_equal_minima_estimate_the_jaccard_index() -> None:
    words = _words(random.Random(4), 400)
    sets = [shingles.shingles(" ".join(words[start : start + 300]), 5) for start in (0, 60)]
    minima = dedup.signatures(sets, 4096)
    shared = len(np.intersect1d(*sets)) / len(np.union1d(*sets))
    # The standard deviation of the estimate is sqrt(J (1 - J) / 4096), below 0.008.
    assert float((minima[0] == minima[1]).mean()) == pytest.approx(shared, abs=0.03)


def test_shingles_do_not_see_case_punctuation_and_white_space() -> None:
    one = shingles.shingles("The SILVER fern - grows, in \u201cdeep\u201d shade!", 5)
    assert np.array_equal(one, shingles.shingles("the silver fern\n\ngrows in deep  SHADE", 5))
    assert len(shingles.shingles("two words", 5)) == 1
    assert len(shingles.shingles("", 5)) == 0


@pytest.mark.parametrize("count", [0, 1, 4, 9, 30])
def test_runs_of_each_length_are_the_runs_of_that_length(count: int) -> None:
    of_words = shingles.hashes(_words(random.Random(6), count))
    found = dict(shingles.runs_of_each_length(of_words, 9))
    assert list(found) == list(range(1, min(9, count) + 1))
    for length, runs in found.items():
        assert np.array_equal(shingles.scramble(runs), shingles.runs(of_words, length))


def test_hashes_are_the_same_in_every_process() -> None:
    assert shingles.hashes(["fern"]).tolist() == [4689700955493836303]


def test_thousands_of_rows_of_one_template_cost_no_quadratic_time() -> None:
    """Prompts that differ in one or two of sixty words: all alike, and all in each other's bands."""
    chance = random.Random(5)
    words = [f"word{number}" for number in range(60)]
    texts = []
    for number in range(4000):
        copy = list(words)
        for place in chance.sample(range(60), 1 + number % 2):
            copy[place] = f"other{number}"
        texts.append(" ".join(copy))
    started = time.process_time()
    found = dedup.find(texts, 0.6)
    assert time.process_time() - started < 15
    assert len(set(found.cluster)) < 40
    kept = [index for index in range(len(texts)) if index not in found.twins]
    assert len(kept) < 400
    for twin in list(found.twins.values())[::50]:
        assert twin.kept in kept
        assert twin.likeness >= 0.6
