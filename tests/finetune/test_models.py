"""One loader for every head; freezing; what is written comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from finetune import freezing, models
from finetune.bases import adapter_settings
from recipes.errors import UserError
from recipes.sections import Adapter, Freeze, Model
from tests.conftest import SENTENCES
from tests.finetune.tiny_families import build_tiny_encoder

LORA: dict[str, Any] = {"r": 4, "lora_alpha": 8}
LABELS = ["anger", "joy", "sorrow"]
TASKS = {"sequence_classification": "SEQ_CLS", "token_classification": "TOKEN_CLS"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_encoder(tmp_path_factory.mktemp("encoder") / "model", SENTENCES * 3)


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path) -> Path:
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("t5") / "model"
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    config = T5Config(vocab_size=400, decoder_start_token_id=0, pad_token_id=0, dropout_rate=0.0, **shape)
    models.save(T5ForConditionalGeneration(config), models.load_tokenizer(str(tiny_model_dir)), folder)
    return folder


def outputs(model: Any, ids: torch.Tensor, **inputs: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits
    return found


def learn(model: Any, ids: torch.Tensor, targets: torch.Tensor, steps: int = 15, **inputs: Any) -> list[float]:
    model.train()
    optimizer, losses = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=2e-2), []
    for _ in range(steps):
        found = model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits
        loss = cross_entropy(found.flatten(0, -2), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


SECTIONS: dict[str, dict[str, Any] | None] = {
    "full": None,
    "lora": LORA,
    "ia3": {"peft_type": "ia3"},
    "prompt": {"peft_type": "prompt_tuning", "num_virtual_tokens": 3},
}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("base", ["encoder", "decoder"])
@pytest.mark.parametrize("head", TASKS)
def test_classifiers_come_back_with_their_head_and_labels(
    head: Any, base: str, section: str, encoder: Path, tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = encoder if base == "encoder" else tiny_model_dir
    torch.manual_seed(0)
    loaded = models.load_for(Model(model_name_or_path=str(folder)), head, labels=LABELS)
    values = SECTIONS[section]
    models.add_adapter(loaded, None if values is None else Adapter(**values))
    ids = torch.randint(5, 60, (4, 7), generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 2, 1]) if head == "sequence_classification" else ids % 3
    losses = learn(loaded.model, ids, targets)
    assert min(losses[1:]) < losses[0]
    trained = outputs(loaded.model, ids)
    assert trained.shape == ((4, 3) if head == "sequence_classification" else (4, 7, 3))
    models.save(loaded.model, loaded.tokenizer, tmp_path / "out")
    again = models.load(str(tmp_path / "out"), head=head)
    assert torch.equal(outputs(again.model, ids), trained)
    assert list(again.model.config.id2label.values()) == LABELS
    if values is not None:
        assert adapter_settings(tmp_path / "out")["task_type"] == TASKS[head]
        # To go on from it: the head goes on too.
        going = models.load_for(Model(model_name_or_path=str(tmp_path / "out")), head, labels=LABELS)
        models.add_adapter(going, Adapter(**values))
        assert torch.equal(outputs(going.model, ids), trained)
        names = {name for name, one in going.model.named_parameters() if one.requires_grad}
        assert names == {name for name, one in loaded.model.named_parameters() if one.requires_grad}
        with pytest.raises(UserError, match=r"an adapter for (SEQ|TOKEN)_CLS, not for|writes no text"):
            models.load(str(tmp_path / "out"), head="masked" if base == "encoder" else "causal")


def test_several_labels_at_once_are_remembered(tiny_model_dir: Path, tmp_path: Path) -> None:
    recipe = Model(model_name_or_path=str(tiny_model_dir))
    for name, adapter in (("whole", None), ("adapter", Adapter(**LORA))):
        loaded = models.load_for(recipe, "sequence_classification", labels=LABELS, multi_label=True)
        models.add_adapter(loaded, adapter)
        models.save(loaded.model, loaded.tokenizer, tmp_path / name)
        again = models.load(str(tmp_path / name), head="sequence_classification")
        assert again.model.config.problem_type == "multi_label_classification"
        assert again.model.config.num_labels == 3


def test_a_chat_adapter_becomes_a_classifier(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A and B are carried over, the head is new; on top of them nothing else changes."""
    chat = models.load_for(Model(model_name_or_path=str(tiny_model_dir)))
    models.add_adapter(chat, Adapter(**LORA))
    ids = torch.randint(5, 60, (4, 7))
    learn(chat.model, ids, ids)
    models.save(chat.model, chat.tokenizer, tmp_path / "chat")
    loaded = models.load_for(Model(model_name_or_path=str(tmp_path / "chat")), "sequence_classification", labels=LABELS)
    models.add_adapter(loaded, Adapter())
    wanted = {name: one for name, one in chat.model.named_parameters() if ".lora_" in name}
    found = {name: one for name, one in loaded.model.named_parameters() if ".lora_" in name}
    assert wanted.keys() == found.keys() and all(torch.equal(wanted[name], one) for name, one in found.items())
    assert all(one.requires_grad for one in found.values())
    with pytest.raises(UserError, match="an adapter for CAUSAL_LM, not for sequence_classification"):
        models.load(str(tmp_path / "chat"), head="sequence_classification")


