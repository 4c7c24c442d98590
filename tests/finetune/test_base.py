"""The mix that a base is pretrained on: read by templates, and refused where it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from data_prep.records import write_rows
from finetune.stages import base
from recipes.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> str:
    write_rows(tmp_path / "rows.jsonl", [{"q": f"What is {n}?", "a": f"It is <<x>>{n}."} for n in range(4)])
    return str(tmp_path / "rows.jsonl")


def test_rows_become_documents_and_conversations(file: str) -> None:
    sources = [
        {"file": file, "text": "{q}", "held_out": 2},
        {"file": file, "user": "{q}", "assistant": "{a}", "repeat": 2},
    ]
    train, held_out = base.read_mix(base.Data(sources=sources))
    assert held_out == ["What is 0?", "What is 2?"]
    assert train[:2] == ["What is 1?", "What is 3?"]
    assert len(train) == 2 + 2 * 4
    (first, *_) = base.read_source(base.Source(file=file, user="{q}", assistant="{a}", remove="<<x>>"))
    assert first == [{"role": "user", "content": "What is 0?"}, {"role": "assistant", "content": "It is 0."}]


@pytest.mark.parametrize(
    "keys", [{}, {"user": "{q}"}, {"assistant": "{a}"}, {"text": "{q}", "user": "{q}", "assistant": "{a}"}]
)
def test_a_source_says_what_to_read(file: str, keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="does not say what to read: write text, or user and assistant"):
        base.Source(file=file, **keys)


def test_a_template_without_its_column_is_told_by_line(file: str) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl:1: no column for '\{body\}'; the columns are a, q"):
        list(base.read_source(base.Source(file=file, text="{body}")))
