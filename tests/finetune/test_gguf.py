"""GGUF files hold the model: read by gguf and by transformers' own loader, tensor for tensor and logit for logit."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_families import build_tiny_encoder

from finetune import models, vocabulary
from finetune.merging import llama_cpp, llama_cpp_tokenizer, ollama
from finetune.stages import export
from recipes import artifact
from recipes.errors import UserError
from recipes.sections import Adapter, Model
from tests.conftest import SENTENCES

gguf = pytest.importorskip("gguf")
IDS = torch.tensor([[5, 40, 7, 88, 301, 9]])
TEMPLATES = Path(models.__file__).parent / "templates"


def exported(ref: Path, out: Path, **keys: Any) -> dict[str, Any]:
    recipe = export.Recipe(output_dir=str(out), model_name_or_path=str(ref), layout="gguf", **keys)
    assert recipe.faults() == []
    export.run(recipe)
    manifest = artifact.read(out)
    assert manifest is not None
    return manifest.metrics


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.eval()(input_ids=IDS, use_cache=False).logits.float()
    return found


def by_transformers(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    return logits(AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32))


def test_a_file_holds_every_tensor_and_all_that_the_tokenizer_is(tiny_model_dir: Path, tmp_path: Path) -> None:
    figures = exported(tiny_model_dir, tmp_path / "out")
    assert figures["rounding"] == 0 and figures["stored_max_difference"] == 0 and figures["pre_tokenizer"] == "smollm"
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    source, found = load_file(tiny_model_dir / "model.safetensors"), {one.name: one for one in reader.tensors}
    assert len(found) == len(source)
    rows = source["model.layers.1.self_attn.q_proj.weight"].numpy()  # 4 heads of 8 rows each
    order = [8 * head + 4 * half + pair for head in range(4) for pair in range(4) for half in range(2)]
    assert np.array_equal(found["blk.1.attn_q.weight"].data, rows[order])
    assert np.array_equal(found["token_embd.weight"].data, source["model.embed_tokens.weight"].numpy())
    assert np.array_equal(found["blk.0.attn_v.weight"].data, source["model.layers.0.self_attn.v_proj.weight"].numpy())

    def said(key: str) -> Any:
        return reader.fields[key].contents()

    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    assert said("tokenizer.ggml.tokens") == tokenizer.convert_ids_to_tokens(list(range(400)))
    kinds = said("tokenizer.ggml.token_type")
    control = [number for number in range(400) if kinds[number] == gguf.TokenType.CONTROL]
    assert control == sorted(tokenizer.all_special_ids)
    merges = json.loads((tiny_model_dir / "tokenizer.json").read_text())["model"]["merges"]
    assert [tuple(merge.split(" ")) for merge in said("tokenizer.ggml.merges")] == [tuple(merge) for merge in merges]
    assert said("tokenizer.ggml.eos_token_id") == tokenizer.eos_token_id
    assert said("tokenizer.ggml.padding_token_id") == tokenizer.pad_token_id
    assert said("tokenizer.chat_template") == tokenizer.chat_template
    assert said("tokenizer.ggml.add_bos_token") is False
    assert (tmp_path / "out" / "Modelfile").read_text().startswith("FROM ./model.gguf\nTEMPLATE")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`model.gguf`: " in card and "library_name: gguf\n" in card


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "q8_0"])
def test_another_loader_gets_the_same_logits(dtype: str, tiny_model_dir: Path, tmp_path: Path) -> None:
    figures = exported(tiny_model_dir, tmp_path / "out", dtype=dtype)
    wanted, found = logits(models.load(str(tiny_model_dir)).model), by_transformers(tmp_path / "out")
    share = float((found - wanted).abs().max() / wanted.abs().max())
    assert share < {"float32": 1e-5, "float16": 1e-3, "bfloat16": 1e-2, "q8_0": 3e-2}[dtype]
    assert (figures["rounding"] > 0) == (dtype != "float32")
    kinds = {one.name: one.tensor_type.name for one in gguf.GGUFReader(tmp_path / "out" / "model.gguf").tensors}
    assert kinds["blk.0.ffn_up.weight"] == llama_cpp.STORED[dtype] and kinds["output_norm.weight"] == "F32"


def test_an_adapter_is_merged_on_the_way(tiny_model_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    loaded = models.load_for(Model(model_name_or_path=str(tiny_model_dir)))
    models.add_adapter(loaded, Adapter(r=4))
    with torch.no_grad():
        for one in loaded.model.parameters():
            if one.requires_grad:
                one += 0.05 * torch.randn_like(one)
    models.save(loaded.model, loaded.tokenizer, tmp_path / "adapter")
    assert exported(tmp_path / "adapter", tmp_path / "out")["arithmetic_relative"] < 1e-5
    torch.testing.assert_close(by_transformers(tmp_path / "out"), logits(loaded.model), atol=2e-5, rtol=0)


def test_new_tokens_go_along(tiny_model_dir: Path, tmp_path: Path) -> None:
    loaded = models.load_for(Model(model_name_or_path=str(tiny_model_dir)))
    loaded.tokenizer.add_tokens(["<a>", "<b>"])
    vocabulary.add_rows(loaded.model, len(loaded.tokenizer), {400: [5, 6], 401: [7, 8]})
    loaded.new_tokens = [400, 401]
    models.add_adapter(loaded, Adapter(r=4))
    models.save(loaded.model, loaded.tokenizer, tmp_path / "adapter")
    exported(tmp_path / "adapter", tmp_path / "out")
    reader = gguf.GGUFReader(tmp_path / "out" / "model.gguf")
    assert reader.fields["tokenizer.ggml.tokens"].contents()[400:] == ["<a>", "<b>"]
    assert reader.fields["tokenizer.ggml.token_type"].contents()[400:] == [gguf.TokenType.USER_DEFINED] * 2
    rows = next(one.data for one in reader.tensors if one.name == "token_embd.weight")
    base = load_file(tiny_model_dir / "model.safetensors")["model.embed_tokens.weight"].numpy()
    np.testing.assert_allclose(rows[400:], [base[5:7].mean(0), base[7:9].mean(0)], atol=1e-6)


def test_families_of_llama_cpp(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Qwen2 keeps the order of its rows; biases and the factors of Llama 3.1's rotary embedding are carried."""
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": 400, "tie_word_embeddings": False}
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope["original_max_position_embeddings"] = 64
    for name, model in (
        ("qwen", Qwen2ForCausalLM(Qwen2Config(**shape))),
        ("llama", LlamaForCausalLM(LlamaConfig(**shape, attention_bias=True, rope_parameters=rope))),
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        models.save(model, models.load_tokenizer(str(tiny_model_dir)), tmp_path / name)
        exported(tmp_path / name, tmp_path / f"{name}-out", dtype="float32")
        found = {one.name: one.data for one in gguf.GGUFReader(tmp_path / f"{name}-out" / "model.gguf").tensors}
        if name == "qwen":
            torch.testing.assert_close(by_transformers(tmp_path / "qwen-out"), logits(model), atol=2e-5, rtol=0)
        else:
            plain = 1e4 ** (-np.arange(0, 8, 2) / 8)
            scaled = model.model.rotary_emb.inv_freq.numpy()
            np.testing.assert_allclose(plain / found["rope_freqs.weight"], scaled, rtol=1e-6)
            bias = model.model.layers[0].self_attn.k_proj.bias.detach().numpy()
            assert np.array_equal(llama_cpp.halved(found["blk.0.attn_k.bias"], 2), bias)


def changed(model: Path, out: Path, file: str, **values: Any) -> Path:
    out.mkdir()
    for one in model.iterdir():
        (out / one.name).write_bytes(one.read_bytes())
    content = json.loads((out / file).read_text())
    (out / file).write_text(json.dumps(content | values))
    return out


def test_what_is_not_written_is_told_beforehand(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(ref: Path, **keys: Any) -> str:
        recipe = export.Recipe(output_dir=str(tmp_path / "o"), model_name_or_path=str(ref), **{"layout": "gguf"} | keys)
        (fault,) = recipe.faults()
        return f"{fault.what}; {fault.write}"

    encoder = build_tiny_encoder(tmp_path / "encoder", SENTENCES * 3)
    assert "has the head masked; write layout: huggingface" in told(encoder)
    config: Any = {"architectures": ["GemmaForCausalLM"]}
    found = told(changed(tiny_model_dir, tmp_path / "gemma", "config.json", **config))
    assert "GemmaForCausalLM is not written here (only LlamaForCausalLM, Mistral" in found
    assert "run llama.cpp's convert_hf_to_gguf.py on that" in found
    config = {"architectures": ["MistralForCausalLM"], "sliding_window": 4096}
    assert "a sliding window of 4096" in told(changed(tiny_model_dir, tmp_path / "mistral", "config.json", **config))
    config = {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}}
    assert "'yarn'" in told(changed(tiny_model_dir, tmp_path / "yarn", "config.json", **config))
    split: Any = {"pre_tokenizer": {"type": "Whitespace"}}
    found = told(changed(tiny_model_dir, tmp_path / "split", "tokenizer.json", **split))
    assert 'no name for how this tokenizer splits text: [{"type": "Whitespace"}]' in found
    lower: Any = {"normalizer": {"type": "Lowercase"}}
    assert "Lowercase" in told(changed(tiny_model_dir, tmp_path / "lower", "tokenizer.json", **lower))
    assert "huggingface has no q8_0" in told(tiny_model_dir, layout="huggingface", dtype="q8_0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert told(tiny_model_dir) == 'layout: gguf: the package gguf is not installed; pip install "tuneloop[gguf]"'


@pytest.mark.parametrize(
    ("pattern", "ignore_merges", "name"),
    [
        (llama_cpp_tokenizer.LLAMA_3, True, "llama-bpe"),
        (llama_cpp_tokenizer.LLAMA_3, False, "smaug-bpe"),
        (llama_cpp_tokenizer.QWEN_2, False, "qwen2"),
        (None, False, "gpt-2"),
    ],
)
def test_splittings_have_names(pattern: str | None, ignore_merges: bool, name: str) -> None:
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE(ignore_merges=ignore_merges))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated"), last] if pattern else [last]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)
    assert llama_cpp_tokenizer.pre_tokenizer(Path("t"), json.loads(tokenizer.to_str())) == name


def test_only_a_bos_may_be_put_before_a_text() -> None:
    from tokenizers import Tokenizer, processors
    from tokenizers.models import BPE

    tokenizer = Tokenizer(BPE())
    tokenizer.add_special_tokens(["<s>", "</s>"])

    def adds(processor: Any) -> bool:
        tokenizer.post_processor = processor
        return llama_cpp_tokenizer._adds_bos(Path("t"), json.loads(tokenizer.to_str()))

    tokens = [("<s>", 0), ("</s>", 1)]
    bos = processors.TemplateProcessing(single="<s> $A", special_tokens=tokens[:1])
    assert adds(bos) and adds(processors.Sequence([processors.ByteLevel(), bos]))
    assert not adds(processors.ByteLevel())
    assert not adds(processors.TemplateProcessing(single="$A", special_tokens=[]))
    for other in (
        processors.TemplateProcessing(single="<s> $A </s>", special_tokens=tokens),
        processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
    ):
        with pytest.raises(UserError, match=r"llama\.cpp does not"):
            adds(other)


def test_templates_for_ollama(tiny_model_dir: Path) -> None:
    """The pieces around messages are those of the template; what depends on more is not carried over."""
    tokenizer = models.load_tokenizer(str(tiny_model_dir))
    found = {}
    for file in sorted(TEMPLATES.glob("*.jinja")):
        tokenizer.chat_template = file.read_text(encoding="utf-8")
        found[file.stem] = ollama.around(tokenizer, adds_bos=False)
    chatml = found["chatml"]
    assert chatml is not None and chatml[0]["user"] == ("<|im_start|>user\n", "<|im_end|>\n")
    assert chatml[1] == "<|im_start|>assistant\n"
    tuneloop = found["tuneloop"]
    assert tuneloop is not None and tuneloop[0]["assistant"] == ("<|assistant|>", "<|end|>")
    assert found["llama-2"] is None and found["gemma"] is None  # the system message goes into the user's
    made = ollama._go(*chatml)
    assert made == (
        '{{ range .Messages }}{{ if eq .Role "system" }}<|im_start|>system\n{{ .Content }}<|im_end|>\n{{ end }}'
        '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<|im_end|>\n{{ end }}'
        '{{ if eq .Role "assistant" }}<|im_start|>assistant\n{{ .Content }}<|im_end|>\n{{ end }}{{ end }}'
        "<|im_start|>assistant\n"
    )
