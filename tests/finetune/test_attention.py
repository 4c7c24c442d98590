"""Documents in one row without padding: the same loss and gradients as each document alone, for many architectures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from finetune import attention, losses, packing
from finetune.document_attention import NAME, attend

SHAPE: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ONE_HEAD_EACH = {key: value for key, value in SHAPE.items() if key != "num_key_value_heads"}
ENCODER = {**ONE_HEAD_EACH, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = {"vocab_size": 96, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 1,
        "eos_token_id": 2, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # fmt: skip
MIXED = ["sliding_attention", "full_attention"]
DECODERS = {
    "Llama": SHAPE,
    "Qwen2": SHAPE,
    "Qwen2 with windows": {**SHAPE, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "Qwen3": {**SHAPE, "head_dim": 8},
    "Mistral": {**SHAPE, "sliding_window": 6},
    "Gemma2": {**SHAPE, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8, "attn_logit_softcapping": 0.5},
    "Gemma3": {**SHAPE, "head_dim": 8, "sliding_window": 6, "query_pre_attn_scalar": 8, "layer_types": MIXED},
    "Phi3": SHAPE,
    "GPT2": GPT2,
    "GPTNeoX": ONE_HEAD_EACH,
    "GptOss": {**SHAPE, "head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": 6},
}
ENCODERS = {
    "Bert": ENCODER,
    "DistilBert": {"vocab_size": 96, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "dropout": 0.0,
                   "attention_dropout": 0.0, "max_position_embeddings": 64},
    "ModernBert": {**ONE_HEAD_EACH, "local_attention": 6, "cls_token_id": 1, "sep_token_id": 2},
}  # fmt: skip
REFUSED = {
    "Bloom": ({"vocab_size": 96, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "computes its attention itself"),
    "Mamba": ({"vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 1}, "layers of another kind"),
    "Lfm2": ({**SHAPE, "full_attn_idxs": [1]}, "layers of another kind (conv)"),
}
CONFIGS = {"Gemma3": "Gemma3TextConfig"}
MODELS = {"GPT2": "GPT2LMHeadModel"}


def build(name: str, settings: dict[str, Any], kind: str = "ForCausalLM") -> Any:
    """Return a random model of an architecture, in float32."""
    family = name.split()[0]
    torch.manual_seed(0)
    config = getattr(transformers, CONFIGS.get(family, f"{family}Config"))(**settings)
    model = getattr(transformers, MODELS.get(family, f"{family}{kind}"))(config)
    for weights in model.parameters():  # attention of fresh weights is nearly uniform, which would hide mistakes
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.2)
    return model


def documents() -> list[dict[str, Any]]:
    """Five documents, the mask of each another; lengths below and above the windows."""
    chooser = torch.Generator().manual_seed(1)
    rows = []
    for length in (11, 1, 5, 30, 2):
        ids = torch.randint(3, 96, (length,), generator=chooser).tolist()
        rows.append({"input_ids": ids, "mask": [int(place % 3 != 0 or length < 6) for place in range(length)]})
    return rows


def gradients(model: Any) -> dict[str, torch.Tensor]:
    """Return the gradients, and forget them."""
    found = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    return found


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Assert equal gradients but for rounding."""
    assert one.keys() == other.keys() and one
    # Some are nothing but rounding: a key's bias changes no softmax.
    rounding = 1e-7 * max(float(value.abs().max()) for value in other.values())
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=2e-4, atol=2e-4 * float(other[name].abs().max()) + rounding)


