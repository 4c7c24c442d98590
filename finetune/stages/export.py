"""Export: a model in the layout that a server reads.

`huggingface` is one folder for vLLM, TGI and transformers: config, safetensors, tokenizer, chat template, and
generation settings with every id that ends an answer. An adapter is merged into its base on the way. `lora` is an
adapter that vLLM loads beside its base. `gguf` is one file for llama.cpp, Ollama and LM Studio, with a Modelfile for
Ollama beside it (merging/llama_cpp.py says which models; llama.cpp's converter reads the first layout of the others).
"""

from __future__ import annotations

import shutil
from typing import Any, Literal

from pydantic import Field

from finetune import model_card
from finetune.model_card import Card
from finetune.stages.merge import Check, Dtype, ShardSize
from recipes.errors import UserError
from recipes.sections import Fault, ModelRef, StageRecipe, shipped

# What vLLM's LoRA loader refuses or would leave out.
UNSERVED = ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "trainable_token_indices")
FILES = ("adapter_config.json", "adapter_model.safetensors")


class Recipe(StageRecipe):
    """Export a model."""

    stage: Literal["export"] = "export"
    model_name_or_path: ModelRef
    layout: Literal["huggingface", "lora", "gguf"] = "huggingface"
    dtype: Dtype | Literal["q8_0"] = Field(
        "auto", description="How the result is stored; auto: as the base is. q8_0 (8 bits) is for gguf."
    )
    max_shard_size: ShardSize = "5GB"
    check: Check = Field(default_factory=Check)
    card: Card = Field(default_factory=Card)

    def faults(self) -> list[Fault]:
        """Refuse what cannot be merged, and adapters that the server would not serve as they were trained."""
        from finetune.merging import sources

        ref, carded = self.model_name_or_path, model_card.faults(self.card)
        if not shipped(ref).is_dir():
            return carded
        found = carded + list(sources.faults([(("model_name_or_path",), ref)], None, one_tokenizer=True))
        if self.dtype == "q8_0" and self.layout != "gguf":
            found.append(Fault(("dtype",), f"{self.layout} has no q8_0", "write layout: gguf, or another dtype"))
        if self.layout == "gguf":
            return found or self._gguf_faults()
        return found if found or self.layout == "huggingface" else self._lora_faults()

    def _gguf_faults(self) -> list[Fault]:
        from finetune.merging import heads, llama_cpp

        ref = self.model_name_or_path
        if (head := heads.of(ref)) != "causal":
            return [Fault(("layout",), f"{ref} has the head {head}", "write layout: huggingface")]
        try:
            llama_cpp.refuse(ref)
        except UserError as error:
            return [Fault(("layout",), f"{error.where}: {error.what}", error.write)]
        return []

    def _lora_faults(self) -> list[Fault]:
        from finetune.merging import sources
        from finetune.models import adapter_settings

        ref, found = self.model_name_or_path, list[Fault]()
        if not sources.is_adapter(ref):
            return [Fault(("layout",), f"{ref} is a whole model, no adapter", "write layout: huggingface")]
        settings = adapter_settings(shipped(ref))
        unserved = [key for key in UNSERVED if settings.get(key)]
        if settings.get("peft_type") != "LORA" or settings.get("task_type") != "CAUSAL_LM":
            unserved = [f"{settings.get('peft_type')} for {settings.get('task_type')}"]
        write = "write layout: huggingface, which merges it into its base"
        found += [Fault(("layout",), f"vLLM serves no adapter with {key}", write) for key in unserved]
        if self.dtype != "auto":
            found.append(Fault(("dtype",), "an adapter is copied as it is", "leave it out"))
        return found


def run(recipe: Recipe) -> None:
    """Write the layout."""
    from finetune import models
    from finetune.merging import adapter, checkpoint, gguf_layout, sources
    from recipes import artifact

    ref = recipe.model_name_or_path
    with artifact.writing(recipe) as work:
        if recipe.layout == "lora":
            for name in FILES:
                shutil.copyfile(shipped(ref) / name, work.path / name)
            models.load_tokenizer(ref).save_pretrained(work.path)
            work.notes["base"] = models.base_note(models.base_of(ref)[0], recipe.output_dir)
        elif recipe.layout == "gguf":
            work.metrics |= gguf_layout.write(recipe, work)
        elif sources.is_adapter(ref):
            merged = adapter.merge(
                ref, work.path, dtype=recipe.dtype, limit=checkpoint.size_in_bytes(recipe.max_shard_size),
                texts=recipe.check.file, tolerance=recipe.check.tolerance,
            )  # fmt: skip
            work.metrics |= merged.metrics() | {"dtype": merged.dtype}
        else:
            work.metrics |= _whole(recipe, work)
        model_card.write(recipe, work)


def _whole(recipe: Recipe, work: Any) -> dict[str, Any]:
    """Write a whole model tensor by tensor, and hold what was stored against it."""
    from finetune.merging import agreement, checkpoint, combination, heads, streaming

    ref, head = recipe.model_name_or_path, heads.of(recipe.model_name_or_path)
    folder = combination.local(ref)
    dtype = checkpoint.stored_dtype(checkpoint.entries(folder)) if recipe.dtype == "auto" else recipe.dtype
    how = streaming.Combination("linear", [1.0])
    rounding = streaming.merge([folder], how, work.path, dtype, checkpoint.size_in_bytes(recipe.max_shard_size))
    combination.beside(ref, folder, head, work.path, dtype)
    model, tokenizer = heads.load(ref, head)
    rows = agreement.sequences(tokenizer, recipe.check.file)
    before = agreement.logits(model, rows)
    del model
    stored = agreement.compare(before, agreement.logits(heads.load(str(work.path), head)[0], rows))
    what = f"logits of the model stored in {dtype} and the original"
    agreement.require(stored, recipe.check.tolerance or agreement.STORED[dtype], ref, what)
    figures = {f"stored_{name}": value for name, value in stored.rounded().items()}
    return figures | {"dtype": dtype, "rounding": float(f"{rounding:.3g}")}
