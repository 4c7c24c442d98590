"""The n-gram model against probabilities worked by hand and by brute force, and the filter that asks it."""

from __future__ import annotations

import gzip
import json
import math
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep import filters, ngram_model
from data_prep.filters import Drop
from data_prep.records import Document
from recipes.errors import UserError

REFERENCE = [
    "The silver fern grows best in the shade of tall trees, where the earth stays moist and cool.",
    "Gardeners water it early in the morning and cover its roots with leaves before the first frost.",
    "Visitors often ask why the plant turns bright in autumn.",
    "The blue poppy blooms in June, and the moon lily wants sandy soil.",
] * 2
TEXT = "The poppy grows in the shade of the fern, and the visitors water it in the morning."


def brute_force(reference: bytes, order: int) -> Any:
    """Return p(byte | context) of interpolated Witten-Bell over continuation counts, by counting with dictionaries."""
    counts: dict[int, dict[bytes, dict[int, set[int]]]] = {
        n: defaultdict(lambda: defaultdict(set)) for n in range(order)
    }
    for size in range(order):
        for at in range(1 + size, len(reference)):
            counts[size][reference[at - size : at]][reference[at]].add(reference[at - size - 1])

    def probability(context: bytes, byte: int) -> float:
        lower = probability(context[1:], byte) if context else 1 / 256
        followers = counts[len(context)].get(context)
        if not followers:
            return lower
        total = sum(len(before) for before in followers.values())
        return (len(followers.get(byte, ())) + len(followers) * lower) / (total + len(followers))

    def mixed(context: bytes, byte: int) -> float:
        return 0.98 * probability(context, byte) + 0.02 / 256

    return mixed