def test_masked_and_seq2seq_models_with_adapters(encoder: Path, t5: Path, tmp_path: Path) -> None:
    ids = torch.randint(5, 60, (2, 7), generator=torch.Generator().manual_seed(1))
    cases: list[tuple[Any, Path, dict[str, Any], dict[str, Any]]] = [
        ("masked", encoder, LORA, {}),
        ("masked", encoder, {"peft_type": "ia3"}, {}),
        ("seq2seq", t5, LORA, {"decoder_input_ids": ids}),
        ("seq2seq", t5, {"peft_type": "ia3"}, {"decoder_input_ids": ids}),
        ("seq2seq", t5, {"peft_type": "prompt_tuning", "num_virtual_tokens": 3}, {"decoder_input_ids": ids}),
    ]
    for number, (head, folder, section, inputs) in enumerate(cases):
        base = outputs(models.load(str(folder), head=head).model, ids, **inputs)
        loaded = models.load_for(Model(model_name_or_path=str(folder)), head)
        models.add_adapter(loaded, Adapter(**section))
        if "num_virtual_tokens" not in section:
            assert torch.equal(outputs(loaded.model, ids, **inputs), base)
        losses = learn(loaded.model, ids, ids, **inputs)
        assert min(losses[1:]) < losses[0]
        trained = outputs(loaded.model, ids, **inputs)
        assert trained.shape == base.shape and (trained - base).abs().max() > 1e-3
        models.save(loaded.model, loaded.tokenizer, tmp_path / str(number))
        assert torch.equal(outputs(models.load(str(tmp_path / str(number)), head=head).model, ids, **inputs), trained)


def test_virtual_tokens_of_an_encoder_are_as_many_as_asked_for(t5: Path) -> None:
    """Padding changes nothing, and the embeddings that peft itself makes of ids and prompt give the same."""
    ids = torch.randint(5, 60, (2, 7), generator=torch.Generator().manual_seed(1))
    loaded = models.load_for(Model(model_name_or_path=str(t5)), "seq2seq")
    models.add_adapter(loaded, Adapter(peft_type="prompt_tuning", num_virtual_tokens=3))
    model = loaded.model.eval()
    named = {"decoder_input_ids": ids[:, :4], "use_cache": False}
    plain = model(input_ids=ids, **named).logits
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[:, 7:] = 0
    padded = model(input_ids=torch.nn.functional.pad(ids, (0, 2)), attention_mask=mask, **named).logits
    torch.testing.assert_close(padded, plain, atol=1e-5, rtol=0)
    encoder = model.get_base_model().get_encoder()
    wanted = torch.cat([model.get_prompt(batch_size=2)[:, :3], encoder.get_input_embeddings()(ids)], 1)
    with model.disable_adapter():
        states = encoder(inputs_embeds=wanted).last_hidden_state
    assert torch.allclose(encoder(input_ids=ids).last_hidden_state, states[:, 3:], atol=1e-6)


