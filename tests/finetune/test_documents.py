"""Rows of continued pretraining: the same from tokens as from texts; conversations apart; vocabularies extended."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.records import write_rows
from data_prep.stages import tokenizer as tokenizer_stage
from data_prep.stages import tokens
from data_prep.tokens.token_shards import TokenShards
from eval import contamination, lineage
from finetune import models, packing, vocabulary
from finetune.losses import next_token_loss
from finetune.stages import cpt, sft
from recipes import artifact
from recipes.errors import UserError

SENTENCES = (
    "The silver fern grows in the rock house.", "A <|end|> in the text, <|assistant|> too.",
    "Mara opens the door at nine, 12 times.", "Café 水", "The blue poppy blooms in June and wants water.",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents, and the same tokenised in several shards."""
    folder = tmp_path_factory.mktemp("documents")
    chooser = random.Random(1)
    texts = [" ".join(chooser.choices(SENTENCES, k=chooser.randint(1, 30))) for _ in range(300)]
    write_rows(folder / "a.jsonl", [{"id": f"d{n}", "text": text} for n, text in enumerate(texts)] + [{"text": ""}])
    tokens.run(
        tokens.Recipe(
            inputs=[str(folder / "a.jsonl")], tokenizer=str(tiny_model_dir), output_dir=str(folder / "tokens"),
            engine={"workers": 1, "shard_bytes": 2**16},
        )
    )  # fmt: skip
    assert len(TokenShards(folder / "tokens").about["shards"]) > 1
    return folder


def _recipe(model: Path, train: Path, **keys: Any) -> cpt.Recipe:
    data = {"train_file": str(train), **keys.pop("data", {})}
    values = {"output_dir": str(train.parent / "out"), "model": {"model_name_or_path": str(model)},
              "training": {"learning_rate": 1e-3}, "data": data}  # fmt: skip
    return cpt.Recipe(**{**values, **keys})


@pytest.mark.parametrize("length", [16, 100])
@pytest.mark.parametrize("packed", ["wrap", "best_fit"])
def test_rows_from_tokens_are_those_from_texts(tiny_model_dir: Path, folder: Path, length: int, packed: str) -> None:
    """One tokenising serves every length and packing."""
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    data = {"max_length": length, "packing": packed}
    from_texts, from_tokens = (
        cpt.training_rows(_recipe(tiny_model_dir, folder / name, data=data), tokenizer)
        for name in ("a.jsonl", "tokens")
    )
    assert len(from_texts) == len(from_tokens) > 10
    for one, other in zip(from_texts, from_tokens, strict=True):
        assert one["input_ids"].tolist() == other["input_ids"].tolist()
        assert one["starts"].tolist() == other["starts"].tolist()
    assert packing.token_count(from_tokens) == sum(len(row["input_ids"]) for row in from_tokens)


