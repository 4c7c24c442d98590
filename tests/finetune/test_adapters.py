"""Adapters: they start as the base, learn, come back the same from disk, and merge; whatever their kind."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import cross_entropy

from finetune import adapters, generate, models, optimizers, precision, vocabulary
from recipes import model_faults
from recipes.errors import UserError
from recipes.load import RecipeError
from recipes.load import load as load_recipe
from recipes.sections import Adapter, Generation, Model, Training
from tests.finetune.tiny_adapters import IDS, LORA, logits, train

KINDS: dict[str, dict[str, Any]] = {
    "lora": LORA,
    "rslora": LORA | {"use_rslora": True},
    "dora": LORA | {"use_dora": True},
    "gaussian": LORA | {"init_lora_weights": "gaussian"},
    "orthogonal": LORA | {"init_lora_weights": "orthogonal"},
    "pissa": LORA | {"init_lora_weights": "pissa"},
    "pissa, quick, rslora": LORA | {"init_lora_weights": "pissa_niter_4", "use_rslora": True},
    "pissa, ranks": LORA
    | {"init_lora_weights": "pissa", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 6}},
    "olora": LORA | {"init_lora_weights": "olora"},
    "one layer": LORA | {"layers_to_transform": [1]},
    "some modules": LORA | {"target_modules": ["q_proj", "down_proj"], "exclude_modules": ["layers.0.mlp.down_proj"]},
    "whole output": LORA | {"modules_to_save": ["lm_head"]},
    "ia3": {"peft_type": "ia3"},
    "prompt": {"peft_type": "prompt_tuning", "num_virtual_tokens": 4},
    "prompt with text": {"peft_type": "prompt_tuning", "num_virtual_tokens": 4, "prompt_tuning_init_text": "Mara Holm"},
}
PROMPTS = ("prompt", "prompt with text")


def fresh(folder: Path, section: dict[str, Any], **keys: Any) -> models.Loaded:
    torch.manual_seed(1)
    loaded = models.load_for(Model(model_name_or_path=str(folder), **keys))
    models.add_adapter(loaded, Adapter(**section))
    return loaded


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_starts_at_the_base_learns_and_comes_back(kind: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    base = logits(models.load(str(tiny_model_dir)).model)
    loaded = fresh(tiny_model_dir, KINDS[kind])
    model = loaded.model
    moved = Adapter(**KINDS[kind]).moves_base
    if kind not in PROMPTS:
        torch.testing.assert_close(logits(model), base, atol=2e-6, rtol=0)
    inner = model.get_base_model()
    before = {name: one.detach().clone() for name, one in inner.named_parameters() if not one.requires_grad}
    assert len(before) >= 20
    losses = train(model, rate=0.1 if kind in ("ia3", *PROMPTS) else 2e-2)
    assert losses[-1] < losses[0] - (0.01 if kind in ("ia3", *PROMPTS) else 0.1)
    after = dict(inner.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    if not moved:
        with model.disable_adapter():
            assert torch.equal(logits(model), base)

    trained = logits(model)
    models.save(model, loaded.tokenizer, tmp_path / "out")
    again = models.load(str(tmp_path / "out")).model
    # PiSSA and OLoRA are written for the original base: the same sum in another order.
    torch.testing.assert_close(logits(again), trained, atol=5e-6 if moved else 0, rtol=0)
    if kind not in PROMPTS:
        torch.testing.assert_close(logits(again.merge_and_unload()), trained, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["pissa", "pissa, quick, rslora", "olora", "dora"])
def test_a_resumed_run_makes_the_same_first_values(kind: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    """A checkpoint holds A and B only; what was taken out of the base is found again from base and seed."""
    whole = fresh(tiny_model_dir, KINDS[kind])
    train(whole.model, 3)
    whole.model.save_pretrained(tmp_path / "checkpoint")
    resumed = fresh(tiny_model_dir, KINDS[kind])
    resumed.model.load_adapter(tmp_path / "checkpoint", "default", is_trainable=True)
    assert torch.equal(logits(resumed.model), logits(whole.model))
    assert train(resumed.model, 3) == train(whole.model, 3)
    models.save(whole.model, whole.tokenizer, tmp_path / "whole")
    models.save(resumed.model, resumed.tokenizer, tmp_path / "resumed")
    files = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("whole", "resumed")]
    assert files[0] == files[1]


def test_what_pissa_writes_is_twice_the_rank_by_hand(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    name = "base_model.model.q.lora_{}.weight"
    now = {name.format("A"): torch.tensor([[1.0, 2.0]]), name.format("B"): torch.tensor([[3.0], [4.0]])}
    first = {name.format("A"): torch.tensor([[1.0, 0.0]]), name.format("B"): torch.tensor([[1.0], [1.0]])}
    save_file(now, tmp_path / "adapter_model.safetensors")
    settings = {
        "r": 1,
        "lora_alpha": 8,
        "use_rslora": False,
        "init_lora_weights": "pissa",
        "base_model_name_or_path": "b",
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    adapters.to_plain_lora(tmp_path, first)
    written = load_file(tmp_path / "adapter_model.safetensors")
    product = written[name.format("B")] @ written[name.format("A")]
    # [3 4]' [1 2] - [1 1]' [1 0]
    assert product.tolist() == [[2.0, 6.0], [3.0, 8.0]]
    changed = adapters.adapter_settings(tmp_path)
    assert (changed["r"], changed["lora_alpha"], changed["init_lora_weights"]) == (2, 16, True)


def scores_of(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([ids]), use_cache=False).logits
    return found


def test_virtual_tokens_are_there_with_and_without_a_cache(tiny_model_dir: Path) -> None:
    """Greedy answers of the sampler (cache, left padding) are those of whole forward passes, row by row."""
    loaded = fresh(tiny_model_dir, KINDS["prompt"])
    with torch.no_grad():
        loaded.model.prompt_encoder["default"].embedding.weight.normal_(std=3.0)
    model = loaded.model.eval()
    prompts = [[5, 6, 7, 8, 9], [40, 41]]
    settings = Generation(max_new_tokens=5, do_sample=False)
    answers = generate.generate(model, loaded.tokenizer, prompts, settings, seed=0)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        with torch.no_grad():
            for token in answer.ids:
                scores = model(input_ids=torch.tensor([ids]), use_cache=False).logits
                assert scores.shape[1] == len(ids)
                assert int(scores[0, -1].argmax()) == token
                ids.append(token)
        assert (scores_of(models.load(str(tiny_model_dir)).model, ids) - scores_of(model, ids)).abs().max() > 1e-3
    text = "".join(generate.stream(model, loaded.tokenizer, prompts[0], settings, seed=0))
    assert text.endswith(loaded.tokenizer.decode(answers[0].ids, skip_special_tokens=True))


def test_virtual_tokens_by_hand(tiny_model_dir: Path) -> None:
    """The hidden states of [vectors, embeddings] behind the vectors, computed without peft."""
    loaded = fresh(tiny_model_dir, KINDS["prompt"])
    vectors = loaded.model.prompt_encoder["default"].embedding.weight.detach()
    plain = models.load(str(tiny_model_dir)).model
    with torch.no_grad():
        embedded = torch.cat([vectors.expand(2, -1, -1), plain.get_input_embeddings()(IDS)], 1)
        wanted = plain(inputs_embeds=embedded).logits[:, 4:]
    assert torch.equal(logits(loaded.model), wanted)
    with pytest.raises(ValueError, match="a packed row holds several documents"):
        loaded.model(input_ids=IDS[:1], cu_seq_lens_q=torch.tensor([0, 12]))


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_new_tokens_are_trained_along(tied: bool, tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = tiny_model_dir
    if not tied:
        whole = models.load(str(folder))
        whole.model.config.tie_word_embeddings = False
        whole.model.lm_head.weight = torch.nn.Parameter(torch.randn_like(whole.model.lm_head.weight) * 0.02)
        folder = tmp_path / "untied"
        models.save(whole.model, whole.tokenizer, folder)
    loaded = models.load_for(Model(model_name_or_path=str(folder)))
    loaded.tokenizer.add_tokens(["<a>", "<b>"])
    vocabulary.add_rows(loaded.model, len(loaded.tokenizer), {400: [5, 6], 401: [7, 8]})
    loaded.new_tokens = [400, 401]
    model = loaded.model
    rows = model.get_input_embeddings().weight.detach().clone()
    models.add_adapter(loaded, Adapter(**LORA))
    count = sum(parameter.numel() for parameter in loaded.model.parameters() if parameter.requires_grad)
    assert count == 4096 + 2 * 32 * (1 if tied else 2)  # A and B of two layers, and the rows
    with torch.no_grad():
        ids_new = IDS.clone()
        ids_new[:, 3] = 400
        ids_new[0, 5] = 401
    optimizer = torch.optim.AdamW([one for one in loaded.model.parameters() if one.requires_grad], lr=2e-2)
    for _ in range(3):
        out = loaded.model(input_ids=ids_new, use_cache=False).logits
        cross_entropy(out[:, :-1].flatten(0, 1), ids_new[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    def said(model: Any) -> torch.Tensor:
        model.eval()
        with torch.no_grad():
            found: torch.Tensor = model(input_ids=ids_new, use_cache=False).logits
        return found

    trained = said(loaded.model)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "out")
    assert (tmp_path / "out" / "adapter_model.safetensors").stat().st_size < 30_000  # not the whole embeddings
    again = models.load(str(tmp_path / "out"))
    assert torch.equal(said(again.model), trained)
    merged = again.model.merge_and_unload()
    torch.testing.assert_close(said(merged), trained, atol=1e-5, rtol=0)
    embeddings = merged.get_input_embeddings().weight
    assert torch.equal(embeddings[:400], rows[:400])
    assert (embeddings[400:402] - rows[400:402]).abs().max() > 1e-3
    assert models.shared_base(str(tmp_path / "out")) == (str(tmp_path / "out"), None)


def test_narrow_bases_multiply_narrow_and_learn_in_float32(tiny_model_dir: Path) -> None:
    loaded = fresh(tiny_model_dir, LORA, dtype="bfloat16")
    narrow = [module for module in loaded.model.modules() if isinstance(module, precision.narrow_linear())]
    assert len(narrow) == 2 * 7 * 2
    seen = []
    narrow[0].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    with torch.no_grad():
        for module in narrow:
            module.weight.normal_(std=0.05)
    loss = cross_entropy(loaded.model(input_ids=IDS).logits.float().flatten(0, 1), IDS.flatten())
    loss.backward()
    assert seen == [(torch.bfloat16, torch.bfloat16)]
    gradients = [module.weight.grad for module in narrow]
    assert {module.weight.dtype for module in narrow} == {one.dtype for one in gradients} == {torch.float32}
    # The same weights in float32 throughout: as near as bfloat16's eight bits let one expect.
    whole = fresh(tiny_model_dir, LORA)
    pairs = dict(whole.model.named_parameters())
    with torch.no_grad():
        for name, parameter in loaded.model.named_parameters():
            pairs[name].copy_(parameter)
    cross_entropy(whole.model(input_ids=IDS).logits.flatten(0, 1), IDS.flatten()).backward()
    for name, parameter in loaded.model.named_parameters():
        if parameter.grad is not None:
            wanted = pairs[name].grad
            assert (parameter.grad - wanted).norm() < 0.05 * wanted.norm(), name


def test_an_adapter_goes_on_or_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    loaded = fresh(tiny_model_dir, LORA)
    train(loaded.model, 2)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "out")
    going = models.load_for(Model(model_name_or_path=str(tmp_path / "out")))
    models.add_adapter(going, Adapter(loraplus_lr_ratio=4))
    assert torch.equal(logits(going.model), logits(loaded.model))
    assert getattr(going.model, optimizers.RATIO) == 4
    for section, what in (({"r": 8}, "adapter.r: 8, but"), ({"peft_type": "ia3"}, "adapter.peft_type: ia3, but")):
        with pytest.raises(UserError, match=what):
            models.add_adapter(going, Adapter(**section))
    models.add_adapter(going, Adapter(target_modules="all-linear", lora_dropout=0.0, rank_pattern={}))
    kept = ({"lora_dropout": 0.5}, {"target_modules": ["v_proj"]}, {"modules_to_save": ["lm_head"]})
    for section in (*kept, {"layers_to_transform": [1]}, {"rank_pattern": {"q_proj": 2}}):
        with pytest.raises(UserError, match=rf"adapter.{next(iter(section))}: .*, but the adapter to go on from"):
            models.add_adapter(going, Adapter.model_validate(section))
    with pytest.raises(UserError, match="the recipe has no `adapter` section"):
        models.add_adapter(going, None)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"peft_type": "ia3", "r": 8}, "peft_type ia3 has no r"),
    ({"num_virtual_tokens": 8}, "peft_type lora has no num_virtual_tokens"),
    ({"peft_type": "prompt_tuning", "target_modules": ["q_proj"], "r": 4}, "has no r, target_modules"),
    ({"init_lora_weights": "pisa"}, "init_lora_weights: pisa is no way to start"),
    ({"init_lora_weights": False}, "false starts B at random"),
    ({"init_lora_weights": "pissa", "use_dora": True}, "use_dora with init_lora_weights: pissa"),
    ({"init_lora_weights": "olora", "use_rslora": True, "rank_pattern": {"q": 1}}, "cannot be saved"),
]


@pytest.mark.parametrize("section, what", WRONG)
def test_keys_that_do_not_go_together(section: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Adapter(**section)


def test_mistakes_are_told_before_a_model_is_loaded(tiny_model_dir: Path, tmp_path: Path) -> None:
    talk = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk) + "\n")
    (tmp_path / "wrong.yaml").write_text(
        f"""stage: sft
