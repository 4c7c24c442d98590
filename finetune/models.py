"""Load and save: base weights, tokenizer, adapter, reward head; and the check that an adapter meets its own base.

A finished stage's folder is either a whole model (config.json, model.safetensors, tokenizer) or an adapter
(adapter_config.json, adapter_model.safetensors, tokenizer) whose base is named in adapter_config.json.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes import artifact
from recipes.errors import UserError
from recipes.sections import Lora, Model, shipped

if TYPE_CHECKING:
    import torch

ADAPTER_CONFIG = "adapter_config.json"


@dataclass
class Loaded:
    """A model ready for use; `adapter` is the folder of the adapter that is active as "default", if there is one."""

    model: Any
    tokenizer: Any
    device: torch.device
    base: str
    adapter: str | None


@dataclass
class Reward:
    """A reward model: a base with a scalar head, read at the last token."""

    model: Any
    tokenizer: Any
    device: torch.device

    def score(self, sequences: list[list[int]], *, batch_size: int = 64) -> list[float]:
        """Return the reward of each whole sequence (prompt and answer ids, without padding)."""
        import torch

        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        scores = [0.0] * len(sequences)
        self.model.eval()
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                chunk = order[start : start + batch_size]
                ids, last = right_pad([sequences[index] for index in chunk], self.device)
                for index, value in zip(chunk, last_token_scores(self.model, ids, last).tolist(), strict=True):
                    scores[index] = value
        return scores


def right_pad(sequences: list[list[int]], device: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids (B, T), padded on the right with 0, and the position of each last token (B,)."""
    import torch

    ids = torch.zeros(len(sequences), max(map(len, sequences)), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    last = torch.tensor([len(sequence) - 1 for sequence in sequences])
    return ids.to(device), last.to(device)


def last_token_scores(model: Any, ids: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Return the scalar head's output (B,) at the positions `last` (B,) of right-padded ids (B, T).

    The trunk is called directly: transformers' classification models guess the last token from the pad id, which is
    wrong wherever pad and EOS are the same token. No mask is needed: nothing sees what stands to its right.
    """
    import torch

    classifier = model.get_base_model() if hasattr(model, "get_base_model") else model
    trunk = getattr(classifier, classifier.base_model_prefix)
    hidden = trunk(input_ids=ids, use_cache=False).last_hidden_state
    rows = torch.arange(len(last), device=hidden.device)
    return classifier.score(hidden[rows, last]).squeeze(-1).float()


@contextmanager
def told(where: str, write: str) -> Iterator[None]:
    """Tell a library's complaint about a recipe's value as a mistake in the recipe."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise UserError(where, str(error).strip().splitlines()[0], write) from error


def device_of(name: str | None = None) -> torch.device:
    """Return the device to work on: the named one, else this process's GPU, else the CPU."""
    import torch

    if name:
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """Return the torch dtype for a recipe's `dtype`; auto is float32 on CPUs (bfloat16 is 2 to 3 times slower)."""
    import torch

    if name != "auto":
        return getattr(torch, name)
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


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


def tokenizer_of(model: Model) -> Any:
    """Load the tokenizer of a recipe's model, and nothing else: rows are read before the weights are."""
    base, adapter = base_of(model.model_name_or_path)
    refuse_reward_model(adapter)
    return load_tokenizer(adapter or base, trust_remote_code=model.trust_remote_code)


def load_for(model: Model) -> Loaded:
    """Load a recipe's model for training."""
    return load(
        model.model_name_or_path,
        dtype=model.dtype,
        attn_implementation=model.attn_implementation,
        trust_remote_code=model.trust_remote_code,
        trainable=True,
    )


def load(
    ref: str,
    *,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    trust_remote_code: bool = False,
    device: str | None = None,
    trainable: bool = False,
) -> Loaded:
    """Load a model with its tokenizer, the adapter attached if `ref` is one; in eval mode unless `trainable`.

    Raises:
        UserError: the base of an adapter is gone or another one, or there is no tokenizer.
    """
    from transformers import AutoModelForCausalLM

    base, adapter = base_of(ref)
    refuse_reward_model(adapter)
    where = device_of(device)
    with told("model", "write an attn_implementation that transformers has here, such as sdpa or eager"):
        model = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=dtype_of(dtype, where),
            attn_implementation=attn_implementation,
            trust_remote_code=trust_remote_code,
        )
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    model.to(where)
    model.train(trainable)
    return Loaded(model, load_tokenizer(adapter or base, trust_remote_code=trust_remote_code), where, base, adapter)


def lora_config(lora: Lora, task: str) -> Any:
    """Return peft's LoraConfig for a recipe's adapter section."""
    from peft import LoraConfig

    return LoraConfig(
        task_type=task,
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=lora.target_modules,
        use_rslora=lora.use_rslora,
    )


def add_adapter(loaded: Loaded, lora: Lora | None) -> None:
    """Put a fresh LoRA adapter on a loaded model for training; an adapter that is there already goes on being trained.

    Raises:
        UserError: the adapter that is there has another shape than the recipe asks for.
    """
    if lora is None:
        if loaded.adapter:
            raise UserError(
                loaded.adapter,
                "the model to start from is an adapter, and the recipe has no `adapter` section",
                "write `adapter: {}` to go on training that adapter, or start from a whole model",
            )
        return
    if loaded.adapter:
        check_same_shape(loaded.adapter, lora)
        return
    from peft import get_peft_model

    with told("adapter", "write target_modules that the model has, or all-linear"):
        loaded.model = get_peft_model(loaded.model, lora_config(lora, "CAUSAL_LM"))
    loaded.model.peft_config["default"].base_model_name_or_path = loaded.base


def check_same_shape(adapter: str, lora: Lora) -> None:
    """Refuse a recipe whose LoRA keys, where written, differ from those of the adapter that training goes on from."""
    config = adapter_settings(adapter)
    for key in sorted(lora.model_fields_set & {"r", "lora_alpha", "use_rslora"}):
        if config[key] != getattr(lora, key):
            raise UserError(
                f"adapter.{key}",
                f"{getattr(lora, key)}, but the adapter to go on from ({adapter}) has {config[key]}",
                f"write {config[key]}, or leave the key out",
            )


def load_reward_base(ref: str, lora: Lora, *, dtype: str = "auto", attn_implementation: str = "sdpa") -> Loaded:
    """Load `ref` with a fresh scalar head for training as a reward model; its adapter, if any, is copied and goes on.

    The head starts at zero, so that before training every answer has the same reward and the loss is ln 2.
    """
    import torch
    from peft import get_peft_model
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForSequenceClassification

    base, adapter = base_of(ref)
    where = device_of()
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=dtype_of(dtype, where), attn_implementation=attn_implementation
    )
    with torch.no_grad():
        model.score.weight.zero_()
    if adapter:
        check_same_shape(adapter, lora)
        config = adapter_settings(adapter)
        lora = lora.model_copy(update={key: config[key] for key in ("r", "lora_alpha", "use_rslora", "target_modules")})
    with told("adapter", "write target_modules that the model has, or all-linear"):
        model = get_peft_model(model, lora_config(lora, "SEQ_CLS"))
    model.peft_config["default"].base_model_name_or_path = base
    if adapter:
        # peft wants every key of its own, the new head's too.
        whole = get_peft_model_state_dict(model) | load_file(Path(adapter) / "adapter_model.safetensors")
        set_peft_model_state_dict(model, whole)
    tokenizer = load_tokenizer(adapter or base)
    model.config.pad_token_id = tokenizer.pad_token_id
    return Loaded(model.to(where), tokenizer, where, base, adapter)


