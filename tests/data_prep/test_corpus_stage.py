"""The corpus stage: one document through every step, planted defects found, good text kept, always the same bytes."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prep import dedup
from data_prep.records import Document, read, read_rows, write_rows
from data_prep.stages import corpus, garden
from recipes.errors import UserError
from recipes.load import load

REPOSITORY = Path(__file__).parents[2]
SIDES = ("train", "validation", "test")
SENTENCES = [
    "The silver fern grows in the shade of the old {} and wants to be watered in the morning.",
    "Its leaves turn bright in the autumn, and visitors have often asked why the {} is so near.",
    "In the winter its roots are covered with straw, as the cold of the {} would be too much.",
]


def _text(word: str) -> str:
    return " ".join(sentence.format(word) for sentence in SENTENCES)


def _recipe(folder: Path, **keys: Any) -> corpus.Recipe:
    return corpus.Recipe(**{"inputs": [{"path": str(folder / "raw")}], "output_dir": str(folder / "out"), **keys})


def _raw(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "raw" / name).write_text(text, encoding="utf-8")


def _rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return list(read_rows(folder / "out" / f"{name}.jsonl"))


# --- one small document through every step


def test_one_document_through_every_step(tmp_path: Path) -> None:
    footer = "<p>Subscribe to our letter about the garden.</p>"
    page = "<!DOCTYPE html><html><body><nav>Home</nav><main><h1>Fern</h1><p>{}</p>{}</main></body></html>"
    dirty = f"{_text('castle')}  Ren\u00c3\u00a9e\u2060 loved\u00a0it. Write to a@example.org."
    others = {f"web/{index}.html": page.format(_text(word), footer) for index, word in enumerate(["a", "b", "c", "d"])}
    _raw(tmp_path, {"web/x.html": page.format(dirty, footer), **others})
    every: dict[str, Any] = {name: {} for name in ("encoding", "unicode", "whitespace", "boilerplate", "language")}
    every |= {
        "gopher_quality": {},
        "gopher_repetition": {},
        "personal_data": {},
        "length": {"min_words": 20},
        "off_topic": {"max_rarity": 9},
    }
    corpus.run(_recipe(tmp_path, filters=every, split={"validation": 0, "test": 0}, deduplicate=None))
    row = next(row for row in _rows(tmp_path, "train") if row["meta"]["path"] == "web/x.html")
    assert row["text"] == f"Fern\n\n{_text('castle')} Ren\u00e9e loved it. Write to <EMAIL>."
    assert row["meta"] == {
        "path": "web/x.html", "language": "en", "boilerplate_lines": 1, "encoding_repaired": True,
        "redacted": {"EMAIL": 1},
    }  # fmt: skip
    assert (row["id"], row["source"]) == ("raw/web/x.html", "raw/web")


@pytest.mark.parametrize(
    ("text", "filters", "reason"),
    [
        ("Too short.", {"length": {}}, "too_short"),
        ("Der Garten ist im Sommer schön, und die Kinder spielen auf der Wiese.", {"language": {}}, "language"),
        ("12 34 56 78 the 90 11 to 22", {"gopher_quality": {}}, "mean_word_length"),
        ("same line\n" * 9, {"gopher_repetition": {}}, "duplicate_line_fraction"),
        ("Nothing about plants.", {"off_topic": {"domain_terms": ["fern"]}}, "off_topic"),
        ("Mail a@example.org now.", {"personal_data": {"action": "drop"}}, "personal_data"),
        (_text("castle"), {}, "exact_duplicate"),
        (_text("castle") + " Twice.", {}, "near_duplicate"),
        ("Somebody asked: WHICH fern, then, grows in the rock house? Nobody knew.", {}, "contaminated"),
    ],
)
def test_each_step_writes_its_reason(tmp_path: Path, text: str, filters: dict[str, Any], reason: str) -> None:
    _raw(tmp_path, {"0.txt": _text("castle") + " It is long enough to be the best copy.", "1.txt": text})
    if reason == "exact_duplicate":
        _raw(tmp_path, {"0.txt": text})
    write_rows(tmp_path / "eval.jsonl", [{"question": "Which fern, then, grows in the rock house?"}])
    recipe = _recipe(
        tmp_path, filters=filters, decontaminate=[str(tmp_path / "eval.jsonl")], split={"validation": 0, "test": 0}
    )
    corpus.run(recipe)
    (dropped,) = _rows(tmp_path, "dropped")
    assert (dropped["reason"], dropped["meta"]["path"]) == (reason, "1.txt")
    assert len(_rows(tmp_path, "train")) == 1
    assert json.loads((tmp_path / "out" / "funnel.json").read_text())["reasons"] == {reason: 1}


def test_a_document_dropped_early_does_not_carry_personal_data_out(tmp_path: Path) -> None:
    _raw(tmp_path, {"0.txt": _text("castle"), "1.txt": "Mail a@example.org."})
    corpus.run(_recipe(tmp_path, filters={"length": {"min_words": 5}}, split={"validation": 0, "test": 0}))
    published = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"a@example.org" not in published


def test_a_hit_is_listed_with_both_texts(tmp_path: Path) -> None:
    _raw(tmp_path, {"0.txt": _text("castle"), "1.txt": "Quiz: which fern grows near the OLD castle? Me!"})
    write_rows(tmp_path / "eval.jsonl", [{"question": "Which fern grows near the old castle?"}])
    corpus.run(_recipe(tmp_path, decontaminate=[str(tmp_path / "eval.jsonl")], split={"validation": 0, "test": 0}))
    (hit,) = _rows(tmp_path, "contamination")
    assert hit == {
        "document": "raw/1.txt",
        "evaluation": f"{tmp_path}/eval.jsonl:1",
        "question": "Which fern grows near the old castle?",
        "shared": "which fern grows near the OLD castle",
        "excerpt": "Quiz: which fern grows near the OLD castle? Me!",
        "likeness": 1.0,
    }
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Which fern grows near the old castle?" in report
    assert "which fern grows near the OLD castle" in report


def test_no_two_texts_that_are_alike_stand_on_two_sides(tmp_path: Path) -> None:
    generator = random.Random(5)
    files = {}
    for chain in range(40):  # four windows over one text: neighbours are alike, the ends are not
        words = ["".join(generator.choices("abcdefghijklmnop", k=5)) for _ in range(156)]
        files |= {f"{chain}-{start}.txt": " ".join(words[start : start + 120]) for start in (0, 12, 24, 36)}
    _raw(tmp_path, files)
    corpus.run(_recipe(tmp_path, split={"validation": 0.3, "test": 0.3}))
    sides: dict[str, set[str]] = {}
    left: Counter[str] = Counter()
    for side in SIDES:
        for row in _rows(tmp_path, side):
            chain_name = row["meta"]["path"].partition("-")[0]
            sides.setdefault(chain_name, set()).add(side)
            left[chain_name] += 1
    assert set(left.values()) == {2}  # of each chain, two texts that are not alike are left ...
    assert {len(stood) for stood in sides.values()} == {1}  # ... and stand together
    assert set().union(*sides.values()) == set(SIDES)


def test_of_two_copies_the_one_without_a_question_is_left(tmp_path: Path) -> None:
    question = "Which fern grows near the old castle?"
    _raw(tmp_path, {"clean.txt": _text("castle"), "longer.txt": f"{_text('castle')} {question}"})
    write_rows(tmp_path / "eval.jsonl", [{"question": question}])
    recipe = _recipe(
        tmp_path,
        decontaminate=[str(tmp_path / "eval.jsonl")],
        deduplicate={"threshold": 0.6},
        split={"validation": 0, "test": 0},
    )
    corpus.run(recipe)
    assert [row["meta"]["path"] for row in _rows(tmp_path, "train")] == ["clean.txt"]


# --- the embedded domain, against its truth table


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, float]]:
    """The quickstart's garden and corpus in a folder of their own, and how long the corpus took."""
    folder = tmp_path_factory.mktemp("quickstart")
    before = Path.cwd()
    os.chdir(folder)
    try:
        garden.run(load("recipes/quickstart/garden.yaml"))  # type: ignore[arg-type]
        start = time.process_time()
        corpus.run(load("recipes/quickstart/corpus.yaml"))  # type: ignore[arg-type]
        yield folder / "runs" / "quickstart", time.process_time() - start
    finally:
        os.chdir(before)


