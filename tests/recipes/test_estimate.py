"""Estimates against sizes worked out by hand, and the doctor's findings."""

import json
import struct
from pathlib import Path

import pytest

from recipes import doctor, estimate
from recipes.estimate import Shape
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
    monkeypatch.setattr(estimate, "has_gpu", lambda: False)
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    found = estimate.cost(recipe(max_steps=10), Shape(1_000_000, 100, 2, 1000))
    tokens = 2 * 512  # a batch; no max_length in this recipe
    assert found.memory == 4e6 + 12e6 + tokens * (34 * 2 * 100 * 2 + 12 * 1000) + 0.6e9
    assert found.seconds == pytest.approx(6 * 1e6 * 10 * tokens / (2 * 36e9))


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