def test_wrapped_rows_are_those_of_transformers_own_reading(tiny_model_dir: Path, folder: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    texts = [json.loads(line)["text"] for line in (folder / "a.jsonl").read_text().splitlines()][:-1]
    random.Random(42).shuffle(texts)
    ids = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    expected = packing.wrap(ids, tokenizer.eos_token_id, 64)
    rows = cpt.training_rows(_recipe(tiny_model_dir, folder / "tokens", data={"max_length": 64}), tokenizer)
    assert [row["input_ids"].tolist() for row in rows] == [row["input_ids"] for row in expected]
    for row in rows:
        ends = [place + 1 for place, token in enumerate(row["input_ids"][:-1]) if token == tokenizer.eos_token_id]
        assert row["starts"].tolist() == [0, *ends]


def test_a_document_is_found_in_its_rows(tiny_model_dir: Path, folder: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    rows = cpt.training_rows(_recipe(tiny_model_dir, folder / "tokens", data={"max_length": 32}), tokenizer)
    shards = TokenShards(folder / "tokens")
    (document,) = shards.find("d17")
    found = [token for row in rows.plan.rows_of(document) for token in rows[row]["input_ids"].tolist()]  # type: ignore[attr-defined]
    own = shards[document].tolist()
    assert any(found[place : place + len(own)] == own for place in range(len(found)))


def test_training_on_tokens_is_training_on_texts(tiny_model_dir: Path, folder: Path) -> None:
    """Through the stage, with validation: same weights, same metrics."""
    metrics = []
    for name in ("a.jsonl", "tokens"):
        recipe = _recipe(
            tiny_model_dir, folder / name, output_dir=str(folder / f"out-{name}"),
            data={"max_length": 32, "validation_file": str(folder / name), "replay_file": str(folder / name)},
            training={"learning_rate": 1e-3, "max_steps": 3, "per_device_eval_batch_size": 64},
        )  # fmt: skip
        assert recipe.faults() == []
        cpt.run(recipe)
        found = artifact.read(recipe.output_dir)
        assert found is not None
        metrics.append((found.files["model.safetensors"], found.metrics["train_tokens"], found.metrics["eval_loss"]))
    assert metrics[0] == metrics[1]


def test_evaluation_finds_the_texts_behind_tokens(tiny_model_dir: Path, folder: Path, extended: Path) -> None:
    (folder / "more").mkdir(exist_ok=True)
    write_rows(folder / "more" / "b.jsonl", [{"id": "b", "text": "The moon lily is sandy."}])
    tokens.run(
        tokens.Recipe(inputs=[str(folder / "a.jsonl"), str(folder / "more")], tokenizer=str(extended),
                      output_dir=str(folder / "both"), engine={"workers": 1})
    )  # fmt: skip
    recipe = _recipe(tiny_model_dir, folder / "both", tokenizer=str(extended), output_dir=str(folder / "seen"),
                     data={"max_length": 32}, training={"learning_rate": 1e-3, "max_steps": 1})  # fmt: skip
    cpt.run(recipe)
    found = lineage.training_files(recipe.output_dir)
    assert [(file.stage, file.path) for file in found] == [
        ("cpt", folder / "a.jsonl"), ("cpt", folder / "more" / "b.jsonl"),
    ]  # fmt: skip
    hits, missing = contamination.search({"task": [("x", "The moon lily is sandy.")]}, {"seen": found})
    assert [hit.file for hit in hits] == [f"{folder}/more/b.jsonl"] and missing == []


def test_tokens_of_another_tokenizer_are_refused_before_a_model_is_loaded(tmp_path: Path, folder: Path) -> None:
    other = Path("recipes/base/tuneloop-base-4m")
    (fault,) = _recipe(other, folder / "tokens").faults()
    assert fault.key == ("data", "train_file")
    assert fault.what == f"{folder}/tokens was tokenised with another tokenizer than that of {other}"
    with pytest.raises(UserError, match="tokenised with another tokenizer"):
        cpt.training_rows(_recipe(other, folder / "tokens"), models.load_tokenizer(str(other)))


def test_another_end_of_text_is_refused(tiny_model_dir: Path, folder: Path) -> None:
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    tokenizer.eos_token = "<|user|>"
    with pytest.raises(UserError, match=r"its documents end with '<\|end\|>', those of the model with '<\|user\|>'"):
        cpt.training_rows(_recipe(tiny_model_dir, folder / "tokens"), tokenizer)


def test_a_folder_without_tokens_and_rows_beyond_the_context_are_faults(tiny_model_dir: Path, folder: Path) -> None:
    (folder / "bare").mkdir(exist_ok=True)
    recipe = _recipe(tiny_model_dir, folder / "bare", data={"max_length": 300})
    assert [fault.what for fault in recipe.faults()] == [
        f"{folder}/bare is a folder without tokenised documents (no tokens.json)",
        "300 is more than the model's context of 256 tokens",
    ]
    with pytest.raises(ValueError, match="greater than or equal to 16"):
        _recipe(tiny_model_dir, folder / "tokens", data={"max_length": 15})


@pytest.mark.parametrize("base", ["recipes/base/tuneloop-base-4m"])
def test_the_fingerprint_survives_transformers(base: str, tmp_path: Path) -> None:
    from data_prep.tokens import tokenization
    from finetune.documents import backend

    raw = tokenization.fingerprint(tokenization.load(base))
    tokenizer = models.load_tokenizer(base)
    assert tokenization.fingerprint(backend(tokenizer)) == raw
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=8)  # leaves its settings in the backend
    tokenizer.save_pretrained(tmp_path)
    assert tokenization.fingerprint(tokenization.load(str(tmp_path))) == raw


# --- conversations in one row


def _conversations(count: int) -> list[dict[str, Any]]:
    chooser = random.Random(2)
    rows = []
    for _ in range(count):
        length = chooser.randint(4, 40)
        rows.append({"input_ids": [chooser.randrange(5, 300) for _ in range(length)],
                     "mask": [int(place > length // 2) for place in range(length)]})  # fmt: skip
    return rows


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("everything", [False, True])
def test_packed_conversations_have_the_loss_of_single_ones(
    tiny_model_dir: Path, attention: str, everything: bool
) -> None:
    model = models.load(str(tiny_model_dir), attn_implementation=attention).model
    single = _conversations(20)
    if everything:
        single = [{**row, "mask": [1] * len(row["mask"])} for row in single]
    rows = packing.pack_conversations(single, 64)
    assert len(rows) < 12 and max(len(row["input_ids"]) for row in rows) <= 64
    together = packing.collate_packed(rows)
    with torch.no_grad():
        logits = model(input_ids=together["input_ids"], position_ids=together["position_ids"], use_cache=False).logits
        apart = [packing.collate_tokens([row]) for row in single]
        expected = sum(
            float(next_token_loss(model(input_ids=one["input_ids"], use_cache=False).logits, one["labels"]))
            for one in apart
        )
    assert float(next_token_loss(logits, together["labels"])) == pytest.approx(expected, rel=1e-5)
    assert int(together["count"]) == sum(int(one["count"]) for one in apart)


def test_a_packed_step_of_fine_tuning_is_a_step_on_single_conversations(tiny_model_dir: Path, tmp_path: Path) -> None:
    """All rows in one batch: same loss on the validation rows, same weights after the step but for rounding."""
    rows = [{"prompt": f"How is plant {n}?", "completion": "It grows well. " * (n % 5 + 1)} for n in range(12)]
    write_rows(tmp_path / "a.jsonl", rows)
    weights, metrics = [], []
    for packed in (False, True):
        recipe = sft.Recipe(
            output_dir=str(tmp_path / f"out-{packed}"), model={"model_name_or_path": str(tiny_model_dir)},
            data={"train_file": str(tmp_path / "a.jsonl"), "validation_file": str(tmp_path / "a.jsonl"),
                  "max_length": 160, "packing": packed},
            training={"learning_rate": 1e-3, "max_steps": 1, "per_device_train_batch_size": 12, "optim": "sgd",
                      "warmup_ratio": 0.0},
        )  # fmt: skip
        assert recipe.faults() == []
        sft.run(recipe)
        found = artifact.read(recipe.output_dir)
        assert found is not None
        metrics.append(found.metrics)
        weights.append(models.load(recipe.output_dir).model.state_dict())
    assert metrics[1]["packed_rows"] < 12 and metrics[1]["eval_loss"] == pytest.approx(
        metrics[0]["eval_loss"], rel=1e-5
    )
    assert metrics[1]["eval_accuracy"] == metrics[0]["eval_accuracy"]
    before = models.load(str(tiny_model_dir)).model.state_dict()
    for name, one in weights[0].items():
        torch.testing.assert_close(weights[1][name], one, rtol=1e-5, atol=1e-7)
    assert any(not torch.equal(one, before[name]) for name, one in weights[0].items())


def test_positions_begin_anew_by_hand() -> None:
    assert packing.position_ids([0, 3, 4], 6).tolist() == [0, 1, 2, 0, 0, 1]
    rows = [
        {"input_ids": [1, 2, 3], "mask": [1, 1, 1], "starts": [0, 2]},
        {"input_ids": [4], "mask": [1], "starts": [0]},
    ]
    batch = packing.collate_packed(rows)
    filled = 12  # up to a multiple of 16, by a document that counts nothing
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4] + [0] * filled] and int(batch["tokens"]) == 4
    assert batch["position_ids"].tolist() == [[0, 1, 0, 0, *range(filled)]]
    assert batch["labels"].tolist() == [[-100, 2, -100, -100] + [-100] * filled]
    assert batch["cu_seq_lens_q"].tolist() == [0, 2, 3, 4, 16] and batch["max_length_q"] == filled
    assert (batch["target_index"].tolist(), batch["target_ids"].tolist(), int(batch["count"])) == ([0], [2], 1)
    padded = packing.collate_tokens(rows)
    assert padded["input_ids"].tolist() == [[1, 2], [3, 0], [4, 0]] and int(padded["tokens"]) == 4
    assert (padded["target_index"].tolist(), padded["target_ids"].tolist(), int(padded["count"])) == ([0], [2], 1)


def test_packing_keeps_every_conversation_whole() -> None:
    single = _conversations(200)
    rows = packing.pack_conversations(single, 64)
    found = []
    for row in rows:
        edges = [*row["starts"].tolist(), len(row["input_ids"])]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            found.append((tuple(row["input_ids"][start:stop].tolist()), tuple(row["mask"][start:stop].tolist())))
    assert sorted(found) == sorted((tuple(row["input_ids"]), tuple(row["mask"])) for row in single)
    assert sum(map(len, (row["input_ids"] for row in single))) / (64 * len(rows)) > 0.97


# --- a vocabulary that grows


@pytest.fixture(scope="module")
def extended(folder: Path, tiny_model_dir: Path) -> Path:
    tokenizer_stage.run(
        tokenizer_stage.Recipe(
            inputs=[str(folder / "a.jsonl")], extend=str(tiny_model_dir), new_tokens=20, min_count=10,
            output_dir=str(folder / "extended"),
        )
    )  # fmt: skip
    return folder / "extended"


@pytest.mark.parametrize("tied", [True, False])
def test_new_rows_are_the_mean_of_their_pieces(tiny_model_dir: Path, extended: Path, tied: bool) -> None:
    loaded = models.load(str(tiny_model_dir))
    model = loaded.model
    if not tied:
        model.config.tie_word_embeddings = False
        model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    before = [
        model.get_input_embeddings().weight.detach().clone(),
        model.get_output_embeddings().weight.detach().clone(),
    ]
    vocabulary.extend(loaded, models.load_tokenizer(str(extended)), str(extended))
    after = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    assert (after[0].data_ptr() == after[1].data_ptr()) is tied
    for old, new in zip(before, after, strict=True):
        assert torch.equal(new[: len(old)], old) and len(new) == len(loaded.tokenizer) == len(old) + 20
        for entry in vocabulary.read(extended)["tokens"]:
            torch.testing.assert_close(new[entry["id"]], old[entry["pieces"]].mean(0))


def test_spare_rows_are_used_before_new_ones_are_made(tiny_model_dir: Path, extended: Path) -> None:
    model = models.load(str(tiny_model_dir)).model
    model.resize_token_embeddings(512, mean_resizing=False)
    pieces = {entry["id"]: entry["pieces"] for entry in vocabulary.read(extended)["tokens"]}
    vocabulary.add_rows(model, 420, pieces)
    weight = model.get_input_embeddings().weight
    assert len(weight) == 512
    number, parts = next(iter(pieces.items()))
    torch.testing.assert_close(weight[number], weight[parts].mean(0))


MEDICAL = (
    "Symptoms of the syndrome are fever and a headache.", "The disease is inherited from both parents.",
    "Treatment with antibiotics can help the patient.", "Doctors measure the blood pressure of the patient.",
    "Insulin is a hormone that the pancreas makes.", "The syndrome affects the kidneys and the pancreas.",
)  # fmt: skip


def _first_loss(loaded: models.Loaded, texts: list[str]) -> float:
    """Nats a letter, so that tokenizers can be compared."""
    total = 0.0
    with torch.no_grad():
        for text in texts:
            ids = loaded.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            total += float(next_token_loss(loaded.model(input_ids=ids, use_cache=False).logits, ids))
    return total / sum(map(len, texts))


def test_a_trained_model_starts_better_from_means_than_from_noise(tmp_path: Path) -> None:
    base = "recipes/base/tuneloop-base-4m"
    chooser = random.Random(4)
    texts = [" ".join(chooser.choices(MEDICAL, k=4)) for _ in range(40)]
    write_rows(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    tokenizer_stage.run(
        tokenizer_stage.Recipe(inputs=[str(tmp_path / "a.jsonl")], extend=base, new_tokens=60, min_count=20,
                               output_dir=str(tmp_path / "extended"))
    )  # fmt: skip
    tokenizer = models.load_tokenizer(str(tmp_path / "extended"))
    losses = {}
    for name in ("means", "transformers", "noise 1", "noise 2", "noise 3"):
        loaded = models.load(base)
        rows = loaded.model.get_input_embeddings().weight.shape[0]
        if name == "transformers":  # near the mean of all tokens
            loaded.model.resize_token_embeddings(len(tokenizer))
            loaded.tokenizer = tokenizer
        else:
            vocabulary.extend(loaded, tokenizer, str(tmp_path / "extended"))
        if name.startswith("noise"):
            torch.manual_seed(int(name[-1]))
            with torch.no_grad():
                loaded.model.get_input_embeddings().weight[rows:].normal_(std=loaded.model.config.initializer_range)
        losses[name] = _first_loss(loaded, texts)
    assert losses["means"] < losses["transformers"] - 0.05
    assert losses["means"] < sum(losses[f"noise {seed}"] for seed in (1, 2, 3)) / 3 - 0.005


def test_training_with_the_extended_vocabulary(tiny_model_dir: Path, folder: Path, extended: Path) -> None:
    recipe = _recipe(tiny_model_dir, folder / "a.jsonl", tokenizer=str(extended), output_dir=str(folder / "grown"),
                     data={"max_length": 32}, training={"learning_rate": 1e-3, "max_steps": 2})  # fmt: skip
    assert recipe.faults() == []
    cpt.run(recipe)
    loaded = models.load(str(folder / "grown"))
    assert loaded.model.config.vocab_size == len(loaded.tokenizer) == 420
    assert loaded.tokenizer.chat_template == models.load_tokenizer(str(tiny_model_dir)).chat_template


def test_what_cannot_be_extended_is_a_fault(tiny_model_dir: Path, folder: Path, extended: Path) -> None:
    def said(model: Path | str = tiny_model_dir, tokenizer: Path = extended, **keys: Any) -> list[str]:
        recipe = _recipe(Path(model), folder / "a.jsonl", tokenizer=str(tokenizer), data={"max_length": 32}, **keys)
        return [fault.what for fault in recipe.faults() if fault.key == ("tokenizer",)]

    assert said() == []
    assert said(adapter={}) == []  # its rows are trained along
    assert said(tokenizer=tiny_model_dir) == [f"{tiny_model_dir} extends no vocabulary (it has no new_tokens.json)"]
    base = "recipes/base/tuneloop-base-4m"
    assert said(model=base) == [f"{extended} extends another vocabulary than that of {base}"]
