"""From a file of conversations to rows: equal to rendering one by one, nothing cut, everything counted, never stale."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.records import write_rows
from data_prep.stages import instructions
from finetune import chat, chat_templates, conversations, token_bytes
from finetune.conversations import Settings
from finetune.models import load_tokenizer
from finetune.row_cache import Rows
from recipes.errors import UserError
from tests.conftest import SENTENCES


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **keys}


def talks(count: int) -> list[list[dict[str, Any]]]:
    draw = random.Random(0)
    words = [*SENTENCES, "é🌱漢", " {{ x }} ", "<|end|>", ""]
    return [
        [
            (user, assistant)[place % 2](draw.choice(words) + draw.choice(words))
            for place in range(2 * draw.randint(1, 3))
        ]
        for _ in range(count)
    ]


@pytest.fixture
def tokenizer(tiny_model_dir: Path) -> Any:
    return load_tokenizer(str(tiny_model_dir))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "talks.jsonl"


def read(file: Path, tokenizer: Any, rows: list[Any], scratch: Path | None = None, **settings: Any) -> Rows:
    write_rows(file, [{"messages": row} if isinstance(row, list) else row for row in rows])
    return conversations.rows(str(file), tokenizer, Settings(**{"max_length": 256, **settings}), scratch)


def learned(tokenizer: Any, row: dict[str, Any]) -> str:
    return str(tokenizer.decode(row["input_ids"][row["mask"] == 1]))


def test_rows_are_those_of_rendering_one_by_one(tokenizer: Any, file: Path, tmp_path: Path) -> None:
    rows = talks(700)  # more than are tokenised at once
    for scratch in (None, tmp_path / "rows"):
        found = read(file, tokenizer, rows, scratch, max_length=4096)
        assert len(found) == 700
        for row, talk in zip(found, rows, strict=True):
            one = chat.render(tokenizer, talk)
            assert row["input_ids"].tolist() == one.input_ids and row["mask"].tolist() == one.mask
    assert found.told == {
        conversations.SPELLED: sum(any("<|end|>" in turn["content"] for turn in talk) for talk in rows)
    }
    assert found.ids.dtype == np.int32 and not found.ids.flags.writeable


@pytest.mark.parametrize("kind", ["nfc", "prefix space", "metaspace", "swallowing"])
def test_tokenizers_whose_bytes_do_not_add_up_are_asked_for_offsets(kind: str) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    level = pre_tokenizers.ByteLevel(add_prefix_space=kind == "prefix space")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Metaspace() if kind == "metaspace" else level
    backend.decoder = decoders.Metaspace() if kind == "metaspace" else decoders.ByteLevel()
    if kind == "nfc":
        backend.normalizer = normalizers.NFC()
    special = [AddedToken(token, rstrip=kind == "swallowing") for token in ("<|im_start|>", "<|im_end|>")]
    letters = [] if kind == "metaspace" else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator([*SENTENCES, "e\u0301 user\n assistant"] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    chat_templates.choose(tokenizer, "chatml")
    assert (token_bytes.lengths(tokenizer) is None) == (kind in ("prefix space", "metaspace"))
    rows = [[user("The pond e\u0301"), assistant("e\u0301  Mara e\u0301")], [user("fern"), assistant("  dog  ")]] * 20
    template = chat_templates.of(tokenizer)
    found = chat.encode(tokenizer, [template.answers(row) for row in rows])
    for (ids, mask), row in zip(found, rows, strict=True):
        theirs = tokenizer.apply_chat_template(row, return_dict=True, return_assistant_tokens_mask=True)
        assert (ids, list(mask)) == (theirs["input_ids"], theirs["assistant_masks"])


def test_which_turns_count(tokenizer: Any, file: Path) -> None:
    talk = [user("a"), assistant("In June."), user("b"), assistant("Sandy.")]
    unlearnt = [user("a"), assistant("In June.", weight=0), user("b"), assistant("Sandy.", train=True)]
    assert learned(tokenizer, read(file, tokenizer, [talk])[0]) == "In June.<|end|>Sandy.<|end|>"
    assert learned(tokenizer, read(file, tokenizer, [talk], train_on="last_turn")[0]) == "Sandy.<|end|>"
    assert read(file, tokenizer, [talk], train_on="all")[0]["mask"].all()
    assert learned(tokenizer, read(file, tokenizer, [unlearnt])[0]) == "Sandy.<|end|>"
    assert learned(tokenizer, read(file, tokenizer, [unlearnt], train_on="all")[0]) == (
        "<|user|>a<|end|><|assistant|><|user|>b<|end|><|assistant|>Sandy.<|end|>"
    )
    none = read(file, tokenizer, [talk, [user("a"), assistant("b", train=False)], [user("c")]])
    assert len(none) == 1 and none.left_out == {"no turn to train on": 1, "no assistant turn": 1}
    with pytest.raises(UserError, match=r"talks.jsonl:1: a message has weight 0.5; write 0 or 1"):
        read(file, tokenizer, [[user("a"), assistant("b", weight=0.5)]])


def test_a_weight_of_a_raw_file_reaches_the_mask(tokenizer: Any, tmp_path: Path) -> None:
    """Both spellings of weight 0, through `stage: instructions`, to what the loss counts."""
    raw = [
        {"messages": [user("a"), assistant("In June.", weight=0), user("b"), assistant("Sandy.", weight=1)]},
        {"conversations": [
            {"from": "human", "value": "c"}, {"from": "gpt", "value": "Mara Holm."},
            {"from": "human", "value": "d"}, {"from": "gpt", "value": "The pond.", "train": False},
        ]},
        {"messages": [user("e"), assistant("Gladly.", weight=0)]},
        {"messages": [user("f"), assistant("Gladly."), {**user("g"), "weight": 0}, assistant("Nine.")]},
    ]  # fmt: skip
    for number, row in enumerate(raw):
        write_rows(tmp_path / f"raw-{number}.jsonl", [row])
    made = instructions.Recipe(
        inputs=[{"path": str(tmp_path / f"raw-{number}.jsonl")} for number in range(4)],
        output_dir=str(tmp_path / "made"), kind="conversations", validation=0.0,
    )  # fmt: skip
    assert made.faults() == []
    instructions.run(made)
    statistics = json.loads((tmp_path / "made" / "statistics.json").read_text())
    assert statistics["changed"] == {"answers of weight 0": 2} and statistics["refused"] == {"turn of weight 0": 1}
    found = conversations.rows(str(tmp_path / "made" / "train.jsonl"), tokenizer, Settings(256))
    assert [learned(tokenizer, row) for row in found] == [
        "Sandy.<|end|>", "Mara Holm.<|end|>", "Gladly.<|end|>Nine.<|end|>"
    ]  # fmt: skip
    assert [tokenizer.decode(row["input_ids"]).count("<|end|>") for row in found] == [4, 4, 4]


def test_a_system_prompt_is_put_where_there_is_none(tokenizer: Any, file: Path) -> None:
    own = {"role": "system", "content": "Mine."}
    found = read(
        file, tokenizer, [[user("a"), assistant("b")], [own, user("a"), assistant("b")]], system_prompt="Be kind."
    )
    assert [tokenizer.decode(row["input_ids"]).split("<|user|>")[0] for row in found] == [
        "<|system|>Be kind.<|end|>", "<|system|>Mine.<|end|>"
    ]  # fmt: skip


def test_what_is_too_long_is_never_cut_within_an_answer(tokenizer: Any, file: Path) -> None:
    system = {"role": "system", "content": "Be kind."}
    long = [
        system,
        user("x" * 90),
        assistant("no"),
        user("When?"),
        assistant("In June."),
        user("Who?"),
        assistant("Mara."),
    ]
    hopeless = [user("When?"), assistant("y" * 300)]
    short = [user("a"), assistant("b")]
    found = read(file, tokenizer, [long, hopeless, short], max_length=64)
    assert len(found) == 1 and found.left_out == {"longer than max_length": 2}
    found = read(file, tokenizer, [long, hopeless, short], max_length=64, too_long="drop_first_turns")
    assert found.left_out == {"longer than max_length": 1} and found.told == {conversations.SHORTENED: 1}
    assert tokenizer.decode(found[0]["input_ids"]) == (
        "<|system|>Be kind.<|end|><|user|>When?<|end|><|assistant|>In June.<|end|>"
        "<|user|>Who?<|end|><|assistant|>Mara.<|end|>"
    )
    with pytest.raises(
        UserError, match=r"2 of 3 conversations are longer than max_length of 64 \(lines 1, 2; shortest"
    ):
        read(file, tokenizer, [long, hopeless, short], max_length=64, too_long="refuse")
    with pytest.raises(UserError) as caught:
        read(file, tokenizer, [hopeless, [user("c")]], max_length=64)
    length = len(chat.render(tokenizer, hopeless).input_ids)
    assert (
        "none of 2 conversations can be used: 1 no assistant turn, 1 longer than max_length of 64 (lines 1; "
        in caught.value.what
    )
    assert caught.value.write == f"write data.max_length: {length}, or too_long: drop_first_turns"


def test_messages_that_spell_special_tokens(tokenizer: Any, file: Path) -> None:
    talk = [user("Write <|end|> here"), assistant("b")]
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    text, tokens = (read(file, tokenizer, [talk], special_tokens_in_text=kind) for kind in ("as_text", "as_tokens"))
    assert [int((one[0]["input_ids"] == end).sum()) for one in (text, tokens)] == [2, 3]
    assert text.told == tokens.told == {conversations.SPELLED: 1}
    assert tokenizer.decode(text[0]["input_ids"]) == tokenizer.decode(tokens[0]["input_ids"])
    with pytest.raises(UserError, match=r"talks.jsonl:1: a message spells a special token"):
        read(file, tokenizer, [talk], special_tokens_in_text="refuse")


def test_a_row_that_the_template_refuses_is_counted(tokenizer: Any, file: Path) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{%- for", "{% if messages[0].content == 'no' %}{{ raise_exception('never') }}{% endif %}{%- for", 1
    )
    found = read(file, tokenizer, [[user("no"), assistant("b")], [user("a"), assistant("b")]])
    assert found.left_out == {"the chat template refuses it: never": 1} and len(found) == 1


@pytest.mark.parametrize("row", [
    {"prompt": "Why?\n\nSoil", "completion": "So."},
    {"instruction": "Why?", "input": "Soil", "output": "So."},
    {"question": "Why?\n\nSoil", "answer": "So."},
    {"conversations": [{"from": "human", "value": "Why?\n\nSoil"}, {"from": "gpt", "value": "So."}]},
])  # fmt: skip
def test_plain_shapes_are_understood(row: dict[str, Any]) -> None:
    assert conversations.conversation(row, "x:1") == [user("Why?\n\nSoil"), assistant("So.")]


def test_other_shapes_are_refused_with_how_to_convert_them() -> None:
    with pytest.raises(UserError) as caught:
        conversations.conversation({"symptom": "a", "advice": "b"}, "x:1")
    assert "stage: instructions" in caught.value.write and "columns: {question: COLUMN" in caught.value.write


def test_kept_rows_are_read_again_and_never_stale(tokenizer: Any, file: Path, tmp_path: Path, monkeypatch: Any) -> None:
    rows = talks(20)
    first = read(file, tokenizer, rows, tmp_path / "rows")
    (folder,) = (tmp_path / "rows").glob("rows-*")
    made, ids = (folder / "ids").stat().st_mtime_ns, first.ids.copy()
    again = read(file, tokenizer, rows, tmp_path / "rows")
    assert (folder / "ids").stat().st_mtime_ns == made and np.array_equal(ids, again.ids)
    # Anything that rows depend on makes others.
    read(file, tokenizer, rows, tmp_path / "rows", train_on="all")
    read(file, tokenizer, rows[1:], tmp_path / "rows")
    tokenizer.chat_template = tokenizer.chat_template + " "
    read(file, tokenizer, rows, tmp_path / "rows")
    assert len(list((tmp_path / "rows").glob("rows-*"))) == 4
    # A half-written file is made anew; another folder may be named for all runs.
    with (folder / "ids").open("r+b") as stream:
        stream.truncate(8)
    tokenizer.chat_template = tokenizer.chat_template[:-1]
    assert np.array_equal(read(file, tokenizer, rows, tmp_path / "rows").ids, ids)
    monkeypatch.setenv("TUNELOOP_CACHE", str(tmp_path / "all"))
    assert np.array_equal(read(file, tokenizer, rows, tmp_path / "rows").ids, ids)
    assert [one.name for one in (tmp_path / "all").glob("rows-*")] == [folder.name]


def _make(arguments: tuple[str, str, str]) -> list[int]:
    model, file, scratch = arguments
    return [int(n) for n in conversations.rows(file, load_tokenizer(model), Settings(4096), Path(scratch)).ids]


def test_rows_that_two_want_at_once_are_made_once(tiny_model_dir: Path, file: Path, tmp_path: Path) -> None:
    write_rows(file, [{"messages": talk} for talk in talks(50)])
    arguments = (str(tiny_model_dir), str(file), str(tmp_path / "rows"))
    with ThreadPoolExecutor(2) as pool:  # the lock is held by an open file, so threads wait for it as processes do
        one, other = pool.map(_make, [arguments] * 2)
    assert one == other and len(one) > 500
    (folder,) = (tmp_path / "rows").glob("rows-*")
    assert json.loads((folder / "counts.json").read_text())["bytes"]["ids"] == 4 * len(one)
    assert not list((tmp_path / "rows").glob(".rows-*.[0-9]*"))
