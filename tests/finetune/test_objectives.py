"""Objectives on plain text: against transformers' collator, T5's published lengths, and properties by brute force."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cut_runs import cut_and_go_on
from tiny_families import build_tiny_encoder, build_tiny_encoder_decoder

from data_prep.records import read_rows, write_rows
from finetune import models
from finetune.losses import next_token_loss
from finetune.objectives import corpus, encoder_decoder, masked_tokens, next_token, span_corruption
from finetune.objectives.noise import Visits
from finetune.objectives.targets import target_logits
from finetune.stages import cpt
from recipes import artifact
from recipes.errors import UserError
from tests.conftest import SENTENCES

TRAINING: dict[str, Any] = {
    "learning_rate": 3e-3, "per_device_train_batch_size": 4, "logging_steps": 5, "warmup_ratio": 0.0, "report_to": [],
}  # fmt: skip
OBJECTIVES = {"decoder": "next_token", "encoder": "masked_tokens", "encoder_decoder": "span_corruption"}


@pytest.fixture(scope="module")
def bases(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("families")
    return {
        "decoder": tiny_model_dir,
        "encoder": build_tiny_encoder(folder / "encoder", SENTENCES * 3),
        "encoder_decoder": build_tiny_encoder_decoder(folder / "encoder_decoder", SENTENCES * 3),
    }


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chooser = random.Random(1)
    rows = [{"text": " ".join(chooser.choices(SENTENCES, k=chooser.randint(1, 6)))} for _ in range(30)]
    file = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    write_rows(file, rows)
    return file


def recipe(base: Path, file: Path, out: Path | str = "out", *, training: Any = None, **keys: Any) -> Any:
    data = {"train_file": str(file), "validation_file": str(file), "max_length": 32, **keys.pop("data", {})}
    return cpt.Recipe(
        output_dir=str(out), model={"model_name_or_path": str(base)}, data=data,
        training={**TRAINING, **(training or {})}, **keys,
    )  # fmt: skip


# --- masked tokens


def masking(length: int = 400, *, rounds: int = 200, **changes: Any) -> tuple[Any, Any]:
    """Return inputs and labels (rounds, length) of a row whose first and last ids are special."""
    ids = np.concatenate(([2], np.arange(length - 2) % 300 + 10, [3])).astype(np.int64)
    special = np.zeros(320, dtype=bool)
    special[:5] = True
    keys = {"special": special, "ordinary": np.flatnonzero(~special), "inside": None, "mask_id": 4, "probability": 0.15}
    rows = Visits(
        [{"input_ids": ids}], lambda row, g: masked_tokens._masked(row, g, **keys | changes), 0, visits=rounds
    )
    made = [rows[index] for index in range(rounds)]
    return np.stack([row["input_ids"] for row in made]), np.stack([row["labels"] for row in made])


def test_masking_is_that_of_transformers_collator(bases: dict[str, Path]) -> None:
    """The shares of both, within four standard errors of each other over 80,000 tokens."""
    from transformers import DataCollatorForLanguageModeling

    inputs, labels = masking()
    tokenizer = models.load_tokenizer(str(bases["encoder"]))
    torch.manual_seed(0)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    row = torch.tensor(np.concatenate(([2], np.arange(398) % 100 + 10, [3])))
    theirs = collator([{"input_ids": row.tolist()} for _ in range(200)])

    def shares(before: Any, after: Any, target: Any, mask_id: int) -> list[float]:
        chosen = target != -100
        kept, masked = (after == before)[chosen].mean(), (after == mask_id)[chosen].mean()
        return [chosen.mean(), masked, kept, 1 - masked - kept]

    ours = shares(np.where(labels == -100, inputs, labels), inputs, labels, 4)
    other = shares(row.numpy()[None], theirs["input_ids"].numpy(), theirs["labels"].numpy(), tokenizer.mask_token_id)
    for one, reference, share, count in zip(ours, other, (0.15, 0.8, 0.1, 0.1), (80_000, *[12_000] * 3), strict=True):
        error = 4 * (share * (1 - share) / count) ** 0.5
        assert abs(one - share) < error and abs(one - reference) < 2 * error
    assert (labels[:, [0, -1]] == -100).all()
    every = np.concatenate(([2], np.arange(398) % 300 + 10, [3]))
    assert (np.where(labels == -100, inputs, labels) == every).all()


def test_no_two_visits_are_alike_and_each_can_be_drawn_again() -> None:
    _, labels = masking(rounds=20)
    assert len({tuple(row) for row in (labels != -100)}) == 20
    assert np.array_equal(masking(rounds=30)[1][:20], labels)
    counts = (labels != -100).sum(1)
    assert set(counts) <= {59, 60} and len(set(counts)) == 2  # 0.15 * 398 = 59.7


def test_whole_words_are_masked_together() -> None:
    inside = np.zeros(320, dtype=bool)
    inside[np.arange(11, 310, 3)] = inside[np.arange(12, 310, 3)] = True  # words of three pieces, from 10 on
    _, labels = masking(302, inside=inside, rounds=300)
    words = (labels[:, 1:-1] != -100).reshape(300, 100, 3)
    assert (words.all(2) == words.any(2)).all()
    assert words.mean() == pytest.approx(0.15, abs=0.005)
    generator = np.random.default_rng(0)  # a word longer than the share is still chosen if nothing else was
    assert masked_tokens.choose(np.ones(4, bool), np.array([0, 1, 1, 1], bool), 0.15, generator).all()
    assert not masked_tokens.choose(np.zeros(4, bool), None, 0.15, generator).any()


def test_words_begin_where_tokens_say_so(bases: dict[str, Path]) -> None:
    for family in ("encoder", "encoder_decoder"):
        tokenizer = models.load_tokenizer(str(bases[family]))
        inside = masked_tokens.inside_words(tokenizer)
        ids = tokenizer("The silver fern unhappily", add_special_tokens=False)["input_ids"]
        starts = [not inside[id] for id in ids]
        assert sum(starts) == 4 and starts[0] and len(ids) > 4
    with pytest.raises(UserError, match="do not say where words begin"):
        masked_tokens.inside_words(_Letters())


class _Letters:
    def __len__(self) -> int:
        return 3

    def convert_ids_to_tokens(self, ids: Any) -> list[str]:
        return ["a", "b", "c"]


@pytest.mark.parametrize("packing", ["wrap", "best_fit"])
def test_rows_of_an_encoder_begin_and_end_as_it_knows_them(packing: str, bases: dict[str, Path], texts: Path) -> None:
    tokenizer = models.load_tokenizer(str(bases["encoder"]))
    asked = recipe(bases["encoder"], texts, data={"packing": packing, "validation_file": None})
    assert asked.faults() == []
    rows = corpus.read(asked, tokenizer).train.rows  # before they are masked
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    found: list[list[int]] = []
    for index in range(len(rows)):
        row = rows[index]
        assert len(row["input_ids"]) <= 32
        for ids in np.split(row["input_ids"], row.get("starts", [0])[1:]):
            assert ids[0] == first and ids[-1] == last and first not in ids[1:]
            found.append(ids[1:-1].tolist() if packing == "best_fit" else ids[1:].tolist())
    documents = [tokenizer(row["text"], add_special_tokens=False)["input_ids"] for row in read_rows(texts)]
    if packing == "best_fit":
        assert Counter(tuple(ids) for ids in documents if len(ids) <= 30) <= Counter(map(tuple, found))
        assert sum(map(len, found)) == sum(map(len, documents))
    else:
        assert sum(ids.count(last) for ids in found) >= len(documents)
        assert Counter(id for ids in found for id in ids if id != last) == Counter(
            id for ids in documents for id in ids
        )


def test_only_hidden_tokens_go_through_the_head_and_padding_changes_nothing(
    bases: dict[str, Path], texts: Path
) -> None:
    loaded = models.load(str(bases["encoder"]), head="masked")
    asked = recipe(bases["encoder"], texts, data={"packing": "best_fit"})
    rows = corpus.read(asked, loaded.tokenizer).train[-6:]
    batch = masked_tokens.padded(rows, 0)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        ours = target_logits(loaded.model, batch)
        whole = loaded.model(**inputs).logits.flatten(0, 1)
        torch.testing.assert_close(ours, whole[batch["target_index"]], rtol=1e-5, atol=1e-5)
        expected = total = 0.0
        for row in rows:
            for ids, labels in masked_tokens.documents_of(row):
                out = loaded.model(input_ids=torch.tensor(ids)[None], labels=torch.tensor(labels)[None])
                count = int((labels != -100).sum())
                # of a short document in the row nothing may be hidden, and the mean of nothing is no number
                expected, total = expected + (float(out.loss) * count if count else 0.0), total + count
        found, _ = masked_tokens.loss(loaded.model, batch)
        assert float(found) == pytest.approx(expected, rel=1e-4) and int(batch["count"]) == total
        learning = masked_tokens.learning(loaded.model, loaded.tokenizer, asked.data)
        again, _ = learning.loss(loaded.model, learning.collate(rows))
        assert float(again) == pytest.approx(expected, rel=1e-4)
    assert loaded.model.bert(input_ids=batch["input_ids"]).last_hidden_state.shape[:2] == batch["input_ids"].shape


# --- span corruption


def published_lengths(inputs_length: int, noise_density: float, mean_noise_span_length: float) -> tuple[int, int]:
    """`random_spans_helper` of t5/data/preprocessors.py, word for word but for its arguments' names."""

    def lengths(tokens_length: int) -> tuple[int, int]:
        num_noise_tokens = round(tokens_length * noise_density)
        num_nonnoise_tokens = tokens_length - num_noise_tokens
        num_noise_spans = round(num_noise_tokens / mean_noise_span_length)
        return num_nonnoise_tokens + num_noise_spans + 1, num_noise_tokens + num_noise_spans + 1

    tokens_length = inputs_length - 1
    while lengths(tokens_length + 1)[0] <= inputs_length:
        tokens_length += 1
    return tokens_length, lengths(tokens_length)[1]


