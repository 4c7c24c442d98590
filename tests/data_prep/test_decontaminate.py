"""Evaluation questions are found however they are written, and only they."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep import decontaminate
from data_prep.decontaminate import Item, Questions, index, texts
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


def test_an_excerpt_of_folded_characters_is_still_an_excerpt() -> None:
    (hit,) = _questions(SHORT).hits("\ufb01 \u2460\u2461 " * 30 + SHORT)
    assert hit.excerpt
    assert len(hit.excerpt) < decontaminate.CONTEXT * 4
