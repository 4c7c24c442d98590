"""The mix that a base is pretrained on: read by templates, refused where it cannot be read; a cut run goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cut_runs import cut_and_go_on
from pydantic import ValidationError

from data_prep.records import write_rows
from finetune.stages import base
from recipes import artifact
from recipes.errors import UserError
from tests.conftest import SENTENCES


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


def test_a_cut_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "texts.jsonl", [{"text": sentence} for sentence in SENTENCES * 3])

    source = {"file": str(tmp_path / "texts.jsonl"), "text": "{text}", "held_out": 9}

    def asked(name: str) -> base.Recipe:
        return base.Recipe(
            output_dir=str(tmp_path / name),
            data={"sources": [source], "max_length": 32},
            architecture={"vocab_size": 320, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1},
            training={"learning_rate": 1e-2, "max_steps": 5, "save_steps": 1, "eval_steps": 2,
                      "per_device_train_batch_size": 2, "lr_scheduler_type": "warmup_stable_decay"},
        )  # fmt: skip

    base.run(asked("whole"))
    cut = cut_and_go_on(base, asked("cut"), 3, monkeypatch)
    one, other = artifact.read(tmp_path / "whole"), artifact.read(cut)
    assert one is not None and other is not None and other.resumed
    assert one.content == other.content and one.metrics == other.metrics