@pytest.mark.parametrize(("density", "span"), [(0.15, 3.0), (0.2, 4.0)])
def test_lengths_are_those_that_t5_was_trained_with(density: float, span: float) -> None:
    for inputs in range(16, 1200):
        tokens, targets = published_lengths(inputs, density, span)
        assert span_corruption.row_length(inputs, density, span) == tokens
        assert span_corruption.lengths(tokens, density, span) == (inputs, targets)
    assert published_lengths(512, 0.15, 3.0) == (568, 114)  # as the paper's runs had it


@pytest.mark.parametrize("tokens", [2, 3, 7, 20, 141, 568])
@pytest.mark.parametrize(("density", "span"), [(0.15, 3.0), (0.5, 1.0), (0.9, 2.0)])
def test_input_and_target_together_are_the_text(tokens: int, density: float, span: float) -> None:
    sentinels, eos = list(range(9000, 8000, -1)), 1
    generator = np.random.default_rng(tokens)
    ids = generator.integers(10, 500, tokens)
    for _ in range(20):
        taken = span_corruption.noise_mask(tokens, density, span, generator)
        source, target = span_corruption.corrupt(ids, taken, sentinels, eos)
        assert (len(source), len(target)) == span_corruption.lengths(tokens, density, span)
        assert source[-1] == target[-1] == eos and not taken[0] and taken[-1]
        used = [int(id) for id in source if id >= 8000]
        assert used == sentinels[: len(used)] == [int(id) for id in target if id >= 8000]
        spans: dict[int, list[int]] = {}
        for id in target[:-1].tolist():
            if id >= 8000:
                spans[id] = []
            else:
                spans[used[len(spans) - 1]].append(id)
        assert all(spans.values())
        again = [one for id in source[:-1].tolist() for one in (spans[id] if id >= 8000 else [id])]
        assert again == ids.tolist()


