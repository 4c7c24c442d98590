"""Estimates against sizes worked out by hand, and the doctor's findings."""

import json
import struct
from pathlib import Path

import pytest

from recipes import doctor, estimate, launching
from recipes.estimate import Setting, Shape, changes, data, needed, table
from recipes.load import load


@pytest.fixture
def model(workplace):
    """A model folder whose weights file says 1,000,000 parameters, without holding them."""
    Path("m").mkdir()
    Path("m/config.json").write_text(json.dumps({"hidden_size": 100, "num_hidden_layers": 2, "vocab_size": 1000}))
    entry = {"dtype": "F32", "data_offsets": [0, 0]}
    header = {"__metadata__": {"format": "pt"}, "a": {"shape": [999, 1000], **entry}, "b": {"shape": [1000], **entry}}
    encoded = json.dumps(header).encode()
    Path("m/model.safetensors").write_bytes(struct.pack("<Q", len(encoded)) + encoded)
    return Path("m")


def recipe(**training):
    values = {"stage": "novel", "output_dir": "runs/x", "model": {"model_name_or_path": "m"}}
    values["training"] = {"learning_rate": 1e-4, "per_device_train_batch_size": 2} | training
    Path("r.yaml").write_text(json.dumps(values))
    return load("r.yaml")


def test_the_header_tells_the_parameters(model):
    assert estimate.shape_of("m", {}) == Shape(1_000_000, 100, 2, 1000)
    Path("m/model.safetensors").unlink()
    assert estimate.shape_of("m", {}) == Shape(12 * 2 * 100**2 + 2 * 1000 * 100, 100, 2, 1000)


def test_an_earlier_steps_model_has_the_size_of_what_it_starts_from(model):
    assert estimate.shape_of("runs/b", {"runs/b": "runs/a", "runs/a": "m"}).parameters == 1_000_000
    assert estimate.shape_of("runs/c", {"runs/b": "m"}) is None


