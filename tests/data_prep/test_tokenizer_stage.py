"""Vocabularies: new tokens by gain, counted anew; old ids and decoding stay; what is told before the work."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from data_prep.records import write_rows
from data_prep.stages import tokenizer as stage
from data_prep.tokens import tokenization, vocabulary
from recipes.errors import UserError

REPOSITORY = Path(__file__).parents[2]
BASE = "recipes/base/tuneloop-base-4m"
DOMAIN = ["insulin", "hyperglycemia", "nephropathy", "the", "patient", "symptoms", "of", "and", "treatment", "42"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    chooser = random.Random(5)
    return [" ".join(chooser.choices(DOMAIN, k=30)).capitalize() + ".\n\nÄrzte  🩺 <|end|>" for _ in range(200)]


def _recipe(folder: Path, texts: list[str], **keys: Any) -> stage.Recipe:
    write_rows(folder / "a.jsonl", [{"text": text} for text in texts])
    return stage.Recipe(**{"inputs": [str(folder / "a.jsonl")], "output_dir": str(folder / "out"), **keys})


def _sentencepiece(folder: Path) -> Path:
    """A tokenizer as Llama 2's: no splitting into words, spaces marked, unknown letters as bytes."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdefghilmnoprstuy.", "▁t", "he"]
    tokenizer = Tokenizer(
        models.BPE({token: n for n, token in enumerate(tokens)}, [("▁", "t"), ("h", "e")], unk_token="<unk>",
                   fuse_unk=True, byte_fallback=True)
    )  # fmt: skip
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _specials_behind(folder: Path) -> Path:
    """A tokenizer as Llama 3's: special tokens have ids behind the vocabulary and do not stand in it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["the the of and in"], trainer)
    tokenizer.add_special_tokens(["<|begin|>", "<|eot|>"])
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


MAKERS = {"byte level": lambda folder: Path(BASE), "sentencepiece": _sentencepiece, "behind": _specials_behind}


@pytest.mark.parametrize("kind", MAKERS)
def test_old_ids_stay_and_every_text_comes_back(kind: str, texts: list[str], tmp_path: Path) -> None:
    folder = MAKERS[kind](tmp_path / "old")
    stage.run(_recipe(tmp_path, texts, extend=str(folder), new_tokens=30, min_count=20))
    old, new = tokenization.load(str(folder)), tokenization.load(str(tmp_path / "out"))
    before, after = old.get_vocab(), new.get_vocab()
    said = json.loads((tmp_path / "out" / "new_tokens.json").read_text())
    assert before.items() <= after.items()
    assert sorted(set(after.values()) - set(before.values())) == sorted(row["id"] for row in said["tokens"])
    assert said["extends"] == tokenization.fingerprint(old)
    assert new.get_added_tokens_decoder().keys() == old.get_added_tokens_decoder().keys()
    pieces = {row["id"]: row["pieces"] for row in said["tokens"]}
    for text in [
        *texts[:20],
        "A text of quite another kind: 7,5 % (naïve)…",
        "  two  spaces\n\tand a tab",
        "</s><|eot|>",
    ]:
        ids = new.encode(text, add_special_tokens=False).ids
        assert new.decode(ids, skip_special_tokens=False) == text
        # The old tokenizer's reading, with neighbours joined.
        flat = [piece for number in ids for piece in pieces.get(number, [number])]
        assert flat == old.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_said_to_be_saved_is_saved(kind: str, texts: list[str], tmp_path: Path) -> None:
    folder = MAKERS[kind](tmp_path / "old")
    stage.run(_recipe(tmp_path, texts, extend=str(folder), new_tokens=25, min_count=20))
    said = json.loads((tmp_path / "out" / "new_tokens.json").read_text())
    old, new = tokenization.load(str(folder)), tokenization.load(str(tmp_path / "out"))
    before = sum(len(old.encode(text, add_special_tokens=False).ids) for text in texts)
    after = sum(len(new.encode(text, add_special_tokens=False).ids) for text in texts)
    assert before - after == sum(row["saved"] for row in said["tokens"]) > 0
    saved = [row["saved"] for row in said["tokens"]]
    assert saved == sorted(saved, reverse=True) and min(saved) >= 20
    fertility = json.loads((tmp_path / "out" / "fertility.json").read_text())["inputs"]
    assert (fertility["before"]["tokens"], fertility["after"]["tokens"]) == (before, after)
    assert fertility["after"]["tokens_per_word"] == round(after / sum(len(text.split()) for text in texts), 4)


def _counted(words: dict[tuple[int, ...], int]) -> Counter[tuple[int, int]]:
    """Count by joining: how many tokens fewer there are when a pair is joined everywhere."""
    pairs = {pair for word in words for pair in zip(word, word[1:], strict=False)}
    return Counter({
        pair: sum(count * (len(word) - len(vocabulary.joined(word, pair, -1))) for word, count in words.items())
        for pair in pairs
    })  # fmt: skip


@pytest.mark.parametrize("seed", range(10))
def test_each_choice_is_the_best_there_is(seed: int) -> None:
    """Against counting all over again after every choice, in words of repeated letters where pairs overlap."""
    chooser = random.Random(seed)
    letters = {n: "abc"[n] for n in range(3)}
    counts = Counter(tuple(chooser.choices(range(3), k=chooser.randint(2, 9))) for _ in range(60))
    words = vocabulary.Words.__new__(vocabulary.Words)
    words.names, words.counts = dict(letters), Counter(counts)
    chosen = vocabulary.choose(words, 8, 2, 100)
    plain, names = dict(counts), dict(letters)
    for number, token in enumerate(chosen, 100):
        gains = {
            pair: gain
            for pair, gain in _counted(plain).items()
            if names[pair[0]] + names[pair[1]] not in names.values()
        }
        assert token.saved == max(gains.values())
        pair = min((pair for pair, gain in gains.items() if gain == token.saved),
                   key=lambda pair: (names[pair[0]], names[pair[1]]))  # fmt: skip
        assert (token.left, token.right) == (names[pair[0]], names[pair[1]])
        assert "".join(letters[piece] for piece in token.pieces) == token.token
        names[number] = token.token
        joined: Counter[tuple[int, ...]] = Counter()
        for word, count in plain.items():
            joined[tuple(vocabulary.joined(word, pair, number))] += count
        plain = dict(joined)
    assert dict(words.counts) == plain


def test_words_are_never_joined_across_their_borders(texts: list[str], tmp_path: Path) -> None:
    for kind in ("byte level", "sentencepiece"):
        folder = MAKERS[kind](tmp_path / kind)
        words = vocabulary.Words(tokenization.load(str(folder)))
        words.add(texts)
        new = vocabulary.choose(words, 200, 2, 10**6)
        assert {"insulin", "nephropathy"} <= {token.token.strip("▁Ġ") for token in new}
        for token in new:
            assert "▁" not in token.token[1:] and "<0x" not in token.token
            if kind == "sentencepiece":
                assert token.token.removeprefix("▁").isalpha()


def test_the_chat_template_and_the_names_of_tokens_stay(texts: list[str], tmp_path: Path) -> None:
    stage.run(_recipe(tmp_path, texts, extend=BASE, new_tokens=5))
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (REPOSITORY / BASE / name).read_bytes()


def test_a_new_tokenizer_is_the_librarys_and_the_same_in_every_process(texts: list[str], tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, texts, vocab_size=330, held_out=str(tmp_path / "a.jsonl"))
    stage.run(recipe)
    made = (tmp_path / "out" / "tokenizer.json").read_bytes()
    tokenizer = tokenization.load(str(tmp_path / "out"))
    assert tokenizer.get_vocab_size() == 330
    assert tokenization.eos_of(tokenizer, str(tmp_path / "out")) == ("<|end|>", 1)
    for text in (*texts[:5], "Ünïcode 水 🩺\x00"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text and not {0, 1, 2, 3, 4} & set(ids)
    fertility = json.loads((tmp_path / "out" / "fertility.json").read_text())
    assert fertility["inputs"] == fertility["held_out"] and fertility["inputs"]["after"]["unknown_rate"] == 0
    keys = {"inputs": [str(tmp_path / "a.jsonl")], "output_dir": str(tmp_path / "again"), "vocab_size": 330}
    code = f"from data_prep.stages import tokenizer as stage; stage.run(stage.Recipe(**{keys!r}))"
    for seed, parallel in (("1", "true"), ("2", "false")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": parallel}
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True, capture_output=True)
        assert (tmp_path / "again" / "tokenizer.json").read_bytes() == made


def test_a_sample_is_part_of_the_texts_and_said(texts: list[str], tmp_path: Path) -> None:
    different = [f"{n} {text}" for n, text in enumerate(texts)]
    letters = sum(map(len, different))
    recipe = _recipe(tmp_path, different, vocab_size=320, sample_letters=letters // 2)
    share = stage._share(recipe)
    sample = list(stage._sample(recipe, share))
    assert share == pytest.approx(0.5, abs=0.001)
    assert set(sample) < set(different) and sum(map(len, sample)) / letters == pytest.approx(0.5, abs=0.1)


def test_nothing_to_add_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        stage.run(_recipe(tmp_path, ["the silver fern"], extend=BASE))
    assert str(caught.value).startswith("min_count: no new token saves 50 of the ")
    assert not (tmp_path / "out").exists()


def test_texts_without_text_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not one row with a text"):
        stage.run(_recipe(tmp_path, [""], vocab_size=300))


ONLY = "only plain byte-pair vocabularies can be extended"
FAULTS = [
    ({"extend": BASE, "vocab_size": 500}, ("vocab_size",),
     "vocab_size has no meaning here: a tokenizer that is extended keeps its own"),
    ({"new_tokens": 5}, ("new_tokens",), "new_tokens has no meaning here: only `extend` adds tokens"),
    ({"eos_token": "<eos>"}, ("eos_token",), "'<eos>' is none of special_tokens"),
    ({"extend": "unigram"}, ("extend",), f"unigram is a Unigram tokenizer; {ONLY}"),
    ({"extend": "words"}, ("extend",), f"words is a BPE tokenizer with marks inside its pieces; {ONLY}"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "key", "what"), FAULTS)
def test_mistakes_are_told_before_the_work(
    keys: dict[str, Any], key: tuple[str], what: str, tmp_path: Path, monkeypatch: Any
) -> None:
    recipe = _recipe(tmp_path, ["good"], **keys)
    monkeypatch.chdir(tmp_path)
    for name, model in (("unigram", models.Unigram([("a", 0.0)])), ("words", models.BPE(end_of_word_suffix="</w>"))):
        (tmp_path / name).mkdir()
        Tokenizer(model).save(str(tmp_path / name / "tokenizer.json"))
    faults = recipe.faults()
    assert [(fault.key, fault.what) for fault in faults] == [(key, what)]