def test_every_way_to_cut_is_equally_likely() -> None:
    generator = np.random.default_rng(0)
    found = Counter(tuple(span_corruption._segments(5, 3, generator)) for _ in range(6000))
    assert set(found) == {(1, 1, 3), (1, 3, 1), (3, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1)}
    assert all(abs(count - 1000) < 4 * (1000 * 5 / 6) ** 0.5 for count in found.values())


def test_an_encoder_decoders_loss_is_transformers_own(bases: dict[str, Path], texts: Path) -> None:
    loaded = models.load(str(bases["encoder_decoder"]), head="seq2seq")
    asked = recipe(bases["encoder_decoder"], texts, data={"packing": "best_fit", "max_length": 24})
    rows = corpus.read(asked, loaded.tokenizer).train[:5]
    assert len({len(row["input_ids"]) for row in rows}) > 1
    batch = encoder_decoder.collate(rows, 0)
    with torch.no_grad():
        found, _ = encoder_decoder.loss(loaded.model, batch)
        expected = 0.0
        for row in rows:
            source, target = torch.tensor(row["input_ids"])[None], torch.tensor(row["labels"])[None]
            expected += float(loaded.model(input_ids=source, labels=target).loss) * target.shape[1]
    assert float(found) == pytest.approx(expected, rel=1e-4)
    assert int(batch["count"]) == sum(len(row["labels"]) for row in rows)


