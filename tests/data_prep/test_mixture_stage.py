"""Mixtures: shares as asked for, counted by hand; which documents, how often, in which order; what is refused."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from data_prep.records import read_rows, write_rows
from data_prep.stages import mixture
from data_prep.tokens import mixing, mixture_passes
from recipes.errors import RecipeError, UserError

BASE = "recipes/base/tuneloop-base-4m"


def _write(path: Path, count: int, words: int = 10, **columns: Any) -> None:
    """Write documents of 1 to `words` words."""
    chooser = random.Random(path.name)
    rows = [
        {"id": f"{path.stem}/{n}", "text": " ".join(["fern"] * chooser.randint(1, words)), "source": f"{path.stem}/raw",
         **{name: values[n % len(values)] for name, values in columns.items()}}
        for n in range(count)
    ]  # fmt: skip
    write_rows(path, rows)


def _words(path: Path) -> int:
    return sum(len(row["text"].split()) for row in read_rows(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _write(tmp_path / "domain.jsonl", 1000)
    _write(tmp_path / "general.jsonl", 3000)
    return tmp_path


def _recipe(folder: Path, *inputs: dict[str, Any], **keys: Any) -> mixture.Recipe:
    named = [{**one, "path": str(folder / one["path"])} for one in inputs]
    return mixture.Recipe(
        **{"inputs": named, "output_dir": str(folder / "out"), "engine": {"workers": 1, "shard_bytes": 2**16}, **keys}
    )


def _run(recipe: mixture.Recipe) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    mixture.run(recipe)
    out = Path(recipe.output_dir)
    said = json.loads((out / "mixture.json").read_text())
    return list(read_rows(out / "train.jsonl")), {row["name"]: row for row in said["sources"]} | {"said": said}


# --- shares and budgets, by hand


def _source(name: str, size: int, **keys: Any) -> mixing.Source:
    return mixing.Source(name, size, **keys)


def test_shares_by_weight_by_size_and_by_temperature() -> None:
    by_weight = [_source("a", 1, weight=3.0), _source("b", 1, weight=1.0), _source("c", 1, weight=0.0)]
    assert mixing.shares(by_weight, 1.0) == [0.75, 0.25, 0.0]
    by_size = [_source("a", 900), _source("b", 100)]
    assert mixing.shares(by_size, 1.0) == [0.9, 0.1]
    # T = 2 is the square root: 30 to 10.
    assert mixing.shares(by_size, 2.0) == pytest.approx([0.75, 0.25])
    # XLM-R's alpha = 0.3 is T = 1 / 0.3.
    expected = 900**0.3 / (900**0.3 + 100**0.3)
    assert mixing.shares(by_size, 1 / 0.3)[0] == pytest.approx(expected)
    assert mixing.shares(by_size, 1e9) == pytest.approx([0.5, 0.5])


def test_a_share_of_its_own_leaves_the_rest_to_the_others() -> None:
    sources = [_source("a", 10, weight=2.0), _source("replay", 10, share=0.1), _source("b", 10, weight=1.0)]
    assert mixing.shares(sources, 1.0) == pytest.approx([0.6, 0.1, 0.3])


def test_without_a_total_nothing_is_repeated() -> None:
    sources = [_source("a", 300, weight=1.0), _source("b", 1000, weight=1.0)]
    assert mixing.budgets(sources, [0.5, 0.5], None) == [300, 300]


def test_a_source_that_is_too_small_is_told_with_what_to_write() -> None:
    sources = [_source("a", 100, max_epochs=4.0), _source("b", 9000)]
    assert mixing.budgets(sources, [0.4, 0.6], 1000) == [400, 600]
    with pytest.raises(RecipeError) as caught:
        mixing.budgets(sources, [0.5, 0.5], 1000)
    assert str(caught.value) == (
        "input a: 500 asked for (0.5 of 1,000), but it has 100, and max_epochs 4 allows 400; "
        "write max_epochs: 5, a smaller weight, or a total of at most 800"
    )


# --- which documents


@pytest.mark.parametrize("seed", range(10))
def test_the_limit_is_the_prefix_by_hash_that_comes_nearest(seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    records = np.zeros(500, dtype=mixing.MEASURED)
    records["key"] = generator.integers(0, 2**64, size=500, dtype=np.uint64)
    records["units"] = generator.integers(1, 50, size=500)
    records["stratum"] = generator.integers(0, 2, size=500)
    for number, half in enumerate(np.split(records, 2)):
        np.save(tmp_path / f"{number}.npy", half)
    wanted = [float(generator.integers(0, 6000)), 0.0]
    # The second file has its strata the other way round.
    runs = [mixing.Run(tmp_path / "0.npy", [0, 1]), mixing.Run(tmp_path / "1.npy", [1, 0])]
    first = np.concatenate((records["stratum"][:250] == 0, records["stratum"][250:] == 1))
    mine = np.sort(records[first], order="key")
    limit, none = mixing.limits(runs, wanted)
    chosen = int(mine["units"][mine["key"].astype(object) <= limit].sum())
    sums = np.concatenate(([0], mine["units"].astype(int).cumsum()))
    assert abs(chosen - wanted[0]) == np.abs(sums - wanted[0]).min()
    assert none == -1


def test_exact_counts_of_each_source(folder: Path) -> None:
    rows, told = _run(_recipe(folder, {"path": "domain.jsonl", "weight": 1}, {"path": "general.jsonl", "share": 0.2},
                              total_words=4000))  # fmt: skip
    for name, share in (("domain", 0.8), ("general", 0.2)):
        own = [row for row in rows if row["input"] == name]
        assert told[name]["written"]["documents"] == len(own) == len({row["id"] for row in own})
        assert told[name]["written"]["units"] == sum(len(row["text"].split()) for row in own)
        assert told[name]["written"]["share"] == pytest.approx(share, abs=0.002)
        assert told[name]["asked"] == {"share": share, "units": round(4000 * share)}
        assert told[name]["available"] == {
            "documents": told[name]["left_out"] + len(own), "units": _words(folder / f"{name}.jsonl"),
        }  # fmt: skip
        assert {row["source"] for row in own} == {f"{name}/raw"} and {row["repetition"] for row in own} == {0}


def test_repetition_is_whole_epochs_and_a_part(folder: Path) -> None:
    size = _words(folder / "domain.jsonl")
    rows, told = _run(_recipe(folder, {"path": "domain.jsonl", "max_epochs": 6}, total_words=round(4.5 * size)))
    times = Counter(row["id"] for row in rows)
    assert set(times.values()) == {4, 5} and len(times) == 1000
    assert told["domain"]["epochs"] == pytest.approx(4.5, abs=0.002)
    assert told["domain"]["repeated"] == len(rows) - 1000
    assert {(row["id"], row["repetition"]) for row in rows} == {(one, r) for one, n in times.items() for r in range(n)}
    assert told["said"]["warnings"] == ["domain is read 4.5 times; above 4, that gains little"]


def test_a_larger_budget_holds_a_smaller_one(folder: Path) -> None:
    small, _ = _run(_recipe(folder, {"path": "domain.jsonl"}, total_words=1000))
    large, _ = _run(_recipe(folder, {"path": "domain.jsonl"}, total_words=3000, output_dir=str(folder / "large")))
    assert {row["id"] for row in small} < {row["id"] for row in large}


def test_strata_keep_their_parts(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", 2000, language=["en", "en", "en", "de"])
    rows, _ = _run(_recipe(tmp_path, {"path": "a.jsonl"}, total_words=3000, stratify_by="language"))
    whole: Counter[str] = Counter()
    for row in read_rows(tmp_path / "a.jsonl"):
        whole[row["language"]] += len(row["text"].split())
    got: Counter[str] = Counter()
    for row in rows:
        got[row["language"]] += len(row["text"].split())
    part = 3000 / whole.total()
    for language in ("en", "de"):
        assert abs(got[language] - part * whole[language]) <= 10  # a document's length


def test_too_many_strata_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="column 'id' has 3,000 values in general; a column with at most 1,000"):
        _run(_recipe(folder, {"path": "general.jsonl"}, stratify_by="id"))


def test_rows_are_shuffled_and_the_seed_decides(folder: Path) -> None:
    inputs = ({"path": "domain.jsonl"}, {"path": "general.jsonl"})
    rows, _ = _run(_recipe(folder, *inputs))
    again, _ = _run(_recipe(folder, *inputs, seed=7, output_dir=str(folder / "seed")))
    assert [row["id"] for row in rows] != [row["id"] for row in again]
    # A run of one source as long as 40 would happen in one shuffle of a hundred thousand.
    runs = "".join(row["input"][0] for row in rows).split("d")
    assert max(map(len, runs)) < 60
    places = [place for place, row in enumerate(rows) if row["input"] == "domain"]
    assert abs(np.mean(places) / len(rows) - 0.5) < 0.03


def test_same_bytes_from_any_pieces_and_workers(folder: Path, monkeypatch: Any) -> None:
    def made(name: str, **engine: int) -> bytes:
        recipe = _recipe(folder, {"path": "domain.jsonl", "weight": 2}, {"path": "general.jsonl", "weight": 1},
                         total_words=9000, output_dir=str(folder / name), engine=engine)  # fmt: skip
        mixture.run(recipe)
        return (folder / name / "train.jsonl").read_bytes()

    one = made("one", workers=1)
    assert one == made("two", workers=2, shard_bytes=2**16)
    monkeypatch.setattr(mixture_passes, "RUN_BYTES", 5000)
    monkeypatch.setattr(mixture_passes, "SLICE_BYTES", 20_000)
    assert one == made("runs", workers=1, shard_bytes=2**17)


def test_tokens_are_the_tokenizers(folder: Path) -> None:
    rows, told = _run(_recipe(folder, {"path": "domain.jsonl"}, tokenizer=BASE, total_tokens=2000))
    tokenizer = Tokenizer.from_file(f"{BASE}/tokenizer.json")
    counted = sum(len(tokenizer.encode(row["text"], add_special_tokens=False).ids) for row in rows)
    assert told["domain"]["written"]["units"] == counted == pytest.approx(2000, abs=20)
    assert told["said"]["unit"] == "tokens"


def test_conversations_are_mixed_by_what_is_said(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Well, thank you."}]
    write_rows(tmp_path / "a.jsonl", [{"messages": talk}, {"prompt": "one two", "completion": "three"}, {"odd": 1}])
    rows, told = _run(_recipe(tmp_path, {"path": "a.jsonl"}))
    assert told["a"]["written"] == {"documents": 2, "units": 9, "share": 1.0}
    assert told["a"]["unusable"] == {"no text in column text, and no conversation": 1}
    assert sorted("messages" in row for row in rows) == [False, True]


def test_texts_too_long_for_the_library_are_counted(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mixture_passes.row_ranges, "LONGEST_TEXT", 20)
    write_rows(tmp_path / "a.jsonl", [{"text": "fern " * 5}, {"text": "fern"}, {"text": ""}])
    rows, told = _run(_recipe(tmp_path, {"path": "a.jsonl"}))
    assert [row["text"] for row in rows] == ["fern"]
    assert told["a"]["unusable"] == {"longer than 20 characters": 1, "empty text": 1}
    said = "look here: a has rows that cannot be used: 1 x empty text, 1 x longer than 20 characters\n"
    assert capsys.readouterr().out.endswith(said)


def test_a_source_with_weight_0_is_left_out_and_counted(folder: Path) -> None:
    rows, told = _run(_recipe(folder, {"path": "domain.jsonl", "weight": 1}, {"path": "general.jsonl", "weight": 0}))
    assert {row["input"] for row in rows} == {"domain"} and told["general"]["left_out"] == 3000


def test_a_source_without_text_is_an_error(folder: Path) -> None:
    write_rows(folder / "none.jsonl", [{"body": "a"}])
    with pytest.raises(UserError, match="no row with a text or a conversation"):
        _run(_recipe(folder, {"path": "domain.jsonl"}, {"path": "none.jsonl"}))


FAULTS: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([{"weight": 0}, {"weight": 0}], {}, "the weights add up to 0"),
    ([{"weight": 1}, {}], {}, "general has no weight, but others have one"),
    ([{"weight": 1, "share": 0.5}, {}], {}, "domain has both a weight (1) and a share (0.5)"),
    ([{"share": 0.5}, {"share": 0.4}], {}, "shares add up to 0.9"),
    ([{"share": 1.0}, {}], {}, "shares add up to 1 and leave nothing to the 1 other inputs"),
    (
        [{"weight": 1}, {"weight": 1}],
        {"temperature": 2.0},
        "temperature makes shares from sizes, and there are weights",
    ),
    ([{}, {}], {"total_tokens": 5}, "tokens can only be counted with a tokenizer"),
    ([{}, {}], {"total_words": 5, "tokenizer": BASE}, "with a tokenizer, sizes are tokens"),
    ([{"name": "x"}, {"name": "x"}], {}, "2 inputs are called x"),
]


@pytest.mark.parametrize(("each", "keys", "what"), FAULTS)
def test_mistakes_are_told_before_the_work(
    folder: Path, each: list[dict[str, Any]], keys: dict[str, Any], what: str
) -> None:
    inputs = [{"path": path, **one} for path, one in zip(("domain.jsonl", "general.jsonl"), each, strict=True)]
    assert what in [fault.what for fault in _recipe(folder, *inputs, **keys).faults()]


def test_a_negative_weight_is_no_weight(folder: Path) -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        _recipe(folder, {"path": "domain.jsonl", "weight": -1})


def test_started_again_it_goes_on_where_it_was(folder: Path, monkeypatch: Any) -> None:
    recipe = _recipe(folder, {"path": "domain.jsonl"}, {"path": "general.jsonl"}, total_words=9000)
    _run(recipe)
    whole = (folder / "out" / "train.jsonl").read_bytes()
    again = recipe.model_copy(update={"output_dir": str(folder / "again")})
    monkeypatch.setattr(mixture_passes, "assemble", lambda *_: (_ for _ in ()).throw(OSError("killed")))
    with pytest.raises(OSError, match="killed"):
        mixture.run(again)
    monkeypatch.undo()
    scratch = folder / "again.partial" / ".scratch" / "mixture"
    before = {file.name: file.stat().st_ino for file in scratch.iterdir() if file.is_file()}
    seen: dict[str, int] = {}
    assemble = mixture_passes.assemble

    def watched(runs: Any, output: Path) -> None:
        seen.update({file.name: file.stat().st_ino for file in scratch.iterdir() if file.is_file()})
        assemble(runs, output)

    monkeypatch.setattr(mixture_passes, "assemble", watched)
    mixture.run(again)
    assert seen == before and any(name.startswith("selected") for name in seen)
    assert (folder / "again" / "train.jsonl").read_bytes() == whole