class Outcome:
    """What became of each raw document."""

    def __init__(self, folder: Path) -> None:
        out = folder / "corpus"
        self.truth = json.loads((folder / "garden" / "truth.json").read_text())
        self.kept = {self.place(row): row["text"] for side in SIDES for row in read_rows(out / f"{side}.jsonl")}
        self.dropped = {self.place(row): row["reason"] for row in read_rows(out / "dropped.jsonl")}
        self.unreadable = {(row["path"], row["row"] or None) for row in read_rows(out / "unreadable.jsonl")}
        self.text = "\n".join(self.kept.values())

    @staticmethod
    def place(row: dict[str, Any]) -> tuple[str, int | None]:
        where = row.get("meta", row)
        return where["path"], where.get("row")

    def found(self, planted: dict[str, Any]) -> bool:
        """Tell whether a planted defect was dealt with."""
        place, kind, detail = self.place(planted), planted["defect"], planted["detail"]
        if kind.endswith("duplicate"):
            return place not in self.kept or self.place(detail["of"]) not in self.kept
        if kind in ("corrupt_line", "empty_file"):
            return place in self.unreadable
        text = self.kept.get(place)
        if kind == "boilerplate":
            return text is None or not any(line in text for line in detail["lines"])
        if kind == "encoding":
            return text is not None and detail["repaired"] in text
        if kind == "personal_data":
            return detail["text"] not in self.text
        return text is None