output_dir: {tmp_path}/out
model:
  model_name_or_path: {tiny_model_dir}
  quantization: int8
  freeze: {{layers: "0-9", modules: [zzz]}}
adapter:
  target_modules: [q_prj, v_proj]
  init_lora_weights: loftq
  modules_to_save: [lm_haed]
  layers_to_transform: [7]
data: {{train_file: {tmp_path}/talks.jsonl}}
training: {{learning_rate: 1e-4, optim: adamw_8bits}}
"""
    )
    with pytest.raises(RecipeError) as told:
        load_recipe(str(tmp_path / "wrong.yaml"))
    place = f"{tmp_path}/wrong.yaml"
    lines = str(told.value).splitlines()
    assert lines == [
        f"{place}:6: model.freeze: beside an adapter the whole base is frozen; leave it out; adapter.modules_to_save "
        "names what is trained whole",
        f"{place}:6: model.freeze.layers: there is no layer 2; the base has layers 0 to 1: write some of these",
        f"{place}:6: model.freeze.modules.0: 'zzz' meets no weight of the base; write a pattern that meets names such "
        "as model.layers.1.input_layernorm.weight",
        f"{place}:8: adapter.target_modules.0: the base has no module q_prj; did you mean q_proj?",
        f"{place}:9: adapter.init_lora_weights: loftq makes up for 4-bit quantisation; write model.quantization: nf4, "
        "or another start",
        f"{place}:10: adapter.modules_to_save.0: the base has no module lm_haed; did you mean lm_head?",
        f"{place}:11: adapter.layers_to_transform.0: there is no layer 7; the base has layers 0 to 1: write some of "
        "these",
        f"{place}:13: training.optim: there is no optimiser adamw_8bits; did you mean adamw_8bit?",
    ]


def test_keys_that_nothing_would_read_are_told(tiny_model_dir: Path) -> None:
    model = Model(model_name_or_path=str(tiny_model_dir), bnb_4bit_use_double_quant=False)
    adapter = Adapter(
        target_modules=".*q_proj", layers_to_transform=[0], rank_pattern={"q_prj": 2, "layers.0.mlp.*": 3},
        alpha_pattern={"(": 1},
    )  # fmt: skip
    recipe = SimpleNamespace(model=model, adapter=adapter, training=Training(learning_rate=1e-4))
    found = {".".join(map(str, fault.key)): f"{fault.what}; {fault.write}" for fault in model_faults.faults(recipe)}  # type: ignore[arg-type]
    assert found == {
        "model.bnb_4bit_use_double_quant": "constants are quantised again in 4 bits only; write model.quantization: "
        "nf4, or leave it out",
        "adapter.layers_to_transform": "a regular expression picks its layers itself, so layers_to_transform has no "
        "say; write target_modules as a list, or the layers into the expression",
        "adapter.rank_pattern": "the pattern 'q_prj' meets no module; did you mean q_proj?",
        "adapter.alpha_pattern": found["adapter.alpha_pattern"],
    }
    assert found["adapter.alpha_pattern"].startswith("'(' is no regular expression")


UNREAD: list[tuple[dict[str, Any], str]] = [
    ({"decay_ratio": 0.2}, "cosine has no decay_ratio"),
    ({"lr_scheduler_type": "constant", "warmup_ratio": 0.1}, "constant has no warm-up"),
    ({"lr_scheduler_type": "warmup_stable_decay", "warmup_ratio": 0.5, "decay_ratio": 0.8}, "more than all steps"),
    ({"early_stopping_threshold": 0.1}, "write early_stopping_patience"),
    ({"extra": {"dataloader_drop_last": True}}, "`dataloader_drop_last` cannot be set here"),
    ({"extra": {"bf16_full_eval": True}}, "`bf16_full_eval` cannot be set here"),
    ({"extra": {"run_name": "x"}}, "`run_name` cannot be set here"),
]


@pytest.mark.parametrize("section, what", UNREAD)
def test_training_keys_that_nothing_would_read_are_told(section: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        Training(learning_rate=1e-4, **section)
    Training(learning_rate=1e-4, lr_scheduler_type="constant", warmup_ratio=0)


def test_ia3_finds_its_modules_where_peft_has_no_table() -> None:
    from transformers import Olmo2Config, Olmo2ForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = Olmo2ForCausalLM(Olmo2Config(vocab_size=300, **shape))
    loaded = models.Loaded(model, None, torch.device("cpu"), "base", None)
    models.add_adapter(loaded, Adapter(peft_type="ia3"))
    trained = {name.split("layers.")[1] for name, one in loaded.model.named_parameters() if one.requires_grad}
    places = ("self_attn.k_proj", "self_attn.v_proj", "mlp.down_proj")
    assert trained == {f"{layer}.{place}.ia3_l.default" for layer in (0, 1) for place in places}
    # Keys and values are scaled where they come out, the feed-forward where it goes in.
    sizes = {name: one.numel() for name, one in loaded.model.named_parameters() if one.requires_grad}
    assert sorted(set(sizes.values())) == [32, 64]
