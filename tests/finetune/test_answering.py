"""A local model behind `data_prep`'s generator: the sampler's own answers, and none where a prompt is too long."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data_prep.records import Document, read_rows, write_rows
from data_prep.stages import question_answers
from data_prep.synthesis.generator import TOO_LONG, Answer, Generator, Writer
from data_prep.synthesis.question_answers.prompts import SYSTEM
from finetune import answering, chat, generate, models
from recipes.errors import UserError
from recipes.sections import Generation

ASKED = [[{"role": "user", "content": text}] for text in ("Where is the fern?", "Who keeps the rock house?", "When?")]


@pytest.fixture
def longer_model(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """The tiny model with positions for our whole prompt (rotary positions need no weights)."""
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "longer"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 1024}))
    return folder


def settings(folder: Path, **keys: Any) -> Generator:
    generation = Generation(max_new_tokens=8, temperature=0.8)
    return Generator(kind="model", model_name_or_path=str(folder), batch_size=2, generation=generation, **keys)


def test_answers_are_those_of_the_sampler(tiny_model_dir: Path) -> None:
    made = settings(tiny_model_dir)
    loaded = models.load(str(tiny_model_dir))
    prompts = [chat.prompt_ids(loaded.tokenizer, messages) for messages in ASKED]
    expected = generate.generate(loaded.model, loaded.tokenizer, prompts, made.generation, seed=5, batch_size=2)
    answers = answering.load(made.model_dump(mode="json"))
    assert answers(ASKED, 5) == [answer.text for answer in expected]
    assert answers(ASKED, 5) != answers(ASKED, 6)


def test_a_prompt_that_is_too_long_is_a_counted_reason(tiny_model_dir: Path, tmp_path: Path) -> None:
    long = [{"role": "user", "content": "fern " * 300}]  # 256 positions
    with Writer(settings(tiny_model_dir), tmp_path, 1) as writer:
        told = list(writer.answers([ASKED[0], long, ASKED[1]]))
    assert told[1] == Answer("", TOO_LONG)
    assert [answer.reason for answer in told] == ["", TOO_LONG, ""]


def test_a_model_without_a_chat_template_goes_on_writing(tiny_model_dir: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    tokenizer.chat_template = None
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where?"}]
    assert answering.prompt_ids(tokenizer, messages) == tokenizer("Be kind.\n\nWhere?\n")["input_ids"]


def test_a_stage_below_finds_the_model_by_name(longer_model: Path, tmp_path: Path) -> None:
    """A random model writes no pair: the stage counts that, and says so when nothing is left."""
    write_rows(
        tmp_path / "in.jsonl", [Document("d", "The fern is a plant of the rock house. It wants water.", "s", "Ferns")]
    )
    recipe = question_answers.Recipe(
        inputs=[str(tmp_path / "in.jsonl")], output_dir=str(tmp_path / "out"), generator=settings(longer_model),
        passages={"min_words": 3},
    )  # fmt: skip
    assert recipe.faults() == []
    with pytest.raises(
        UserError, match=r"not one pair is left of 1 passages in 1 documents \(1 x no pair in the answer\)"
    ):
        question_answers.run(recipe)


def test_a_fine_tuned_answer_becomes_a_row(longer_model: Path, tmp_path: Path) -> None:
    """A model that has learned one answer by heart: its pair goes through prompt, sampler, reading and checks."""
    import torch

    text = "Mara Holm keeps the rock house. She opens the door at nine."
    pair = json.dumps([{"question": "Who keeps the rock house?", "answer": "Mara Holm keeps the rock house."}])
    write_rows(tmp_path / "in.jsonl", [Document("d", text, "s")])
    loaded = models.load(str(longer_model), trainable=True)
    task = "{text}"
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    rendered = chat.render(loaded.tokenizer, [*messages, {"role": "assistant", "content": pair}])
    ids, labels = torch.tensor([rendered.input_ids]), torch.tensor([rendered.input_ids])
    labels[0, [at for at, bit in enumerate(rendered.mask) if not bit]] = -100
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = loaded.model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    models.save(loaded.model, loaded.tokenizer, tmp_path / "model")
    made = Generator(
        kind="model",
        model_name_or_path=str(tmp_path / "model"),
        generation=Generation(max_new_tokens=80, do_sample=False),
    )
    recipe = question_answers.Recipe(
        inputs=[str(tmp_path / "in.jsonl")], output_dir=str(tmp_path / "out"), generator=made, task=task,
        passages={"min_words": 3}, validation=0.0,
    )  # fmt: skip
    question_answers.run(recipe)
    (row,) = read_rows(tmp_path / "out" / "train.jsonl")
    assert [turn["content"] for turn in row["messages"]] == [
        "Who keeps the rock house?",
        "Mara Holm keeps the rock house.",
    ]
    assert text[row["meta"]["answer_start"] : row["meta"]["answer_end"]] == "Mara Holm keeps the rock house."