@pytest.fixture(scope="module")
def outcome(prepared: tuple[Path, float]) -> Outcome:
    return Outcome(prepared[0])


def test_planted_defects_are_found(outcome: Outcome) -> None:
    planted = Counter(defect["defect"] for defect in outcome.truth["planted"])
    found = Counter(defect["defect"] for defect in outcome.truth["planted"] if outcome.found(defect))
    assert set(planted) == {
        "boilerplate", "corrupt_line", "empty_file", "encoding", "exact_duplicate", "foreign_language", "garbage",
        "leaked_question", "near_duplicate", "off_topic", "personal_data", "too_short",
    }  # fmt: skip
    assert {kind: found[kind] / number for kind, number in planted.items() if found[kind] < 0.98 * number} == {}


def test_good_text_is_kept(outcome: Outcome) -> None:
    def sentences(text: str) -> list[str]:
        return re.split(r"(?<=[.!?]) ", " ".join(text.split()))

    left = " ".join(re.sub(r"<(EMAIL|PHONE|IBAN|IP|CREDIT_CARD)>", "", outcome.text).split())
    total = lost = 0
    for good in outcome.truth["good"]:
        for sentence in sentences(good["text"]):
            total += len(sentence)
            lost += 0 if sentence in left else len(sentence)
    assert total > 100_000
    assert lost <= 0.01 * total


def test_the_reasons_are_the_right_ones(outcome: Outcome) -> None:
    expected = {
        "off_topic": {"off_topic"}, "foreign_language": {"language"}, "too_short": {"too_short"},
        # A quiz sheet whose frame repeats on every sheet is boilerplate around two questions.
        "leaked_question": {"contaminated", "too_short"},
    }  # fmt: skip
    for defect in outcome.truth["planted"]:
        if defect["defect"] in expected:
            assert outcome.dropped[outcome.place(defect)] in expected[defect["defect"]]


def test_evaluation_questions_are_gone_and_sides_share_no_near_duplicate(prepared: tuple[Path, float]) -> None:
    folder, _ = prepared
    rows = [(side, row.text) for side in SIDES for row in read(folder / "corpus" / f"{side}.jsonl", Document)]
    assert all(any(side == name for side, _ in rows) for name in SIDES)
    found = dedup.find([text for _, text in rows], 0.6)
    assert all(rows[index][0] == rows[root][0] for index, root in enumerate(found.cluster))


def test_it_is_fast_enough_for_the_quickstart(prepared: tuple[Path, float]) -> None:
    assert prepared[1] < 8


def test_the_report_needs_nothing_from_elsewhere(prepared: tuple[Path, float]) -> None:
    page = (prepared[0] / "corpus" / "report.html").read_text()
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    for word in ("Step by step", "off_topic", "near_duplicate", "contaminated", "empty file"):
        assert word in page