def test_too_few_sentinels_are_told(bases: dict[str, Path], texts: Path) -> None:
    tokenizer = models.load_tokenizer(str(bases["encoder_decoder"]))
    with pytest.raises(UserError, match=r"a row needs up to 51 sentinels, and the tokenizer has 20 .*shorter"):
        span_corruption.sentinels_of(tokenizer, 51)
    with pytest.raises(UserError, match=r"the tokenizer has 0 .*; name a T5-like model"):
        span_corruption.sentinels_of(models.load_tokenizer(str(bases["decoder"])), 3)


# --- next token


@pytest.mark.parametrize("across", [None, True])
def test_documents_are_apart_unless_asked_for(across: bool | None, bases: dict[str, Path], texts: Path) -> None:
    loaded = models.load(str(bases["decoder"]))
    asked = recipe(bases["decoder"], texts, data={"attend_across_documents": across})
    rows = [corpus.read(asked, loaded.tokenizer).train[index] for index in range(4)]
    learning = next_token.learning(loaded.model, loaded.tokenizer, asked.data)
    batch = learning.collate(rows)
    plain = models.load(str(bases["decoder"])).model
    with torch.no_grad():
        found, _ = learning.loss(loaded.model, batch)
        expected, count = 0.0, 0
        for row in rows:
            parts = [row["input_ids"]] if across else np.split(row["input_ids"], row["starts"][1:])
            for ids in (torch.tensor(part)[None] for part in parts):
                expected += float(next_token_loss(plain(input_ids=ids).logits, ids))
                count += ids.shape[1] - 1
    assert float(found) == pytest.approx(expected, rel=1e-5) and int(batch["count"]) == count


def test_bits_per_byte_are_those_of_the_text(bases: dict[str, Path], tmp_path: Path) -> None:
    """One document of one row: the mean loss of its tokens, for each of its tokens, over its bytes."""
    text = "The silver fern grows: café."
    write_rows(tmp_path / "a.jsonl", [{"text": text}])
    write_rows(tmp_path / "b.jsonl", [{"text": SENTENCES[4]}])
    asked = recipe(bases["decoder"], tmp_path / "a.jsonl", tmp_path / "out", training={"max_steps": 1},
                   data={"max_length": 128, "general_validation_file": str(tmp_path / "b.jsonl")})  # fmt: skip
    cpt.run(asked)
    manifest = artifact.read(tmp_path / "out")
    assert manifest is not None
    for folder, prefix in ((bases["decoder"], "before_"), (tmp_path / "out", "eval_")):
        loaded = models.load(str(folder))
        for key, one in (("", text), ("general_", SENTENCES[4])):
            ids = torch.tensor([[*loaded.tokenizer(one)["input_ids"], loaded.tokenizer.eos_token_id]])
            with torch.no_grad():
                loss = float(loaded.model(input_ids=ids, labels=ids).loss)
            bits = loss * ids.shape[1] / np.log(2) / len(one.encode())
            assert manifest.metrics[f"{prefix}{key}loss"] == pytest.approx(loss, rel=1e-4)
            assert manifest.metrics[f"{prefix}{key}bits_per_byte"] == pytest.approx(bits, rel=1e-4)


# --- the stage


@pytest.mark.parametrize("adapter", [None, {"r": 8, "lora_alpha": 16}], ids=["full", "lora"])
@pytest.mark.parametrize("family", list(OBJECTIVES))
def test_each_family_learns_its_own_objective(
    family: str, adapter: Any, bases: dict[str, Path], texts: Path, tmp_path: Path
) -> None:
    training = {"max_steps": 30, "learning_rate": 1e-2, "per_device_train_batch_size": 8}
    asked = recipe(bases[family], texts, tmp_path / "out", adapter=adapter, training=training)
    assert asked.faults() == []
    cpt.run(asked)
    manifest = artifact.read(tmp_path / "out")
    assert manifest is not None
    found = manifest.metrics
    assert found["objective"] == OBJECTIVES[family] and found["eval_loss"] < found["before_loss"] - 0.3
    assert ("eval_bits_per_byte" in found) is (family == "decoder")
    head = corpus.HEADS[OBJECTIVES[family]]
    loaded = models.load(str(tmp_path / "out"), head=head)
    read = corpus.read(asked, loaded.tokenizer)
    learning = read.learning(loaded.model)
    near = 5e-3 if adapter else 1e-4  # under an adapter the base may have been bfloat16
    assert corpus.mean_loss(loaded.model, read.validation, learning, 4) == pytest.approx(found["eval_loss"], rel=near)