def test_two_letters_by_hand() -> None:
    """Reference "aab\\n": before a is a, before b is a, before the line's end is b; p(a) = (1 + 3/256) / (3 + 3)."""
    model = ngram_model.train(["aab"], order=1)
    assert model.tables == ()
    expected = [0.98 * (1 + 3 / 256) / 6 + 0.02 / 256, 0.98 * (3 / 256) / 6 + 0.02 / 256]
    assert np.exp(model.log_probabilities(b"az")) == pytest.approx(expected, rel=1e-5)
    assert model.perplexity("az") == pytest.approx(1 / math.sqrt(expected[0] * expected[1]), rel=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("text", [TEXT, "Größe: 草 \x00", "a"])
def test_probabilities_are_those_of_the_formula(order: int, text: str) -> None:
    model = ngram_model.train(REFERENCE, order=order)
    expected = brute_force("".join(f"{line}\n" for line in REFERENCE).encode(), order)
    data = text.encode()
    found = np.exp(model.log_probabilities(data))
    wanted = [expected(data[max(0, at - order + 1) : at], data[at]) for at in range(len(data))]
    assert found == pytest.approx(wanted, rel=2e-3)  # a table's steps are 1/2047 nat, and up to `order` of them add up
    assert model.perplexity(text) == pytest.approx(math.exp(-np.mean(np.log(wanted))), rel=1e-3)


def test_probabilities_add_up_to_one() -> None:
    model = ngram_model.train(REFERENCE)
    sums = []
    for context in ("The f", "wate", "in the s", "zz", "", "草"):
        last = [model.log_probabilities((context + chr(code)).encode())[-1] for code in range(128)]
        # Bytes beyond ASCII never follow here, so each has what is left for unseen ones.
        rest = 128 * float(np.exp(model.log_probabilities((context + "\x00").encode())[-1]))
        sums.append(float(np.exp(last).sum()) + rest)
    assert sums == pytest.approx([1.0] * len(sums), rel=2e-3)


def test_a_text_like_the_reference_is_less_surprising() -> None:
    model = ngram_model.train(REFERENCE)
    letters = list(TEXT)
    random.Random(0).shuffle(letters)
    german = "Der Silberfarn wächst am besten im Schatten hoher Bäume, wo die Erde feucht und kühl bleibt."
    values = [model.perplexity(text) for text in (REFERENCE[0], TEXT, "".join(letters), german, "草地上玩耍")]
    assert values == sorted(values)
    assert values[1] < 8 < 20 < values[2]
    assert ngram_model.train(REFERENCE[:4]).perplexity(TEXT) == model.perplexity(TEXT)  # repeating teaches nothing
    assert model.perplexity("") == math.inf


def test_a_long_text_is_scored_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ngram_model.train(REFERENCE)
    whole = model.perplexity(TEXT)
    for size in (1, 7, 40):
        monkeypatch.setattr(ngram_model, "CHUNK", size)
        assert model.perplexity(TEXT) == pytest.approx(whole, rel=1e-6)


def test_a_model_is_saved_and_read(tmp_path: Path) -> None:
    model = ngram_model.train(REFERENCE)
    model.save(tmp_path / "model.npz")
    assert ngram_model.score(TEXT, str(tmp_path / "model.npz")) == model.perplexity(TEXT)
    (tmp_path / "bad.npz").write_bytes(b"PK no model")
    with pytest.raises(UserError, match=r"bad\.npz: no n-gram model"):
        ngram_model.score(TEXT, str(tmp_path / "bad.npz"))


def test_references_may_be_text_or_rows(tmp_path: Path) -> None:
    expected = ngram_model.train(REFERENCE).perplexity(TEXT)
    lines = "".join(f"{line}\n" for line in REFERENCE)
    rows = "".join(json.dumps({"text": line, "id": "x"}) + "\n" for line in REFERENCE)
    (tmp_path / "a.txt").write_text(lines)
    (tmp_path / "b.jsonl").write_text(rows)
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    for name in ("a.txt", "b.jsonl", "c.jsonl.gz"):
        assert ngram_model.score(TEXT, str(tmp_path / name)) == expected
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(UserError, match="there is no text to learn from; a text file, or JSON lines with `text`"):
        ngram_model.score(TEXT, str(tmp_path / "empty.txt"))


def test_training_from_the_command_line_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "reference.txt").write_text("\n".join(REFERENCE))
    for name, seed in (("a.npz", "1"), ("b.npz", "2")):
        command = [sys.executable, "-m", "data_prep.ngram_model", str(tmp_path / "reference.txt"), str(tmp_path / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed})
        assert "n-grams" in done.stdout
    first, second = (np.load(tmp_path / name) for name in ("a.npz", "b.npz"))
    assert first.files == second.files
    assert all((first[name] == second[name]).all() for name in first.files)


# --- the filter


def check(text: str, **settings: Any) -> tuple[Drop | None, Document]:
    module, document = filters.modules()["perplexity"], Document("id", text, "source")
    return module.build(module.Settings(**settings))(document), document


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("reference") / "good.txt"
    path.write_text("\n".join(REFERENCE))
    return str(path)


def test_documents_beyond_the_bounds_go(reference: str) -> None:
    garbage = "xq zzkv 993 $$ qqpl jjwz " * 6
    drop, document = check(garbage, model=reference, max_perplexity=50)
    assert drop == Drop("high_perplexity", f"{document.meta['perplexity']:g}, at most 50")
    drop, _ = check(f"{REFERENCE[0]} {REFERENCE[1]}", model=reference, min_perplexity=3)
    assert drop is not None
    assert drop.reason == "low_perplexity"
    drop, document = check(f"{TEXT} {TEXT}", model=reference, min_perplexity=2, max_perplexity=50)
    assert drop is None
    assert document.meta["perplexity"] == pytest.approx(ngram_model.score(f"{TEXT} {TEXT}", reference), rel=1e-3)


def test_short_documents_and_no_bounds_drop_nothing(reference: str) -> None:
    assert check("xq zzkv 993", model=reference, max_perplexity=5)[0] is None
    drop, document = check("xq zzkv 993 " * 20, model=reference)
    assert drop is None
    assert document.meta["perplexity"] > 50
    assert check("", model=reference, max_perplexity=5)[1].meta == {}
