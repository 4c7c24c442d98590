"""What a model reference means: the base weights, the adapter on them, the tokenizer; and whether they belong together.

A finished stage's folder is either a whole model (config.json, model.safetensors, tokenizer) or an adapter
(adapter_config.json, adapter_model.safetensors, tokenizer) whose base is named in adapter_config.json.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from recipes import artifact
from recipes.errors import UserError
from recipes.sections import shipped

ADAPTER_CONFIG = "adapter_config.json"


def base_of(ref: str) -> tuple[str, str | None]:
    """Return the folder (or hub id) of the base weights behind `ref`, and the adapter's folder if `ref` is an adapter.

    Raises:
        UserError: the base is gone, or its weights are not those that the adapter was trained on.
    """
    folder = shipped(ref)
    config = folder / ADAPTER_CONFIG
    if not config.exists():
        return (str(folder) if folder.exists() else ref), None
    named = adapter_settings(folder)["base_model_name_or_path"]
    manifest = artifact.read(folder)
    recorded = manifest.notes.get("base") if manifest else None
    base = _find_base(folder, named, recorded)
    if recorded and Path(base).is_dir() and signature(base) != recorded["signature"]:
        raise UserError(
            str(folder),
            f"this adapter was trained on other weights than those now in {base}",
            f"run the stage that made the adapter again, or bring back the base it was trained on ({named})",
        )
    return base, str(folder)


def shared_base(ref: str) -> tuple[str, str | None]:
    """Return what to load for `ref`, and the adapter to put on it, for who keeps several adapters on one base.

    An adapter that changes more than layers (virtual tokens, a longer vocabulary) shares no base: it is loaded itself.
    """
    base, adapter = base_of(ref)
    if adapter:
        settings = adapter_settings(adapter)
        if settings.get("peft_type") not in ("LORA", "IA3") or settings.get("trainable_token_indices"):
            return adapter, None
    return base, adapter


def adapter_settings(folder: str | Path) -> dict[str, Any]:
    """Return what adapter_config.json says.

    Raises:
        UserError: it is damaged, or names no base.
    """
    file = Path(folder) / ADAPTER_CONFIG
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(str(file), f"damaged ({error})", "bring back the adapter's own file") from None
    if not isinstance(values, dict) or not values.get("base_model_name_or_path"):
        raise UserError(str(file), "names no base_model_name_or_path", "write the folder of the base it was trained on")
    return values


def refuse_reward_model(adapter: str | None) -> None:
    """Refuse a reward model where a policy is wanted.

    Raises:
        UserError: the adapter was trained with a scalar head, not as a language model.
    """
    if adapter and adapter_settings(adapter).get("task_type") == "SEQ_CLS":
        raise UserError(adapter, "a reward model, which writes no text", "name the model that it was trained from")


def _find_base(folder: Path, named: str, recorded: dict[str, Any] | None) -> str:
    """Return where the base lies: as named, shipped with the package, or where it lay relative to the adapter."""
    candidates = [shipped(named)]
    if recorded:
        candidates.append(folder / recorded["relative"])
    for candidate in candidates:
        if candidate.is_dir():
            return str(candidate)
    if os.path.isabs(named) or named.startswith((".", "runs/")) or named.count("/") != 1:
        raise UserError(
            str(folder), f"the base of this adapter is not there: {named}", "bring it back, or run its stage again"
        )
    return named


def signature(folder: str | Path) -> str:
    """Return a fingerprint of a model folder: an artefact's content hash, else config and ends of each weights file."""
    manifest = artifact.read(folder)
    if manifest:
        return manifest.content
    digest = hashlib.sha256()
    for file in sorted(Path(folder).glob("*.safetensors")):
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(65536))
            stream.seek(max(0, size - 65536))
            digest.update(stream.read(65536))
    digest.update((Path(folder) / "config.json").read_bytes())
    return digest.hexdigest()


def base_note(base: str, output_dir: str) -> dict[str, str]:
    """Return what an adapter's manifest keeps of its base, so that a wrong base is noticed when it is loaded."""
    if not Path(base).is_dir():
        return {"path": base, "relative": base, "signature": "hub"}
    return {"path": base, "relative": os.path.relpath(base, output_dir), "signature": signature(base)}


def load_tokenizer(ref: str, *, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model folder or hub id; a missing pad token becomes EOS (masks never come from it)."""
    from transformers import AutoTokenizer

    folder = shipped(ref)
    source = str(folder) if folder.is_dir() else ref
    if folder.is_dir() and not (folder / "tokenizer_config.json").exists():
        raise UserError(
            source, "this model folder has no tokenizer", "copy tokenizer.json and tokenizer_config.json in"
        )
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