@pytest.mark.parametrize("name", DECODERS)
def test_a_row_of_documents_has_the_loss_and_gradients_of_each_alone(name: str) -> None:
    model, rows = build(name, DECODERS[name]).train(), documents()
    alone = torch.zeros(())
    for row in rows:  # brute force: transformers' own eager attention, plain logits, one document at a time
        model.set_attn_implementation("eager")
        logits = model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1]
        counted = torch.tensor(row["mask"][1:], dtype=torch.bool)
        targets = torch.tensor(row["input_ids"][1:], dtype=torch.long)
        alone = alone + torch.nn.functional.cross_entropy(logits[counted], targets[counted], reduction="sum")
    alone.backward()
    expected = gradients(model)
    model.set_attn_implementation("sdpa" if model._supports_sdpa else "eager")

    assert attention.prepare(model) and model.training
    batch = packing.collate_packed(rows)
    assert batch["input_ids"].shape == (1, 64) and int(batch["tokens"]) == 49  # filled up to a multiple of 16
    loss, _ = losses.causal_lm_loss(model, batch)
    loss.backward()
    assert float(loss) == pytest.approx(float(alone), rel=1e-5)
    alike(gradients(model), expected)
    padded = packing.collate_tokens(rows)
    assert int(padded["count"]) == int(batch["count"])
    loss, _ = losses.causal_lm_loss(model, padded)  # rows without documents go through the same function
    loss.backward()
    assert float(loss) == pytest.approx(float(alone), rel=1e-5)
    alike(gradients(model), expected)


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_reads_documents_of_a_row_as_each_alone(name: str) -> None:
    model = build(name, ENCODERS[name], "ForMaskedLM").train()
    rows = [row["input_ids"] for row in documents()]
    model.set_attn_implementation("eager")
    alone = [model(input_ids=torch.tensor([ids])).logits[0] for ids in rows]
    weights = torch.randn(49, 96, generator=torch.Generator().manual_seed(2))
    (torch.cat(alone) * weights).sum().backward()
    expected = gradients(model)
    model.set_attn_implementation("sdpa")

    assert attention.prepare(model)
    together = model(**packing.concatenated(rows)).logits[0]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-4)
    (together * weights).sum().backward()
    alike(gradients(model), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_an_architecture_whose_documents_would_meet_keeps_padding(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, why = REFUSED[name]
    model = build(name, settings)
    before = model.config._attn_implementation
    assert packing.collate_for(model) is packing.collate_tokens
    assert why in capsys.readouterr().err and model.config._attn_implementation == before


def test_the_trial_finds_what_no_rule_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """RoBERTa counts positions from 2; a recurrence hidden in a layer; a layer that says nothing of its window."""
    roberta = build("Roberta", {**ENCODER, "pad_token_id": 1, "bos_token_id": 0}, "ForMaskedLM")
    assert not attention.prepare(roberta) and "otherwise than alone" in capsys.readouterr().err

    leaking = build("Llama", SHAPE)
    leaking.model.norm.register_forward_hook(lambda _module, _inputs, out: out + 0.01 * out.cumsum(1).roll(1, 1))
    assert not attention.prepare(leaking) and "see each other" in capsys.readouterr().err

    silent = build("Qwen2", {**DECODERS["Qwen2 with windows"], "sliding_window": 32})
    silent.model.layers[1].self_attn.sliding_window = None
    assert not attention.prepare(silent) and "window" in capsys.readouterr().err
    assert {model.config._attn_implementation for model in (roberta, leaking, silent)} == {"sdpa"}


def test_an_adapter_trains_without_padding_and_files_say_nothing_of_it(tmp_path: Path) -> None:
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    plain = build("Llama", SHAPE)
    plain.save_pretrained(tmp_path / "before")
    model = get_peft_model(plain, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert attention.prepare(model) and attention.prepare(model)
    assert plain.config._attn_implementation == NAME
    plain.save_pretrained(tmp_path / "during")
    with attention.restored(model):
        assert plain.config._attn_implementation == "sdpa"
    assert plain.config._attn_implementation == NAME
    attention.restore(model)
    assert plain.config._attn_implementation == "sdpa"
    before, during = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("before", "during"))
    assert before == during
    virtual = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    narrow = build("Llama", SHAPE)
    narrow.is_loaded_in_8bit = True  # as transformers marks it
    assert "int8 layers round" in (attention.refusal(narrow) or "")
    assert "virtual tokens" in (attention.refusal(get_peft_model(build("Llama", SHAPE), virtual)) or "")


def test_generation_with_left_padding_is_the_same_while_switched() -> None:
    model = build("Mistral", DECODERS["Mistral"]).eval()
    ids = torch.randint(3, 96, (2, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    wanted = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert attention.prepare(model)
    assert torch.equal(model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False), wanted)
    assert packing.collate_for(model) is packing.collate_packed
    batch = packing.collate_packed(documents())
    switched = float(losses.causal_lm_loss(model, batch)[0])
    attention.restore(model)
    padded = packing.collate_tokens(documents())
    assert switched == pytest.approx(float(losses.causal_lm_loss(model, padded)[0]), rel=1e-5)


def test_what_cannot_be_exact_is_refused_in_the_function_too() -> None:
    module = torch.nn.Module()
    heads = torch.randn(1, 2, 4, 8)
    ends = torch.tensor([0, 2, 4], dtype=torch.int32)
    with pytest.raises(ValueError, match="position bias"):
        attend(module, heads, heads, heads, position_bias=heads)
    with pytest.raises(ValueError, match="no attention mask"):
        attend(module, heads, heads, heads, torch.ones(1, 4), cu_seq_lens_q=ends)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("heads", "own", "size"), [(8, 8, 64), (8, 2, 64), (4, 1, 128), (4, 2, 256)])
@pytest.mark.parametrize(("causal", "window"), [(True, None), (True, 40), (False, None), (False, 40)])
def test_the_gpu_kernel_agrees_with_one_document_at_a_time(
    dtype: torch.dtype, heads: int, own: int, size: int, causal: bool, window: int | None
) -> None:
    """Forward and backward of varlen attention in half precision against per-document SDPA in float32."""
    torch.manual_seed(0)
    lengths = [7, 130, 1, 64, 200, 33]
    ends = torch.tensor([0, *lengths]).cumsum(0).int().cuda()
    module = torch.nn.Module()
    exact = [torch.randn(1, sum(lengths), count, size, device="cuda").transpose(1, 2) for count in (heads, own, own)]
    found = []
    for kind in (torch.float32, dtype):  # float32 takes the way of one document at a time
        inputs = [one.to(kind).requires_grad_() for one in exact]
        out, _ = attend(module, *inputs, is_causal=causal, sliding_window=window, cu_seq_lens_q=ends, max_length_q=200)
        weights = torch.linspace(-1, 1, out.numel(), device="cuda").view_as(out)
        found.append([out, *torch.autograd.grad((out.float() * weights).sum(), inputs)])
    for wanted, got in zip(*found, strict=True):
        assert float((got.float() - wanted).norm() / wanted.norm()) < 2e-2
