"""Documents that say the same in other words go; what goes is what comparing all with all would find."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep import filters
from data_prep.filters import semantic_duplicates
from data_prep.records import Document
from data_prep.stages import corpus
from recipes.errors import UserError

ENCODER = """
import numpy as np
def encode(texts, model):
    return np.array([[float(part) for part in text.split()] for text in texts])
def broken(texts, model):
    return [1.0 for _ in texts]
"""


@pytest.fixture
def encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "numbers_encoder.py").write_text(ENCODER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("numbers_encoder", None)
    return "numbers_encoder:encode"


def _documents(vectors: Any) -> list[Document]:
    return [
        Document(f"d{number}", " ".join(f"{value:.6f}" for value in vector), "s")
        for number, vector in enumerate(vectors)
    ]


def _settings(encoder: str, **keys: Any) -> semantic_duplicates.Settings:
    return semantic_duplicates.Settings(model="x", encoder=encoder, batch_size=7, **keys)


def _dropped(settings: semantic_duplicates.Settings, documents: list[Document]) -> dict[str, tuple[str, str]]:
    check = filters.fitted("semantic_duplicates", settings, documents)
    found = {document.id: check(document) for document in documents}
    return {name: (drop.reason, drop.detail) for name, drop in found.items() if drop}


def test_the_same_documents_go_as_when_all_are_compared_with_all(encoder: str) -> None:
    generator = np.random.default_rng(2)
    directions = generator.normal(size=(40, 8))
    vectors = directions[generator.integers(0, 40, 1300)] + generator.normal(size=(1300, 8)) * 0.15
    documents = _documents(vectors)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    expected = set()
    for number in range(len(unit)):
        best = max((float(unit[number] @ unit[other]) for other in kept), default=-1.0)
        if best >= 0.95:
            expected.add(f"d{number}")
        else:
            kept.append(number)
    found = _dropped(_settings(encoder, threshold=0.95, cluster_size=1300), documents)
    assert 100 < len(expected) < 1250
    # Sixteen-bit vectors are off by a thousandth: a pair that close to the threshold may fall on the other side.
    assert len(found.keys() ^ expected) <= 0.02 * len(documents)
    clustered = _dropped(_settings(encoder, threshold=0.95, cluster_size=60), documents)
    assert len(clustered.keys() & expected) > 0.85 * len(expected)


def test_the_first_of_two_stays_and_is_named(encoder: str) -> None:
    found = _dropped(_settings(encoder), _documents([[1, 0], [0, 1], [2, 0.001], [0, 3]]))
    assert found == {
        "d2": ("semantic_duplicate", "d0 has a cosine of 1.000"),
        "d3": ("semantic_duplicate", "d1 has a cosine of 1.000"),
    }


def test_nothing_goes_from_an_empty_or_a_single_document(encoder: str) -> None:
    assert _dropped(_settings(encoder), _documents([[1, 0]])) == {}
    assert filters.fitted("semantic_duplicates", _settings(encoder), [])(_documents([[1, 0]])[0]) is None


def test_in_the_stage_over_shards(encoder: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(40):
        vector = np.eye(20)[number % 20] * (number + 1)
        (tmp_path / "raw" / f"{number:02d}.txt").write_text(" ".join(map(str, vector)) + "\n" * 5000)
    recipe = corpus.Recipe(
        inputs=[{"path": str(tmp_path / "raw")}], output_dir=str(tmp_path / "out"), deduplicate=None,
        filters={"semantic_duplicates": {"model": str(tmp_path), "encoder": encoder}},
        engine={"shard_bytes": 2**16, "workers": 1}, split={"validation": 0, "test": 0},
    )  # fmt: skip
    corpus.run(recipe)
    assert len((tmp_path / "out" / "train.jsonl").read_text().splitlines()) == 20
    assert (tmp_path / "out" / "dropped.jsonl").read_text().count('"semantic_duplicate"') == 20


def test_an_encoder_that_gives_no_vectors(encoder: str) -> None:
    with pytest.raises(UserError) as caught:
        _dropped(_settings("numbers_encoder:broken"), _documents([[1, 0]]))
    assert str(caught.value) == (
        "filters.semantic_duplicates.encoder: numbers_encoder:broken gave (1,) for 1 texts, or no numbers; "
        "make it return one vector of finite numbers for each text"
    )


def test_a_transformers_encoder(tmp_path: Path) -> None:
    """Padding changes nothing, and the mean is that of the text's own tokens."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from finetune import text_encoder

    tokenizer = transformers.AutoTokenizer.from_pretrained("recipes/base/tuneloop-base-4m")
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2,
                                     num_attention_heads=2, intermediate_size=64)  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["One day a girl went out.", "A much longer text about a boy who had a red ball and lost it in the park."]
    both = text_encoder.encode(texts, str(tmp_path))
    alone = np.concatenate([text_encoder.encode([text], str(tmp_path)) for text in texts])
    assert both.shape == (2, 32)
    assert np.allclose(both, alone, atol=1e-5)
    ids = tokenizer(texts[0], return_tensors="pt")
    states = transformers.AutoModel.from_pretrained(tmp_path).eval()(**ids).last_hidden_state
    assert np.allclose(both[0], states[0].mean(0).detach().numpy(), atol=1e-5)