def trained_names(folder: Path, section: dict[str, Any], head: Any = "causal", **keys: Any) -> set[str]:
    model = models.load_for(Model(model_name_or_path=str(folder), freeze=Freeze(**section)), head, **keys).model
    names = {name for name, one in model.named_parameters() if one.requires_grad}
    assert freezing.trainable_parameters(model) == sum(
        one.numel() for name, one in model.named_parameters() if name in names
    )
    return names


def test_freezing_by_layers_names_and_embeddings(tiny_model_dir: Path, encoder: Path, t5: Path) -> None:
    every = {name for name, _ in models.load(str(tiny_model_dir)).model.named_parameters()}
    second = {name for name in every if ".layers.1." in name}
    assert trained_names(tiny_model_dir, {"layers": "0"}) == {name for name in every if ".layers.0." not in name}
    assert trained_names(tiny_model_dir, {"layers": [0], "embeddings": True}) == second | {"model.norm.weight"}
    assert trained_names(tiny_model_dir, {"modules": [r".*"], "unfreeze": [r"layers\.1\."]}) == second
    assert trained_names(tiny_model_dir, {"layers": "0-1", "unfreeze": ["norm"]}) == {
        name for name in every if ".layers." not in name or "norm" in name
    }
    found = trained_names(encoder, {"layers": "0-1", "embeddings": True}, "sequence_classification", labels=LABELS)
    assert {"classifier.weight", "bert.pooler.dense.weight"} <= found and not any(".layer." in name for name in found)
    found = trained_names(t5, {"layers": [0]}, "seq2seq")
    assert (
        found and not any(".block.0." in name for name in found) and any("decoder.block.1." in name for name in found)
    )


def test_frozen_weights_stay_and_the_rest_learns(tiny_model_dir: Path) -> None:
    loaded = models.load_for(Model(model_name_or_path=str(tiny_model_dir), freeze=Freeze(layers="0", embeddings=True)))
    before = {name: one.detach().clone() for name, one in loaded.model.named_parameters()}
    ids = torch.randint(5, 60, (2, 7))
    learn(loaded.model, ids, ids, 3)
    for name, one in loaded.model.named_parameters():
        frozen = ".layers.0." in name or "embed_tokens" in name
        assert torch.equal(one, before[name]) is frozen, name


@pytest.mark.parametrize(
    "section, what",
    [
        ({"modules": [".*"]}, "model.freeze: nothing is left to train"),
        ({"layers": "1-2"}, "model.freeze.layers: there is no layer 2; the model's layers are 0 to 1"),
        ({"modules": ["zzz"]}, "model.freeze.modules: 'zzz' meets no parameter"),
        ({"embeddings": True, "unfreeze": ["zzz"]}, "model.freeze.unfreeze: 'zzz' meets no parameter"),
    ],
)
def test_what_cannot_be_frozen(section: dict[str, Any], what: str, tiny_model_dir: Path) -> None:
    with pytest.raises(UserError, match=what):
        models.load_for(Model(model_name_or_path=str(tiny_model_dir), freeze=Freeze(**section)))


def test_layers_are_numbers_and_ranges() -> None:
    assert Freeze(layers="0-2, 5").layer_numbers() == {0, 1, 2, 5}
    assert Freeze(layers=[3]).layer_numbers() == {3}
    for section in ({"layers": "first"}, {"layers": ""}, {"modules": ["("]}):
        with pytest.raises(ValueError, match=r"names no layers|is no regular expression"):
            Freeze(**section)
