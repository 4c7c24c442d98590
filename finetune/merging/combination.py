"""Several adapters or models into one, from a recipe: what is streamed, and what is said of the result.

Adapters of one base are merged into it one after the other, in float32, into the scratch folder: a combination then
works on whole weights, whatever the kinds of the adapters are. The base goes there too, loaded with the adapters' head,
so that weights have the same names. `linear` for adapters adds their weighted differences to the base.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.merging import adapter, agreement, checkpoint, heads, layout, sources, streaming
from finetune.merging.streaming import Combination
from finetune.models import base_of, load_tokenizer
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    from finetune.stages.merge import Recipe

COPIED = ("config.json", "generation_config.json")


def run(recipe: Recipe, out: Path, scratch: Path, limit: int) -> dict[str, Any]:
    """Write the combination into `out`; return its figures.

    Raises:
        UserError: weights do not fit together, or the result gives no finite logits.
    """
    refs = [str(source.model_name_or_path) for source in recipe.models]
    method, base = str(recipe.method), recipe.base_model_name_or_path
    folders, based = [local(ref) for ref in refs], local(base) if base else None
    stored_as = based or folders[0]
    if sources.is_adapter(refs[0]):
        stored_as = local(base_of(refs[0])[0])
        based = _base_with_head(refs[0], scratch / "base")
        folders = [_merged(ref, scratch / f"model-{number}") for number, ref in enumerate(refs)]
        # The sum of weighted differences from one base, which for whole models is called task arithmetic.
        method = "task_arithmetic" if method == "linear" else method
    dtype = checkpoint.stored_dtype(checkpoint.entries(stored_as)) if recipe.dtype == "auto" else recipe.dtype
    how = Combination(
        method,
        recipe.weights(),
        based if method not in ("linear", "slerp") else None,
        recipe.density or 1.0,
        0.5 if recipe.t is None else recipe.t,
        recipe.seed,
    )
    rounding = streaming.merge(folders, how, out, dtype, limit)
    beside(recipe.tokenizer or refs[0], folders[0], heads.of(refs[0]), out, dtype)
    return {"dtype": dtype, "rounding": float(f"{rounding:.3g}")} | _compared(recipe, refs, folders, out)


def local(ref: str) -> str:
    """Return a model's folder on this disk; a hub id is looked up in the local cache."""
    folder = shipped(ref)
    if folder.is_dir():
        return str(folder)
    from huggingface_hub import snapshot_download

    return snapshot_download(ref, allow_patterns=["*.safetensors", "*.json", "*.jinja", "*.model", "README.md"])


def _merged(ref: str, folder: Path) -> str:
    """Merge one adapter into the scratch folder in float32; a finished one of an interrupted run is used again."""
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        adapter.merge(ref, folder, dtype="float32", limit=5 * 10**9)
        done.touch()
    return str(folder)


def _base_with_head(ref: str, folder: Path) -> str:
    """Write the base of an adapter in float32, loaded with the adapter's head, whose own weights are left out."""
    from safetensors.torch import load_file, save_file

    from finetune import models

    base, head = base_of(ref)[0], heads.of(ref)
    loaded = models.load(base, head="sequence_classification" if head == "reward" else head, dtype="float32")  # type: ignore[arg-type]
    shutil.rmtree(folder, ignore_errors=True)
    loaded.model.save_pretrained(folder)
    if loaded.new:  # random first values, which are no base of anything
        for file in folder.glob("*.safetensors"):
            kept = {name: one for name, one in load_file(file).items() if name.rpartition(".")[0] not in loaded.new}
            save_file(kept, file, metadata={"format": "pt"})
    return str(folder)


def beside(tokenizer_of: str, config_of: str, head: str, out: Path, dtype: str) -> None:
    """Write config, generation settings and tokenizer beside merged weights."""
    for name in COPIED:
        if (Path(config_of) / name).is_file():
            shutil.copyfile(Path(config_of) / name, out / name)
    values = heads.config(out) | {"dtype": dtype}
    values.pop("torch_dtype", None)
    (out / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    layout.finish(out, load_tokenizer(tokenizer_of), writes_text=head in heads.WRITES_TEXT)


def _compared(recipe: Recipe, refs: Sequence[str], folders: Sequence[str], out: Path) -> dict[str, Any]:
    """Return how far the result is from each of its models; a combination has no other model to equal."""
    head = heads.of(refs[0])
    model, tokenizer = heads.load(str(out), head)
    rows = agreement.sequences(tokenizer, recipe.check.file)
    made = agreement.logits(model, rows)
    del model
    found: dict[str, Any] = {}
    for number, (ref, folder) in enumerate(zip(refs, folders, strict=True)):
        one = agreement.compare(agreement.logits(heads.load(folder, head)[0], rows), made)
        if not one.positions:
            what = "the combined weights give logits that are not finite"
            raise UserError(ref, what, "write smaller weights, another method or a wider dtype")
        found[f"from_model_{number}"] = {"model": ref, "kl": one.rounded()["kl"], "top1": one.rounded()["top1"]}
    return found