@pytest.mark.parametrize("family", list(OBJECTIVES))
def test_a_cut_run_goes_on_bit_for_bit(
    family: str, bases: dict[str, Path], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the end of an epoch, with noise that is new in each, and dropout."""
    training = {"num_train_epochs": 1.6, "save_steps": 2, "eval_steps": 4, "per_device_train_batch_size": 7}
    cpt.run(recipe(bases[family], texts, tmp_path / "whole", training=training))
    cut = cut_and_go_on(cpt, recipe(bases[family], texts, tmp_path / "cut", training=training), 3, monkeypatch)
    assert (cut / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    found, whole = artifact.read(cut), artifact.read(tmp_path / "whole")
    assert found is not None and whole is not None and found.metrics == whole.metrics
    assert found.metrics["steps"] > 6


@pytest.mark.parametrize("family", list(OBJECTIVES))
def test_micro_batches_are_the_big_batch(family: str, bases: dict[str, Path], texts: Path) -> None:
    """The gradient of one batch is that of its halves, weighed by what they count."""
    name = OBJECTIVES[family]
    loaded = models.load(str(bases[family]), head=corpus.HEADS[name])
    read = corpus.read(recipe(bases[family], texts, data={"packing": "best_fit"}), loaded.tokenizer)
    learning, rows = read.learning(loaded.model), [read.train[index] for index in range(6)]
    gradients = []
    for parts in ([rows], [rows[:1], rows[1:4], rows[4:]]):
        loaded.model.zero_grad()
        batches = [learning.collate(part) for part in parts]
        count = sum(int(batch["count"]) for batch in batches)
        for batch in batches:
            (learning.loss(loaded.model, batch)[0] / count).backward()
        gradients.append(
            {name: one.grad.clone() for name, one in loaded.model.named_parameters() if one.grad is not None}
        )
    assert len(gradients[0]) > 5
    for name, one in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], one, rtol=1e-3, atol=1e-6)


def test_samples_show_what_is_hidden_or_written(bases: dict[str, Path], texts: Path) -> None:
    shown = {
        family: cpt.samples(recipe(base, texts), models.load_tokenizer(str(base)), Counter())
        for family, base in bases.items()
    }
    (read, hidden, _), (told, ids, mask) = shown["encoder"][:2]
    assert (read, told) == ("row 1, read", "row 1, told")
    assert all(one == other for one, other, bit in zip(hidden, ids, mask, strict=True) if not bit)
    assert 0.1 < sum(mask) / len(ids) < 0.2
    assert [title for title, _, _ in shown["encoder_decoder"][:2]] == ["row 1, read", "row 1, written"]
    assert sum(not one for one in shown["decoder"][1][2]) >= 1


def test_mistakes_are_told_before_a_model_is_loaded(bases: dict[str, Path], texts: Path) -> None:
    def said(family: str, **data: Any) -> list[tuple[Any, str, str]]:
        return [(fault.key[-1], fault.what, fault.write) for fault in recipe(bases[family], texts, data=data).faults()]

    assert all(said(family) == said(family, objective=name) == [] for family, name in OBJECTIVES.items())
    assert said("decoder", objective="masked_tokens") == [
        ("objective", f"{bases['decoder']} is a decoder (GPT-like), and masked_tokens is for an encoder (BERT-like)",
         "write next_token, or leave it out")
    ]  # fmt: skip
    assert [one[1] for one in said("encoder_decoder", objective="next_token")] == [
        f"{bases['encoder_decoder']} is an encoder-decoder (T5-like), and next_token is for a decoder (GPT-like)"
    ]
    assert said("decoder", whole_word_mask=True, noise_density=0.2) == [
        ("whole_word_mask", "next_token has no whole_word_mask, which is masked_tokens's", "leave it out"),
        ("noise_density", "next_token has no noise_density, which is span_corruption's", "leave it out"),
    ]
    assert [one[1] for one in said("encoder", attend_across_documents=False)] == [
        "with packing: wrap the documents of an encoder's row see each other"
    ]
    assert [one[1] for one in said("encoder_decoder", attend_across_documents=True, packing="best_fit")] == [
        "with packing: best_fit the documents of an encoder-decoder's row do not see each other"
    ]
    assert said("encoder", attend_across_documents=True) == []