def test_memory_and_time_by_hand(model, monkeypatch):
    monkeypatch.setattr(launching, "gpus", lambda: 0)
    monkeypatch.setattr(table.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(doctor, "memory", lambda: (64 * 10**9, 32 * 10**9))
    found = estimate.cost(recipe(max_steps=10), Shape(1_000_000, 100, 2, 1000))
    tokens = 2 * 512  # a batch; no max_length in this recipe
    activations = 4 * tokens * 2 * (6 * 100 + 4 * 400 + 2 * 100 + 2 * 100)
    assert found.memory == 4e6 + 8e6 + 1.25 * (activations + 12 * 1000 * tokens) + 0.65e9
    assert found.seconds == pytest.approx(6 * 1e6 * 10 * tokens / (2 * 36e9))


SMALL = Shape(1_000_000, 100, 2, 1000)


def test_what_is_cut_into_shares_shrinks_by_the_number_of_processes():
    whole = needed(SMALL, Setting(64, 1_000_000))
    buckets = needed(SMALL, Setting(64, 1_000_000, processes=4))
    fsdp = needed(SMALL, Setting(64, 1_000_000, processes=4, shards=frozenset({"weights", "gradients", "optimizer"})))
    zero2 = needed(SMALL, Setting(64, 1_000_000, processes=4, shards=frozenset({"gradients", "optimizer"})))
    assert (whole.weights, whole.gradients, whole.optimizer, whole.buckets) == (4e6, 4e6, 8e6, 0)
    assert (buckets.weights, buckets.buckets) == (4e6, 4e6)
    assert (fsdp.weights, fsdp.gradients, fsdp.optimizer, fsdp.buckets) == (1e6, 1e6, 2e6, 0)
    assert (zero2.weights, zero2.gradients, zero2.optimizer) == (4e6, 1e6, 2e6)


def test_quantised_weights_and_eight_bit_states():
    lora = Setting(64, 10_000, adapter=True, rank=8, quantization="nf4", width=2)
    inside = 1_000_000 - 1000 * 100  # tied embeddings stay in two bytes
    assert needed(SMALL, lora).weights == pytest.approx(0.516 * inside + 2 * 100_000 + 4 * 10_000)
    assert needed(SMALL, Setting(64, 1_000_000, optim="adamw_bnb_8bit")).optimizer == 2e6
    # bfloat16 weights: float32 masters beside the two moments
    assert needed(SMALL, Setting(64, 1_000_000, width=2, trained_width=2)).optimizer == 12e6


def test_changes_are_ranked_keep_the_batch_and_lower_memory():
    large = Shape(1_000_000_000, 2048, 16, 100_000, 8192, 2048, 512)
    setting = Setting(6 * 2048, 1_000_000_000, on_gpu=True)
    now = needed(large, setting).peak
    budget = 0.75 * now
    found = changes.ranked(large, setting, 6, 2048, budget)
    assert [change.write.split(":")[0] for change in found] == [
        "training", "training.gradient_checkpointing", "training.activation_offloading", "training.optim",
        "model.quantization", "data.max_length",
    ]  # fmt: skip
    assert found[0].write.startswith("training: per_device_train_batch_size: 3, gradient_accumulation_steps: 2")
    assert found[0].memory.peak <= budget  # and not with 2: the largest that fits
    assert all(change.memory.peak < now for change in found)
    three = changes.best(found, budget)
    assert len(three) == 3 and all(change.memory.peak <= budget for change in three)
    assert changes.ranked(SMALL, Setting(64, 0), 1, 32, 1.0) == []  # nothing of it would be worth naming


def test_a_step_that_does_not_fit_is_said_with_figures(model, monkeypatch):
    monkeypatch.setattr(launching, "gpus", lambda: 0)
    monkeypatch.setattr(doctor, "memory", lambda: (10**9, 8 * 10**8))
    asked = recipe(max_steps=10, per_device_train_batch_size=512)
    lines = list(table.warnings("r", asked, Shape(1_000_000, 100, 2, 1000)))
    assert lines[0] == "r: will not fit: a step needs ~8.3 GB, and 0.7 GB are free for each process"
    assert lines[1].startswith("  training: per_device_train_batch_size: ")
    assert not list(table.warnings("r", recipe(max_steps=10, per_device_train_batch_size=1), SMALL))


def test_tokens_are_counted_where_they_are_known(workplace):
    Path("t").mkdir()
    Path("t/tokens.json").write_text(json.dumps({"shards": [{"tokens": 30}, {"tokens": 12}]}))
    assert data.tokens_in(Path("t"), None) == (42.0, "counted")
    Path("d.jsonl").write_text('{"text": "' + "word " * 400 + '"}\n')
    assert data.tokens_in(Path("d.jsonl"), None) == (Path("d.jsonl").stat().st_size / 4, "guessed")


def test_a_sample_of_rows_tells_the_tokens(workplace):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(["[UNK]", "word", "other"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    Path("m").mkdir()
    tokenizer.save("m/tokenizer.json")
    row = {"messages": [{"role": "user", "content": "word other"}, {"role": "assistant", "content": "word " * 18}]}
    Path("talks.jsonl").write_text((json.dumps(row) + "\n") * 5000)
    found, known = data.tokens_in(Path("talks.jsonl"), Path("m"))
    assert known == "sampled" and found == pytest.approx(5000 * 20, rel=0.001)


def test_unknown_stays_unknown(model):
    assert estimate.cost(recipe(), None).memory is None
    assert estimate.cost(recipe(), Shape(10, 1, 1, 1)).seconds is None


@pytest.mark.parametrize("seconds, text", [(0.2, "1 s"), (119, "119 s"), (180, "3.0 min"), (9000, "2.5 h")])
def test_duration(seconds, text):
    assert estimate.duration(seconds) == text


def test_doctor_finds_a_missing_library_and_a_shadowed_metric(workplace, monkeypatch):
    monkeypatch.setitem(doctor.TESTED, "no-such-library", "1.0")
    Path("accuracy").mkdir()
    Path("accuracy/accuracy.py").write_text("")
    monkeypatch.setenv("RANK", "0")
    found = {finding.what: finding for finding in doctor.findings()}
    assert found["no-such-library"].state == doctor.BROKEN
    assert found["shadowed metric"].said == "accuracy"
    assert found["RANK"].state == doctor.BROKEN
    assert doctor.report() == 1


def test_doctor_of_this_machine(workplace, capsys):
    assert doctor.report() == 0
    assert "torch" in capsys.readouterr().out