def load_reward(ref: str, *, dtype: str = "auto", device: str | None = None) -> Reward:
    """Load a finished reward model (a LoRA adapter with a score head on its base, or a whole classifier).

    Raises:
        UserError: `ref` is not a reward model, or its base is gone or another one.
    """
    from transformers import AutoModelForSequenceClassification

    base, adapter = base_of(ref)
    if adapter:
        task = adapter_settings(adapter).get("task_type")
        if task != "SEQ_CLS":
            raise UserError(adapter, f"not a reward model but an adapter for {task}", "name a `stage: reward` folder")
    where = device_of(device)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=dtype_of(dtype, where))
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    model.to(where).eval()
    return Reward(model, load_tokenizer(adapter or base), where)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a whole model or an adapter, and the tokenizer with its template, into `folder`."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    config = folder / ADAPTER_CONFIG
    if config.exists():
        # peft keeps the modules in a set, whose order changes from process to process: equal runs, equal bytes.
        values = json.loads(config.read_text(encoding="utf-8"))
        if isinstance(values.get("target_modules"), list):
            values["target_modules"].sort()
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # peft writes a card full of "[More Information Needed]"; the manifest says what is known.
    card = folder / "README.md"
    if card.exists() and "More Information Needed" in card.read_text(encoding="utf-8"):
        card.unlink()
