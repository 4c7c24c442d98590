"""A whole model as a GGUF file, as llama.cpp, Ollama and LM Studio read it: hyperparameters, weights, tokenizer.

Llama, Mistral without a sliding window, and Qwen2; one tensor in memory at a time. The names are gguf's own; rows of q
and k are put in the order that llama.cpp's rotary embedding wants (pairs side by side, Hugging Face has halves), which
Qwen2 does not need. Norms, biases and rotary factors stay in float32, as llama.cpp's converter has it; `q8_0` stores
blocks of 32 weights as 8-bit integers with a float16 scale, and float16 where rows are no multiple of 32. Leaves out:
other architectures, other tokenizers and smaller quantisations, for which llama.cpp has convert_hf_to_gguf.py and
llama-quantize. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.merging import checkpoint, heads
from finetune.merging.llama_cpp_tokenizer import CONVERTER, vocabulary
from finetune.models import base_of
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]

FILE = "model.gguf"
ARCHITECTURES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2"}
# llama.cpp's file types: "all F32", "mostly F16" and so on.
FILE_TYPES = {"float32": 0, "float16": 1, "q8_0": 7, "bfloat16": 32}
STORED = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "q8_0": "Q8_0"}
BLOCK = 32
ROTARY = "rope_freqs.weight"


@dataclass(frozen=True)
class Plan:
    """What one tensor becomes: its name there, how it is stored, and how many heads its rows are reordered by."""

    source: str
    name: str
    shape: tuple[int, ...]
    stored: str
    heads: int | None


def refuse(ref: str) -> None:
    """Refuse a model that is not written here; reads config and tokenizer only.

    Raises:
        UserError: the library is missing, or the architecture or the tokenizer is not known.
    """
    if importlib.util.find_spec("gguf") is None:
        raise UserError("layout: gguf", "the package gguf is not installed", 'pip install "tuneloop[gguf]"')
    base, own = base_of(ref)[0], shipped(ref)
    if not shipped(base).is_dir():
        return
    values = heads.config(shipped(base))
    if what := _unknown(values):
        raise UserError(str(base), what, CONVERTER)
    file = own / "tokenizer.json"
    file = file if file.is_file() else shipped(base) / "tokenizer.json"
    # An adapter with new tokens has more rows than its base's config says.
    vocabulary(file, int(values["vocab_size"]) if own == shipped(base) else None)


def _unknown(values: dict[str, Any]) -> str | None:
    """Return what of a config is not written here."""
    named = (values.get("architectures") or ["no architecture"])[0]
    if named not in ARCHITECTURES:
        return f"{named} is not written here (only {', '.join(sorted(ARCHITECTURES))})"
    if values.get("sliding_window") and values.get("use_sliding_window", True):
        return f"a sliding window of {values['sliding_window']} tokens, which llama.cpp does not have for {named}"
    if (found := values.get("hidden_act", "silu")) != "silu":
        return f"the activation {found}, where llama.cpp has silu"
    rope = rotary(values)
    if rope["rope_type"] not in ("default", "linear", "llama3") or rope.get("partial_rotary_factor", 1) != 1:
        return f"rotary embedding {rope}, of which default, linear and llama3 are written here"
    return None


def rotary(values: dict[str, Any]) -> dict[str, Any]:
    """Return the rotary embedding's settings of a config, old or new."""
    given = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = given.get("rope_type", given.get("type", "default"))
    return {"rope_theta": values.get("rope_theta", 10000.0)} | given | {"rope_type": kind}


