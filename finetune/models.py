"""Load and save: base weights, tokenizer, adapter, and the head of each kind of model.

What a reference means is in bases.py; adapters are in adapters.py, reward models in reward_models.py. Those names that
stages use are here too, so that a stage imports one module.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from finetune import adapters, chat_templates, freezing, quantization
from finetune.adapters import add_adapter, check_same_shape
from finetune.bases import (
    ADAPTER_CONFIG,
    adapter_settings,
    base_note,
    base_of,
    load_tokenizer,
    refuse_reward_model,
    shared_base,
    signature,
)
from finetune.loaded import Loaded, device_of, dtype_of, right_pad, told
from finetune.reward_models import Reward, last_token_scores, load_reward, load_reward_base
from recipes.errors import UserError
from recipes.sections import Adapter, Model, shipped

__all__ = [
    "ADAPTER_CONFIG",
    "Head",
    "Loaded",
    "Reward",
    "adapter_settings",
    "add_adapter",
    "base_note",
    "base_of",
    "check_same_shape",
    "device_of",
    "dtype_of",
    "last_token_scores",
    "load",
    "load_for",
    "load_reward",
    "load_reward_base",
    "load_tokenizer",
    "refuse_reward_model",
    "right_pad",
    "save",
    "shared_base",
    "signature",
    "tokenizer_of",
    "told",
]

Head = Literal["causal", "masked", "seq2seq", "sequence_classification", "token_classification"]
CLASSES = {
    "causal": "AutoModelForCausalLM",
    "masked": "AutoModelForMaskedLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
}
_WRITE = (
    "write a model that transformers can give this head, and an attn_implementation such as sdpa or eager",
    "write an attn_implementation that transformers has here, such as sdpa or eager",
)
LABELS = "labels.json"  # beside a classifier's adapter; a whole classifier has its labels in config.json


def tokenizer_of(model: Model) -> Any:
    """Load the tokenizer of a recipe's model, and nothing else: rows are read before the weights are."""
    base, adapter = base_of(model.model_name_or_path)
    refuse_reward_model(adapter)
    tokenizer = load_tokenizer(adapter or base, trust_remote_code=model.trust_remote_code)
    chat_templates.choose(tokenizer, model.chat_template)
    return tokenizer


def load_for(
    model: Model,
    head: Head = "causal",
    labels: list[str] | None = None,
    multi_label: bool = False,
    *,
    adapter: Adapter | None = None,
) -> Loaded:
    """Load a recipe's model for training, with what it freezes frozen.

    Under `adapter` the base is frozen and need not be precise to the last bit: `dtype: auto` goes by that.

    An adapter made for another head (a chat model that a classifier starts from) is not put on here: `add_adapter`
    carries its weights over.

    Raises:
        UserError: as `load`, or nothing is left to train.
    """
    loaded = load(
        model.model_name_or_path,
        head=head,
        labels=labels,
        multi_label=multi_label,
        dtype=model.dtype,
        attn_implementation=model.attn_implementation,
        trust_remote_code=model.trust_remote_code,
        quantize=quantization.settings(model),
        trainable=True,
        frozen=model.quantization is None and adapter is not None and adapter.is_plain_lora,
    )
    chat_templates.choose(loaded.tokenizer, model.chat_template)
    if model.freeze:
        freezing.freeze(loaded.model, model.freeze)
    return loaded


