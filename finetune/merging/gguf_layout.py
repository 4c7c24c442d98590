"""The layout `gguf`: one file for llama.cpp, held against the model tensor by tensor and in its logits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.merging import (
    adapter,
    agreement,
    checkpoint,
    combination,
    heads,
    llama_cpp,
    llama_cpp_check,
    llama_cpp_tokenizer,
    ollama,
    sources,
)
from finetune.models import base_of

if TYPE_CHECKING:
    from finetune.stages.export import Recipe
    from recipes.artifact import Work

STORED = agreement.STORED | {"q8_0": agreement.STORED["bfloat16"]}


def write(recipe: Recipe, work: Work) -> dict[str, Any]:
    """Write a GGUF file and a Modelfile; return their figures. An adapter is merged into its base in float32 first.

    Raises:
        UserError: the model is not one that is written here, or the file does not say what the model says.
    """
    ref = recipe.model_name_or_path
    base = combination.local(base_of(ref)[0])
    llama_cpp.refuse(base)  # it may not have been there when the recipe was checked
    dtype = checkpoint.stored_dtype(checkpoint.entries(base)) if recipe.dtype == "auto" else recipe.dtype
    folder, found = base, dict[str, Any]()
    if sources.is_adapter(ref):
        merged = work.scratch / "merged"
        merged.mkdir(exist_ok=True)
        folder = str(merged)
        arithmetic = adapter.merge(ref, merged, dtype="float32", limit=5 * 10**9, texts=recipe.check.file).arithmetic
        found = {f"arithmetic_{name}": value for name, value in arithmetic.rounded().items()}
    model, tokenizer = heads.load(folder, "causal")
    file = work.path / llama_cpp.FILE
    plans = llama_cpp.write(folder, tokenizer, file, dtype, Path(recipe.output_dir).name)
    rounding = llama_cpp_check.read_back(file, plans, folder)
    rows = agreement.sequences(tokenizer, recipe.check.file)
    before = agreement.logits(model, rows)
    llama_cpp_check.load_into(model, file, plans)
    stored = agreement.compare(before, agreement.logits(model, rows))
    what = f"logits of the model stored in {dtype} and the original"
    agreement.require(stored, recipe.check.tolerance or STORED[dtype], ref, what)
    vocabulary = llama_cpp_tokenizer.vocabulary(Path(folder) / "tokenizer.json", None)
    template = ollama.write(work.path, llama_cpp.FILE, tokenizer, adds_bos=vocabulary.adds_bos)
    found |= {f"stored_{name}": value for name, value in stored.rounded().items()}
    found |= {"dtype": dtype, "rounding": float(f"{rounding:.3g}"), "pre_tokenizer": vocabulary.pre}
    return found | {"ollama_template": template}
