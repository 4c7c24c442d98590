"""Evaluation questions are found however they are written, and only they."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from data_prep import decontaminate
from data_prep.decontaminate import Item, Questions, asked, index, texts
from data_prep.records import write_rows
from recipes.errors import UserError

SHORT = "Which fern grows in the rock house?"
LONG = "Tell me, please, in which of the many glass houses the tall silver fern has been growing since last year."


def _questions(*items: str, ngram: int = 13) -> Questions:
    questions = Questions(ngram)
    for number, text in enumerate(items, start=1):
        questions.add(Item("eval.jsonl", number, text))
    return questions


@pytest.mark.parametrize(
    "disguise",
    [str.upper, lambda text: text.replace(" ", "  \n"), lambda text: text.replace("?", " ??!"),
     lambda text: text.replace(" ", ", "), lambda text: f"(\u201c{text}\u201d)", lambda text: text.replace("?", "")],
)  # fmt: skip
@pytest.mark.parametrize("question", [SHORT, LONG])
def test_case_punctuation_and_white_space_hide_nothing(question: str, disguise: Any) -> None:
    document = f"We played a quiz. {disguise(question)} The answer came at once, and everybody laughed."
    (hit,) = _questions(SHORT, LONG).hits(document)
    assert hit.item.text == question
    assert " ".join(hit.shared.split()) in " ".join(document.split())
    assert "quiz" in hit.excerpt


def test_thirteen_words_of_a_long_question_are_enough_and_twelve_are_not() -> None:
    words = LONG.split()
    assert len(words) > 14
    questions = _questions(LONG)
    assert questions.hits(f"before {' '.join(words[2:15])} after")
    assert not questions.hits(f"before {' '.join(words[2:14])} after")
    assert _questions(LONG, ngram=8).hits(f"before {' '.join(words[2:10])} after")


def test_a_short_question_is_found_only_as_a_whole() -> None:
    assert not _questions(SHORT).hits("Which fern grows in the rock garden? In the rock house there is a fern.")


def test_a_very_short_question_is_not_searched_for_but_counted() -> None:
    questions = _questions("What is acne?", SHORT)
    assert not questions.hits("What is acne? Acne is a disease of the skin.")
    assert (questions.items, questions.too_short) == (1, 1)


def test_the_same_question_counts_once_and_hits_come_in_the_order_of_the_text() -> None:
    hits = _questions(SHORT, LONG).hits(f"{LONG} {SHORT} {LONG}")
    assert [hit.item.line for hit in hits] == [2, 1]
    assert not _questions(SHORT).hits("")


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        ({"id": "x", "question": "Q", "answer": "A", "choices": ["B"]}, ["Q"]),
        (
            {"prompt": [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}], "references": ["A"]},
            ["Q"],
        ),
        ({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}, ["Q"]),
        ({"instruction": "Q", "input": "I", "output": "A"}, ["Q", "I"]),
        ({"text": "T", "label": 3}, ["T"]),
        ({"frage": "Q", "n": {"inner": ["I", ""]}}, ["Q", "I"]),
    ],
)
def test_what_a_row_asks(row: dict[str, Any], asked: list[str]) -> None:
    assert texts(row) == asked


def test_files_and_folders_are_read_and_a_corrupt_line_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "tests" / "a.jsonl", [{"question": SHORT}])
    write_rows(tmp_path / "tests" / "b.jsonl.gz", [{"question": LONG}])
    (tmp_path / "tests" / "notes.txt").write_text("not read")
    questions = index([tmp_path / "tests"])
    assert questions.items == 2
    assert questions.hits(LONG)[0].item.file.endswith("b.jsonl.gz")
    (tmp_path / "tests" / "c.jsonl").write_text("{}\n{")
    with pytest.raises(UserError, match=r"c\.jsonl:2: not JSON"):
        index([tmp_path / "tests"])


def test_evaluation_sets_of_any_format_are_looked_for(tmp_path: Path) -> None:
    rows = [{"question": LONG}, {"question": SHORT}]
    folder = tmp_path / "tests"
    write_rows(folder / "a.jsonl", rows)
    (folder / "b.csv").write_text(f'question,answer\n"{LONG}",x\n"{SHORT}",y\n')
    (folder / "c.json").write_text(json.dumps(rows, indent=1))
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "d.parquet")
    for name, lines in (("a.jsonl", [1, 2]), ("b.csv", [2, 3]), ("c.json", [2, 5]), ("d.parquet", [1, 2])):
        assert list(asked([folder / name])) == [
            Item(str(folder / name), line, text) for line, text in zip(lines, (LONG, SHORT), strict=True)
        ]
    (folder / "e.csv").write_text("question\nWhat?,and more\n")
    with pytest.raises(UserError, match=r"e\.csv:2: more fields than columns \(2 for 1\); repair this row"):
        index([folder])


def test_of_a_result_the_rows_are_looked_for(tmp_path: Path) -> None:
    write_rows(tmp_path / "validation.jsonl", [{"question": LONG}])
    write_rows(tmp_path / "test.jsonl", [])
    for name in ("manifest.json", "statistics.json"):
        (tmp_path / name).write_text(json.dumps({"text": SHORT}))
    assert [item.text for item in asked([tmp_path])] == [LONG]
    with pytest.raises(UserError, match=r"test\.jsonl: an empty file; name a file with rows"):
        index([tmp_path / "test.jsonl"])


def test_a_data_set_of_several_splits_is_not_searched_in_the_one_for_training(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(UserError, match="a data set of splits train, test; name the folder of the one to look for"):
        index([tmp_path])


def test_an_excerpt_of_folded_characters_is_still_an_excerpt() -> None:
    (hit,) = _questions(SHORT).hits("\ufb01 \u2460\u2461 " * 30 + SHORT)
    assert hit.excerpt
    assert len(hit.excerpt) < decontaminate.CONTEXT * 4


# --- near-duplicates

PASSAGE = (
    "A train leaves the old station at nine in the morning and travels for three hours at eighty miles an hour before "
    "it stops for twenty minutes; how many miles has it gone when the clock on the tower strikes one in the afternoon?"
)


def _near(likeness: float = 0.7) -> Questions:
    questions = Questions(13, likeness)
    questions.add(Item("eval.jsonl", 1, PASSAGE))
    questions.add(Item("eval.jsonl", 2, LONG))
    return questions


def _every(words: list[str], step: int) -> str:
    return " ".join("changed" if at % step == step - 1 else word for at, word in enumerate(words))


def test_a_question_with_a_word_changed_in_every_twelve_is_found_by_its_pieces() -> None:
    words = PASSAGE.split()
    disguised = _every(words, 12)
    assert not _near(0).hits(disguised), "no run of thirteen words is left"
    (hit,) = _near(0.7).hits(f"Homework. {disguised} Good luck.")
    pieces = {tuple(words[at : at + 3]) for at in range(len(words) - 2)}
    left = {tuple(disguised.split()[at : at + 3]) for at in range(len(words) - 2)}
    assert hit.likeness == pytest.approx(len(pieces & left) / len(pieces))
    assert hit.likeness >= 0.7
    assert hit.item.line == 1
    assert not _near(0.9).hits(f"Homework. {disguised} Good luck.")


def test_pieces_strewn_over_a_long_text_are_no_near_duplicate() -> None:
    words = PASSAGE.split()
    strewn = " ".join(" ".join(words[at : at + 3]) + " filler" * 40 for at in range(len(words) - 2))
    assert not _near(0.5).hits(strewn)


def test_a_question_found_by_a_run_is_listed_once() -> None:
    (hit,) = _near().hits(PASSAGE)
    assert hit.likeness == 1.0


def test_answers_are_looked_for_only_when_their_column_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "eval.jsonl", [{"question": SHORT, "answer": PASSAGE}])
    document = f"It stands here: {PASSAGE}"
    assert not index([tmp_path / "eval.jsonl"]).hits(document)
    assert index([tmp_path / "eval.jsonl"], columns=["answer"]).hits(document)


def test_an_index_survives_the_way_to_another_process(tmp_path: Path) -> None:
    questions = _near()
    decontaminate.save(questions, tmp_path / "index")
    again = decontaminate.load(tmp_path / "index")
    text = f"{_every(PASSAGE.split(), 12)} {LONG}"
    assert [(hit.item.line, hit.likeness) for hit in again.hits(text)] == [
        (hit.item.line, hit.likeness) for hit in questions.hits(text)
    ]
    assert len(again.hits(text)) == 2


def test_the_template_of_a_set_of_questions_gives_none_of_them_away() -> None:
    questions = Questions(13, 0.5)
    template = "What research, if any, is now being done by the institute and by others for people who live with {}?"
    for number, name in enumerate(("gout", "mumps", "acne", "scurvy", "lupus")):
        questions.add(Item("eval.jsonl", number + 1, template.format(name)))
    questions.add(Item("eval.jsonl", 6, PASSAGE))
    text = "What research, if any, is being done now by the institute and by others for people who live with rabies?"
    assert not questions.hits(text)
    assert [hit.item.line for hit in questions.hits(_every(PASSAGE.split(), 12))] == [6]


def test_every_question_that_a_run_of_words_belongs_to_is_named() -> None:
    questions = _questions(LONG, f"{LONG} Or was it last week?", SHORT, SHORT)
    assert sorted(hit.item.line for hit in questions.hits(f"{LONG} {SHORT}")) == [1, 2, 3, 4]


@pytest.mark.parametrize("rows", ['{"id": 3}\n', "The question stands in a text file.\n", ""])
def test_a_set_without_a_question_does_not_count_as_kept_out(tmp_path: Path, rows: str) -> None:
    (tmp_path / "good.jsonl").write_text('{"question": "What is acne?"}\n')
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "test.jsonl").write_text(rows)
    write = "a table with a column question, prompt, instruction, query, text, messages, input"
    with pytest.raises(UserError) as caught:
        index([tmp_path / "good.jsonl", tmp_path / "sets"])
    if rows.startswith("The"):
        assert caught.value.where.startswith(f"{tmp_path / 'sets' / 'test.jsonl'}:1")
    else:
        assert str(caught.value) == f"{tmp_path / 'sets'}: there is no question in it; {write}"
