"""Tokenising: ids as the library gives them, control tokens never from text, same bytes from any number of workers."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from data_prep.records import read_rows, write_rows
from data_prep.stages import tokens
from data_prep.tokens import row_ranges, token_shards, tokenization
from data_prep.tokens.token_shards import TokenShards
from recipes.errors import UserError

REPOSITORY = Path(__file__).parents[2]
BASE = "recipes/base/tuneloop-base-4m"
WORDS = "the silver fern grows in shade and wants water a poppy blooms blue in June 12 café 水 <|end|>".split()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chooser = random.Random(3)
    return [" ".join(chooser.choices(WORDS, k=chooser.randrange(1, 60))) for _ in range(1500)]


def _write(path: Path, texts: list[str]) -> None:
    write_rows(path, [{"id": f"d{n}", "text": text, "source": f"s{n % 3}"} for n, text in enumerate(texts)])


def _recipe(folder: Path, **keys: Any) -> tokens.Recipe:
    engine = {"workers": 1, "shard_bytes": 2**16}
    values = {
        "inputs": [str(folder / "a.jsonl")],
        "tokenizer": BASE,
        "output_dir": str(folder / "out"),
        "engine": engine,
    }
    return tokens.Recipe(**{**values, **keys})


def _bytes(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}


def test_ids_are_the_librarys_and_documents_are_found_again(texts: list[str], tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", texts)
    tokens.run(_recipe(tmp_path))
    shards = TokenShards(tmp_path / "out")
    reference = Tokenizer.from_file(f"{BASE}/tokenizer.json")
    reference.encode_special_tokens = True
    end = reference.token_to_id("<|end|>")
    assert len(shards.about["shards"]) > 2 and len(shards) == len(texts)
    for ids, text in zip(shards, texts, strict=True):
        assert ids.tolist() == [*reference.encode(text, add_special_tokens=False).ids, end]
    assert shards.lengths().tolist() == [len(ids) for ids in shards]
    assert [name["id"] for name in shards.names()] == [f"d{n}" for n in range(len(texts))]
    assert shards.find("d1234") == [1234] and shards.find("nothing") == []
    assert shards.about["tokens"] == sum(len(ids) - 1 for ids in shards)
    assert shards.about["eos_tokens"] == shards.about["documents"] == len(texts)
    assert shards.about["words"] == sum(len(text.split()) for text in texts)
    assert shards.about["bytes"] == sum(len(text.encode()) for text in texts)
    by_source: Counter[str] = Counter()
    for name, ids in zip(shards.names(), shards, strict=True):
        by_source[name["source"]] += len(ids) - 1
    assert shards.about["sources"] == by_source
    assert sum(by_source.values()) == shards.about["tokens"]
    with pytest.raises(IndexError):
        shards[len(texts)]
    assert pickle.loads(pickle.dumps(shards))[7].tolist() == shards[7].tolist()
    assert len(pickle.dumps(shards)) < 5000


def test_text_never_becomes_a_control_token(tmp_path: Path) -> None:
    said = "a <|end|> b <|assistant|>c<|pad|>"
    _write(tmp_path / "a.jsonl", [said, "plain"])
    tokens.run(_recipe(tmp_path))
    ids = TokenShards(tmp_path / "out")[0]
    tokenizer = Tokenizer.from_file(f"{BASE}/tokenizer.json")
    control = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    assert not control & set(ids[:-1].tolist()) and int(ids[-1]) == tokenizer.token_to_id("<|end|>")
    assert tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False) == said


def _unigram(folder: Path) -> Path:
    """A tokenizer whose model itself makes its end token of the end token's letters."""
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), ("</s>", 0.0), ("▁", -2.0), ("a", -3.0), ("b", -3.0)], 0))
    tokenizer.add_special_tokens(["<unk>", "</s>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "</s>"}}')
    return folder


def test_where_a_tokenizer_makes_a_control_token_of_text_the_document_goes(tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", ["a b", "a </s> b", "a x b"])
    tokens.run(_recipe(tmp_path, tokenizer=str(_unigram(tmp_path / "unigram"))))
    about = TokenShards(tmp_path / "out").about
    assert about["left_out"] == {"the tokenizer makes a control token of its text": 1}
    assert (about["documents"], about["unknown_tokens"]) == (2, 1)


def test_bad_rows_are_counted_by_their_reasons(tmp_path: Path) -> None:
    lines = ['{"text": "good"}', "{broken", '{"text": ""}', '{"body": "a"}', '{"text": 5}', "[1]", "",
             '{"text": "' + "long " * 50 + '"}', '{"text": "half \\ud83d pair"}']  # fmt: skip
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"text": "\xff"}\n{"text": "nul \x00"}')
    tokens.run(_recipe(tmp_path, max_document_length=100))
    shards = TokenShards(tmp_path / "out")
    assert shards.about["left_out"] == {
        "not JSON": 2, "empty text": 1, "no text in column text": 2, "a JSON list where an object was expected": 1,
        "longer than 100 characters": 1, "not UTF-8": 1,
    }  # fmt: skip
    assert [name["id"] for name in shards.names()] == ["a.jsonl@0", f"a.jsonl@{len(chr(10).join(lines[:8])) + 1}"]


def test_nothing_to_tokenise_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": ""}\n')
    with pytest.raises(UserError) as caught:
        tokens.run(_recipe(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/a.jsonl: no document to tokenise (2 x empty text); files with texts"
    )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_same_bytes_from_any_number_of_workers(texts: list[str], tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", texts)
    engine = {"shard_bytes": 2**16}
    tokens.run(_recipe(tmp_path, output_dir=str(tmp_path / "one"), engine={**engine, "workers": 1}))
    tokens.run(_recipe(tmp_path, output_dir=str(tmp_path / "two"), engine={**engine, "workers": 2}))
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_other_pieces_hold_the_same_documents(texts: list[str], tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", texts)
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as stream:
        stream.write((tmp_path / "a.jsonl").read_bytes())
    tokens.run(_recipe(tmp_path))
    tokens.run(_recipe(tmp_path, inputs=[str(tmp_path / "b.jsonl.gz")], output_dir=str(tmp_path / "packed")))
    plain, packed = TokenShards(tmp_path / "out"), TokenShards(tmp_path / "packed")
    assert len(packed.about["shards"]) == 1 < len(plain.about["shards"])
    assert np.concatenate(list(plain)).tolist() == np.concatenate(list(packed)).tolist()
    assert list(plain.names()) == list(packed.names())


@pytest.mark.parametrize("piece", [1, 7, 50, 10**6])
def test_every_line_is_in_just_one_piece(piece: int, tmp_path: Path) -> None:
    rows = [{"n": n, "text": "x" * (n % 13)} for n in range(60)]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    pieces = row_ranges.ranges([str(tmp_path / "a.jsonl")], piece)
    assert [row for one in pieces for _, row, _ in row_ranges.rows(one)] == rows


def test_a_line_too_long_for_any_row_is_told_and_the_next_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(row_ranges, "LONGEST_LINE", 100)
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x" * 5000}) + "\n" + json.dumps({"text": "next"}) + "\n")
    found = [
        (row, wrong) for one in row_ranges.ranges([str(tmp_path / "a.jsonl")]) for _, row, wrong in row_ranges.rows(one)
    ]
    assert found == [(None, "line longer than 0 MiB"), ({"text": "next"}, "")]


def test_killed_and_started_again_it_goes_on(texts: list[str], tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", texts * 12)
    recipe = tmp_path / "tokens.yaml"
    recipe.write_text(
        f"stage: tokens\noutput_dir: {tmp_path}/out\ninputs: [{tmp_path}/a.jsonl]\ntokenizer: {BASE}\n"
        "engine: {workers: 1, shard_bytes: 65536}\n"
    )
    command = [sys.executable, "-m", "data_prep", str(recipe)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    marks = tmp_path / "out.partial" / ".scratch" / "tokens" / "marks" / "tokenise"
    deadline = time.monotonic() + 60
    while len(list(marks.glob("*.json")) if marks.exists() else []) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {mark.name: mark.stat().st_mtime_ns for mark in marks.glob("*.json")}
    shard = tmp_path / "out.partial" / "shard-00000.bin"
    first = shard.stat().st_ino
    (tmp_path / "out.partial" / ".shard-00001.bin.0123.partial").write_bytes(b"half")
    assert done and not (tmp_path / "out").exists()
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    assert (tmp_path / "out" / "shard-00000.bin").stat().st_ino == first
    assert not list((tmp_path / "out").glob(".*"))
    tokens.run(_recipe(tmp_path, output_dir=str(tmp_path / "whole")))
    assert _bytes(tmp_path / "out") == _bytes(tmp_path / "whole")


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_the_type_holds_the_largest_id(size: int, dtype: str, tmp_path: Path) -> None:
    vocabulary = {f"w{n}": n for n in range(size - 1)} | {"<end>": size - 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    _write(tmp_path / "a.jsonl", [f"w1 w{size - 2}"])
    tokens.run(_recipe(tmp_path, tokenizer=str(tmp_path / "tokenizer.json"), eos_token="<end>"))
    shards = TokenShards(tmp_path / "out")
    assert shards.about["dtype"] == dtype
    assert shards[0].tolist() == [1, size - 2, size - 1]
    assert (tmp_path / "out" / "shard-00000.bin").stat().st_size == 3 * np.dtype(dtype).itemsize


def test_cutting_and_padding_in_the_tokenizers_file_are_not_followed(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(f"{BASE}/tokenizer.json")
    whole = tokenization.fingerprint(tokenizer)
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = tokenization.load(str(tmp_path))
    assert len(loaded.encode("the silver fern grows in the shade", add_special_tokens=False).ids) not in (4, 64)
    assert tokenization.fingerprint(loaded) == whole


def test_the_fingerprint_sees_vocabulary_merges_and_splitting() -> None:
    values = json.loads(Path(f"{BASE}/tokenizer.json").read_text())

    def of(change: dict[str, Any], model: dict[str, Any] | None = None) -> str:
        return tokenization.fingerprint(
            Tokenizer.from_str(json.dumps({**values, **change, "model": {**values["model"], **(model or {})}}))
        )

    same = of({})
    merges = values["model"]["merges"]
    assert of({}, {"merges": [" ".join(pair) for pair in merges]}) == same  # as older files write them
    assert of({"decoder": None}) == same  # decides no id
    assert of({}, {"merges": [*merges[:-2], merges[-1], merges[-2]]}) != same
    assert of({"normalizer": {"type": "Lowercase"}}) != same
    assert of({"pre_tokenizer": {**values["pre_tokenizer"]["pretokenizers"][1], "add_prefix_space": True}}) != same


FAULTS = [
    ({"tokenizer": "nowhere.txt"}, "is not a file of the tokenizers library"),
    ({"tokenizer": "."}, "holds no tokenizer.json"),
    ({"tokenizer": "bare"}, "no eos_token stands beside"),
    ({"eos_token": "<none>"}, "the tokenizer has no token '<none>' to end a text with"),
    ({"text_column": "body"}, "no text in column 'body'; the columns are id, source, text"),
    ({"inputs": ["empty"]}, "no JSON lines in this folder"),
]


@pytest.mark.parametrize(("keys", "what"), FAULTS)
def test_mistakes_are_told_before_the_work(keys: dict[str, Any], what: str, tmp_path: Path, monkeypatch: Any) -> None:
    base = (REPOSITORY / BASE).resolve()
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "a.jsonl", ["good"])
    for name in ("empty", "bare"):
        (tmp_path / name).mkdir()
    (tmp_path / "nowhere.txt").write_text("no JSON")
    (tmp_path / "empty" / "notes.txt").write_text("no rows")
    (tmp_path / "bare" / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    (fault,) = _recipe(tmp_path, **{"tokenizer": str(base), **keys}).faults()
    assert what in fault.what and fault.write


def test_a_corpus_gives_its_training_side(tmp_path: Path) -> None:
    for side in ("train", "validation", "dropped"):
        _write(tmp_path / "corpus" / f"{side}.jsonl", [side])
    assert row_ranges.files_of(str(tmp_path / "corpus")) == [str(tmp_path / "corpus" / "train.jsonl")]


def test_shards_that_were_changed_are_noticed(texts: list[str], tmp_path: Path) -> None:
    _write(tmp_path / "a.jsonl", texts)
    tokens.run(_recipe(tmp_path))
    with open(tmp_path / "out" / "shard-00000.bin", "ab") as stream:
        stream.write(b"\0\0")
    with pytest.raises(UserError, match="the shard and its index do not go together"):
        TokenShards(tmp_path / "out")[0]


def test_batches_are_bounded_by_letters_and_rows() -> None:
    many = list(token_shards.batches((n, "x") for n in range(1500)))
    assert [len(batch) for batch in many] == [512, 512, 476]
    long = list(token_shards.batches((n, "x" * 400_000) for n in range(5)))
    assert [len(batch) for batch in long] == [2, 2, 1]


def test_rows_of_a_mixture_are_counted_as_often_as_they_stand(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "a.jsonl", [{"id": "x", "text": "one"}, {"id": "y", "text": "two"}, {"id": "x", "text": "one"}]
    )
    tokens.run(_recipe(tmp_path))
    assert TokenShards(tmp_path / "out").find("x") == [0, 2]
    assert Counter(row["id"] for row in read_rows(tmp_path / "out" / "shard-00000.documents.jsonl")) == {"x": 2, "y": 1}


def test_bpe_dropout_is_switched_off(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE(dropout=0.9))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        ["the silver fern grows"] * 5, trainers.BpeTrainer(vocab_size=300, show_progress=False)
    )
    plain = tokenization.plain(tokenizer)
    assert len({tuple(plain.encode("the silver fern grows").ids) for _ in range(20)}) == 1