def test_equal_input_gives_equal_bytes_whatever_the_hash_seed(prepared: tuple[Path, float], tmp_path: Path) -> None:
    first = prepared[0] / "corpus"
    code = (
        "import sys; from recipes.load import load; from data_prep.stages import corpus; "
        "corpus.run(load(sys.argv[1], sys.argv[2:]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, "recipes/quickstart/corpus.yaml", f"output_dir={tmp_path / 'again'}"],
        cwd=prepared[0].parents[1],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
    )
    names = sorted(path.name for path in first.iterdir() if path.is_file() and path.name != "manifest.json")
    assert names == [
        "README.md", "contamination.jsonl", "dropped.jsonl", "funnel.json", "report.html", "test.jsonl", "train.jsonl",
        "unreadable.jsonl", "validation.jsonl",
    ]  # fmt: skip
    for name in set(names) - {"report.html"}:  # which says how long it took
        assert (first / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


# --- mistakes


def test_strict_stops_at_the_first_unreadable_row(tmp_path: Path) -> None:
    _raw(tmp_path, {"a.txt": _text("castle"), "b/c.jsonl": '{"text": "Good."}\n{"text": \n'})
    with pytest.raises(UserError) as caught:
        corpus.run(_recipe(tmp_path, strict=True))
    assert str(caught.value) == f"{tmp_path}/raw/b/c.jsonl:2: not JSON; repair or remove it, or write strict: false"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", ["before", "behind"])
def test_the_flag_strict_is_the_key_strict(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    from recipes import run

    _raw(tmp_path, {"a.txt": _text("castle"), "b.jsonl": '{"text": "Good."}\n{"text": \n'})
    (tmp_path / "corpus.yaml").write_text(
        f"stage: corpus\noutput_dir: {tmp_path}/out\ninputs: [{{path: {tmp_path}/raw}}]\nengine: {{workers: 1}}\n"
    )
    recipe = str(tmp_path / "corpus.yaml")
    flags = ["--strict", recipe, "seed=1"] if where == "before" else [recipe, "seed=1", "--strict"]
    assert run.main(["run", *flags]) == 1
    assert f"{tmp_path}/raw/b.jsonl:2: not JSON" in capsys.readouterr().err
    assert run.main(["run", recipe, "split.test=0", "split.validation=0"]) == 0


def test_a_folder_without_a_readable_file(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    where = f"{tmp_path}/raw"
    write = "a path with files of a known format (docs/corpus.md)"
    with pytest.raises(UserError) as caught:
        corpus.run(_recipe(tmp_path))
    assert str(caught.value) == f"{where}: not one document could be read (no file in it); {write}"
    _raw(tmp_path, {"a.png": "x", "b.txt": ""})
    with pytest.raises(UserError) as caught:
        corpus.run(_recipe(tmp_path))
    assert (
        str(caught.value)
        == f"{where}: not one document could be read (1 x empty file; 1 x no reader for .png); {write}"
    )


def test_filters_that_leave_nothing(tmp_path: Path) -> None:
    _raw(tmp_path, {"a.txt": "Short.", "b.txt": "Text of two lines."})
    with pytest.raises(UserError) as caught:
        corpus.run(_recipe(tmp_path, filters={"length": {}}))
    assert (
        str(caught.value) == "filters: no document is left to train on (too_short 2); weaker filters or a smaller split"
    )


def test_a_corrupt_evaluation_file_is_named(tmp_path: Path) -> None:
    _raw(tmp_path, {"a.txt": _text("castle")})
    (tmp_path / "eval.jsonl").write_text('{"question": "x"}\n{"question"')
    with pytest.raises(UserError, match=r"eval\.jsonl:2: not JSON \(Expecting ':' delimiter at column 12\)"):
        corpus.run(_recipe(tmp_path, decontaminate=[str(tmp_path / "eval.jsonl")]))


def test_faults_of_the_recipe(tmp_path: Path) -> None:
    recipe = _recipe(
        tmp_path, inputs=[{"path": "a/raw"}, {"path": "b/raw"}, {"path": "c"}], split={"validation": 0.5, "test": 0.5}
    )
    said = [(fault.key, fault.what, fault.write) for fault in recipe.faults()]
    assert said == [
        (("split",), "validation 0.5 and test 0.5 leave nothing to train on", "shares that add up to less than 1"),
        (("inputs", 0), "2 inputs are called raw", "a `name` of its own for each"),
        (("inputs", 1), "2 inputs are called raw", "a `name` of its own for each"),
    ]


def test_mistakes_in_the_recipe_file_are_found_with_a_suggestion(
    prepared: tuple[Path, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared[0].parents[1])
    wrong = ["filters.langauge.keep=[en]", "filters.length.min_words=-1", "deduplicate.threshold=2"]
    with pytest.raises(UserError) as caught:
        load("recipes/quickstart/corpus.yaml", wrong)
    said = str(caught.value)
    assert "did you mean `language`?" in said
    assert "-1 is not at least 0" in said
    assert "2 is not at most 1" in said


def test_characters_that_utf_8_cannot_hold_do_not_stop_the_stage(tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"{_text(word)} \ud83d", "title": "\ud83d"}) for word in ("castle", "river")]
    _raw(tmp_path, {"a.jsonl": "\n".join(rows), "b.txt": "Mail \u0661 a@example.org"})
    corpus.run(_recipe(tmp_path, filters={"length": {}}, split={"validation": 0, "test": 0}))
    assert sum(row["text"].endswith(" ?") for row in _rows(tmp_path, "train")) == 2