def load(
    ref: str,
    *,
    head: Head = "causal",
    labels: list[str] | None = None,
    multi_label: bool = False,
    dtype: str = "auto",
    attn_implementation: str = "sdpa",
    trust_remote_code: bool = False,
    device: str | None = None,
    quantize: quantization.Settings | None = None,
    trainable: bool = False,
    frozen: bool = False,
) -> Loaded:
    """Load a model with its tokenizer, the adapter attached if `ref` is one; in eval mode unless `trainable`.

    `labels` name the outputs of a new classification head; without them a classifier's own are read.

    Raises:
        UserError: the base of an adapter is gone or another one, there is no tokenizer, or the head does not fit.
    """
    base, adapter = base_of(ref)
    if head == "causal":
        refuse_reward_model(adapter)
    where = device_of(device)
    tokenizer = load_tokenizer(adapter or base, trust_remote_code=trust_remote_code)
    kind = dtype_of(dtype, where, frozen=frozen)
    arguments: dict[str, Any] = {"dtype": kind, "attn_implementation": attn_implementation}
    arguments |= {"trust_remote_code": trust_remote_code} | _classes(head, adapter or base, labels, multi_label)
    if quantize:
        arguments |= {"quantization_config": quantization.config(quantize, kind), "device_map": {"": where}}
    with told("model", _WRITE[head == "causal"]):
        model, info = _auto(head).from_pretrained(base, output_loading_info=True, **arguments)
    if "classification" in head and model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if adapter and adapters.fits(adapter, head):
        model = adapters.attach(model, adapter, trainable=trainable, vocabulary=len(tokenizer))
    elif adapter and not trainable:
        task = adapter_settings(adapter).get("task_type")
        raise UserError(adapter, f"an adapter for {task}, not for {head}", "name the result of the fitting stage")
    if quantize:
        quantization.steady(model)
    else:
        model.to(where)
    model.train(trainable)
    new = {name.rpartition(".")[0] for name in info["missing_keys"] if name.endswith(".weight")}
    return Loaded(model, tokenizer, where, base, adapter, head, quantize.kind if quantize else None, new=sorted(new))


def _auto(head: Head) -> Any:
    """Return transformers' class that loads a model with this head."""
    import transformers

    return getattr(transformers, CLASSES[head])


def _classes(head: Head, source: str, labels: list[str] | None, multi_label: bool) -> dict[str, Any]:
    """Return what a classification head needs to know: its labels, and whether several may hold at once."""
    if "classification" not in head:
        return {}
    file = shipped(source) / LABELS
    if labels is None and file.is_file():
        kept = json.loads(file.read_text(encoding="utf-8"))
        labels, multi_label = kept["labels"], kept["multi_label"]
    if labels is None:
        return {}
    found: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: index for index, label in enumerate(labels)},
        "ignore_mismatched_sizes": True,  # a classifier of other labels gets a new head
    }
    if head == "sequence_classification":
        found["problem_type"] = "multi_label_classification" if multi_label else "single_label_classification"
    return found


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a whole model or an adapter, and the tokenizer with its template, into `folder`."""
    gathered = getattr(model, "gathered_weights", None)  # of a model whose processes have each trained a shard
    whole = {} if gathered is None else {"state_dict": gathered}
    model.save_pretrained(folder, safe_serialization=True, **whole, **adapters.saving_arguments(model))
    tokenizer.save_pretrained(folder)
    config = folder / ADAPTER_CONFIG
    if config.exists():
        adapters.finish(model, folder)
        _save_labels(model, folder)
        # peft keeps the modules in a set, whose order changes from process to process: equal runs, equal bytes.
        values = json.loads(config.read_text(encoding="utf-8"))
        for name in ("target_modules", "feedforward_modules", "exclude_modules", "modules_to_save"):
            if isinstance(values.get(name), list):
                values[name].sort()
        config.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # peft writes a card full of "[More Information Needed]"; the manifest says what is known.
    card = folder / "README.md"
    if card.exists() and "More Information Needed" in card.read_text(encoding="utf-8"):
        card.unlink()


def _save_labels(model: Any, folder: Path) -> None:
    """Write a classifier's labels beside its adapter: peft keeps nothing of the base's config."""
    settings = model.config
    task = adapter_settings(folder).get("task_type")
    if task in ("SEQ_CLS", "TOKEN_CLS") and getattr(settings, "num_labels", 0) > 1:
        labels = [settings.id2label[index] for index in range(settings.num_labels)]
        several = settings.problem_type == "multi_label_classification"
        values = {"labels": labels, "multi_label": several}
        (folder / LABELS).write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
