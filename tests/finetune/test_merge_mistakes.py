"""What wrong recipes of merge and export get: every message word for word with its line, and nothing heavy imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from recipes.load import examine

HEAD = "stage: merge\noutput_dir: runs/out\nmodels:\n"
LLAMA = {"architectures": ["LlamaForCausalLM"], "vocab_size": 4, "hidden_act": "silu"}
CONVERTER = "export it with layout: huggingface, and run llama.cpp's convert_hf_to_gguf.py on that"


def model(folder: str, rows: int = 4, **config: Any) -> None:
    place = Path(folder)
    place.mkdir()
    (place / "config.json").write_text(json.dumps(LLAMA | config))
    save_file({"model.embed_tokens.weight": np.zeros((rows, 2), np.float32)}, place / "model.safetensors")
    tokenizer(place)


def tokenizer(place: Path, more: int = 0) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {letter: number for number, letter in enumerate("abcd" + "efgh"[:more])}
    made = Tokenizer(models.BPE(vocab=words, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.save(str(place / "tokenizer.json"))


def adapter(folder: str, base: str = "base", more: int = 0, **settings: Any) -> None:
    place = Path(folder)
    place.mkdir()
    values = {"base_model_name_or_path": base, "peft_type": "LORA", "task_type": "CAUSAL_LM"} | settings
    (place / "adapter_config.json").write_text(json.dumps(values))
    (place / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")  # no weights
    tokenizer(place, more)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model("base")
    model("other", 5)
    model("gemma", architectures=["GemmaForCausalLM"])
    adapter("first")
    adapter("second")
    adapter("soft", peft_type="PROMPT_TUNING")
    adapter("longer", more=2, trainable_token_indices=[4, 5])
    adapter("dora", use_dora=True)
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("a")


def said(text: str) -> list[str]:
    Path("r.yaml").write_text(text)
    return [str(problem) for problem in examine("r.yaml", []).problems]


def models(*names: str) -> str:
    return HEAD + "".join(f"  - model_name_or_path: {name}\n" for name in names)


MERGES = {
    "a good one": (models("first"), []),
    "another good one": (models("first", "second") + "method: ties\ndensity: 0.5\n", []),
    "no method": (
        models("first", "second"),
        [
            "r.yaml:3: models: 2 models and no method to combine them; "
            "write method: linear, slerp, task_arithmetic, ties, dare_linear or dare_ties"
        ],
    ),
    "a method for one, with a key of another": (
        models("first") + "method: slerp\ndensity: 0.5\n",
        [
            "r.yaml:5: method: slerp combines two or more models, and there is one; "
            "add another model, or leave method out to merge one adapter",
            "r.yaml:6: density: slerp has no density; leave it out, or write method: ties",
        ],
    ),
    "a whole model alone": (
        models("base"),
        [
            "r.yaml:4: models.0.model_name_or_path: base is a whole model: there is no adapter to merge; "
            "name an adapter, or use `stage: export`"
        ],
    ),
    "a learned prompt": (
        models("soft"),
        [
            "r.yaml:4: models.0.model_name_or_path: soft: an adapter of type PROMPT_TUNING puts learned vectors before "
            "the text; no weights of the base could do that; use the adapter as it is, or train LoRA"
        ],
    ),
    "an adapter and a whole model": (
        models("first", "base") + "method: linear\n",
        [
            "r.yaml:5: models.1.model_name_or_path: base is a whole model, and first is an adapter; "
            "merge each adapter into its base first, then the whole models"
        ],
    ),
    "three on one arc": (
        models("base", "base", "base") + "method: slerp\n",
        ["r.yaml:3: models: slerp with 3 models; write two models"],
    ),
    "other shapes": (
        models("base", "other") + "method: linear\n",
        [
            "r.yaml:5: models.1.model_name_or_path: model.embed_tokens.weight is [5, 2] in other and [4, 2] in base; "
            "merge models of one architecture and one vocabulary"
        ],
    ),
    "other architectures": (
        models("base", "gemma") + "method: slerp\n",
        [
            "r.yaml:5: models.1.model_name_or_path: gemma is ['GemmaForCausalLM'], and base is ['LlamaForCausalLM']; "
            "merge models of one architecture and one vocabulary"
        ],
    ),
    "a longer vocabulary": (
        models("longer", "longer") + "method: linear\n",
        [
            f"r.yaml:{line}: models.{line - 4}.model_name_or_path: longer has 6 tokens, and its base base has rows for "
            "4; merge each adapter into the base by itself, then combine the whole models (linear)"
            for line in (4, 5)
        ],
    ),
    "weights that make no average": (
        HEAD + "  - {model_name_or_path: base, weight: 0.5}\n  - {model_name_or_path: base, weight: 0.7}\n"
        "method: linear\n",
        [
            "r.yaml:3: models: the weights of whole models sum to 1.2; "
            "write weights that sum to 1: the result is their average"
        ],
    ),
    "task vectors without a base": (
        models("base", "base") + "method: task_arithmetic\n",
        ["r.yaml:6: method: task_arithmetic of whole models without their base; write base_model_name_or_path:"],
    ),
    "no size": (
        models("first") + "max_shard_size: 5 apples\n",
        ["r.yaml:5: max_shard_size: '5 apples' is no size; write 5GB, say"],
    ),
    "no benchmark": (
        models("first") + "card:\n  benchmark: notes\n",
        ["r.yaml:6: card.benchmark: notes is no result of a stage; write the folder of a result of `stage: benchmark`"],
    ),
}


@pytest.mark.parametrize("name", MERGES)
def test_merge(name: str) -> None:
    text, wanted = MERGES[name]
    assert said(text) == wanted


EXPORTS = {
    "layout: gguf\nmodel_name_or_path: gemma\n": (
        "r.yaml:3: layout: gemma: GemmaForCausalLM is not written here (only LlamaForCausalLM, MistralForCausalLM, "
        f"Qwen2ForCausalLM); {CONVERTER}"
    ),
    "layout: lora\nmodel_name_or_path: dora\n": (
        "r.yaml:3: layout: vLLM serves no adapter with use_dora; "
        "write layout: huggingface, which merges it into its base"
    ),
    "layout: lora\nmodel_name_or_path: base\n": (
        "r.yaml:3: layout: base is a whole model, no adapter; write layout: huggingface"
    ),
    "dtype: q8_0\nmodel_name_or_path: base\n": (
        "r.yaml:3: dtype: huggingface has no q8_0; write layout: gguf, or another dtype"
    ),
}


@pytest.mark.parametrize("text", EXPORTS)
def test_export(text: str) -> None:
    if "gguf" in text:
        pytest.importorskip("gguf")
    assert said("stage: export\noutput_dir: runs/out\n" + text) == [EXPORTS[text]]


def test_a_check_imports_nothing_heavy() -> None:
    pytest.importorskip("gguf")
    import subprocess
    import sys

    code = (
        "import sys; from recipes.load import examine; assert not examine('r.yaml', []).problems;"
        "print(sorted({'torch', 'transformers', 'peft', 'numpy', 'gguf'} & set(sys.modules)))"
    )
    for text in (
        MERGES["another good one"][0],
        "stage: export\noutput_dir: o\nmodel_name_or_path: base\nlayout: gguf\n",
    ):
        Path("r.yaml").write_text(text)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"