def plan(found: dict[str, checkpoint.Entry], values: dict[str, Any], dtype: str) -> list[Plan]:
    """Return what each tensor of a checkpoint becomes.

    Raises:
        UserError: llama.cpp has no such tensor.
    """
    import gguf

    kind = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[_architecture(values)]
    names = gguf.get_tensor_name_map(kind, values["num_hidden_layers"])
    plans = []
    for source, entry in found.items():
        if source == "lm_head.weight" and values.get("tie_word_embeddings"):
            continue
        name = names.get_name(source, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise UserError(str(entry.file), f"llama.cpp has no tensor for {source}", CONVERTER)
        plans.append(Plan(source, name, entry.shape, _stored(entry.shape, dtype), _reordered(source, values)))
    return plans


def _architecture(values: dict[str, Any]) -> str:
    return ARCHITECTURES[values["architectures"][0]]


def _stored(shape: tuple[int, ...], dtype: str) -> str:
    if len(shape) < 2:
        return "F32"
    return "F16" if dtype == "q8_0" and shape[-1] % BLOCK else STORED[dtype]


def _reordered(source: str, values: dict[str, Any]) -> int | None:
    """Return by how many heads a tensor's rows are reordered, if they are."""
    if _architecture(values) != "llama":
        return None
    if ".q_proj." in source:
        return int(values["num_attention_heads"])
    return int(values.get("num_key_value_heads") or values["num_attention_heads"]) if ".k_proj." in source else None


def paired(value: Numbers, heads: int) -> Numbers:
    """Put the two halves of each head's rows (n, ...) side by side: 0, d/2, 1, d/2 + 1, ..."""
    split = value.reshape(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
    return split.swapaxes(1, 2).reshape(value.shape)


def halved(value: Numbers, heads: int) -> Numbers:
    """Undo `paired`."""
    split = value.reshape(heads, value.shape[0] // heads // 2, 2, *value.shape[1:])
    return split.swapaxes(1, 2).reshape(value.shape)


def write(folder: str | Path, tokenizer: Any, file: Path, dtype: str, name: str) -> list[Plan]:
    """Write a model's folder as one GGUF file, tensor by tensor; return what each tensor became."""
    import gguf

    values, found = heads.config(folder), checkpoint.entries(folder)
    plans = plan(found, values, dtype)
    writer = gguf.GGUFWriter(file, _architecture(values))
    writer.add_name(name)
    writer.add_file_type(FILE_TYPES[dtype])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _hyperparameters(writer, values)
    _tokens(writer, tokenizer, Path(folder) / "tokenizer.json", int(values["vocab_size"]))
    try:
        _tensors(writer, plans, folder, values)
    finally:
        writer.close()
    return plans


def _hyperparameters(writer: Any, values: dict[str, Any]) -> None:
    import gguf

    rope, head = rotary(values), head_width(values)
    writer.add_vocab_size(values["vocab_size"])
    writer.add_context_length(values["max_position_embeddings"])
    writer.add_embedding_length(values["hidden_size"])
    writer.add_feed_forward_length(values["intermediate_size"])
    writer.add_block_count(values["num_hidden_layers"])
    writer.add_head_count(values["num_attention_heads"])
    writer.add_head_count_kv(values.get("num_key_value_heads") or values["num_attention_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(values["rms_norm_eps"])
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])


def head_width(values: dict[str, Any]) -> int:
    """Return the width of one attention head."""
    return int(values.get("head_dim") or values["hidden_size"] // values["num_attention_heads"])


def _tokens(writer: Any, tokenizer: Any, file: Path, rows: int) -> None:
    from finetune import chat

    found = vocabulary(file, rows)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(found.pre)
    writer.add_token_list(found.tokens)
    writer.add_token_types(found.kinds)
    writer.add_token_merges(found.merges)
    writer.add_add_bos_token(found.adds_bos)
    ends = [tokenizer.eos_token_id, *(end for end in chat.end_ids(tokenizer) if end != tokenizer.eos_token_id)]
    named = {
        "bos": tokenizer.bos_token_id, "eos": ends[0], "eot": (ends[1:] or [None])[0], "pad": tokenizer.pad_token_id,
    }  # fmt: skip
    for name, number in named.items():
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tensors(writer: Any, plans: list[Plan], folder: str | Path, values: dict[str, Any]) -> None:
    import gguf
    import numpy as np

    factors = rotary_factors(values)
    if factors is not None:
        writer.add_tensor_info(ROTARY, factors.shape, factors.dtype, factors.nbytes)
    for one in plans:
        kind = gguf.GGMLQuantizationType[one.stored]
        shape = gguf.quants.quant_shape_to_byte_shape(one.shape, kind) if one.stored in ("Q8_0", "BF16") else one.shape
        width = {"F32": 4, "F16": 2}.get(one.stored, 1)
        dtype = np.dtype({4: np.float32, 2: np.float16, 1: np.uint8}[width])
        writer.add_tensor_info(one.name, shape, dtype, math.prod(shape) * width, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for made in _stored_tensors(plans, folder):
        writer.write_tensor_data(made)


def _stored_tensors(plans: list[Plan], folder: str | Path) -> Iterator[Any]:
    import gguf

    with checkpoint.reading(folder) as read:
        for one in plans:
            yield gguf.quants.quantize(rows(read, one), gguf.GGMLQuantizationType[one.stored])


def rows(read: Callable[[str], torch.Tensor], one: Plan) -> Numbers:
    """Read one tensor in float32, its rows in llama.cpp's order."""
    value: Numbers = read(one.source).float().numpy()
    return paired(value, one.heads) if one.heads else value


def rotary_factors(values: dict[str, Any]) -> Numbers | None:
    """Return by what Llama 3.1's rotary embedding divides each frequency (head width / 2), or None.

    Raises:
        KeyError: a setting is missing, which transformers would not load either.
    """
    import numpy as np

    rope = rotary(values)
    if rope["rope_type"] != "llama3":
        return None
    width, factor, old = head_width(values), rope["factor"], rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = old * rope["rope_theta"] ** (-np.arange(0, width, 2) / width) / (2 * np.pi)  # within the old context
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    made: Numbers = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return made
