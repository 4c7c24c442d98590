"""Adapters: put on, gone on with, carried over to another head, and written so that they load on the original base.

PiSSA and OLoRA take the adapter's first values out of the base's weights, LoftQ makes up for what quantisation lost.
peft writes such an adapter as it is, and takes the base apart anew when it is loaded: with pissa_niter_N into other
parts, a second adapter on the same base meets a changed one, and switched off it leaves another model than the base.
Here the first values A0, B0 are kept while training lasts, and what is written is the difference B A - B0 A0: plain
LoRA of twice the rank on the base as it lies on disk. The first values depend on the base and the seed alone, so a
resumed run makes the same ones.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune import precision, quantization, virtual_tokens
from finetune.bases import ADAPTER_CONFIG, adapter_settings
from finetune.loaded import Loaded, told
from recipes.errors import UserError
from recipes.sections import Adapter

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"
TASKS = {
    "causal": "CAUSAL_LM",
    "masked": None,
    "seq2seq": "SEQ_2_SEQ_LM",
    "sequence_classification": "SEQ_CLS",
    "token_classification": "TOKEN_CLS",
}
HEADS = ["classifier", "score", "qa_outputs"]  # peft trains and saves them for classification tasks
SHAPE = ("r", "lora_alpha", "use_rslora", "use_dora")
# What an adapter that goes on keeps as well, whatever a recipe says: told instead of passed over.
KEPT: tuple[str, ...] = (
    "target_modules",
    "exclude_modules",
    "feedforward_modules",
    "layers_to_transform",
    "rank_pattern",
)
KEPT += ("alpha_pattern", "modules_to_save", "lora_dropout")
KEYS_AND_VALUES = {"k_proj", "v_proj", "key", "value", "k_lin", "v_lin", "query_key_value", "qkv_proj"}
FEEDFORWARD = {"down_proj", "fc2", "wo", "w2", "dense_4h_to_h", "lin2"}
WRITE = "write target_modules that the model has, or all-linear"
INITIAL = "initial_adapter"  # A0 and B0 by name, on a model whose first values were taken out of its base


def fits(adapter: str, head: str) -> bool:
    """Return whether an adapter was made for this head."""
    return adapter_settings(adapter).get("task_type") == TASKS[head]


def attach(model: Any, adapter: str, *, trainable: bool = False, vocabulary: int = 0) -> Any:
    """Return the model with a saved adapter on it; one that has learned new tokens needs rows for `vocabulary` ids."""
    from peft import PeftModel
    from peft.utils import ModulesToSaveWrapper

    if adapter_settings(adapter).get("trainable_token_indices") and vocabulary > rows(model):
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    prompt = adapter_settings(adapter).get("peft_type") == "PROMPT_TUNING"
    model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable and not prompt)
    if prompt and trainable:  # which peft refuses to do
        model.prompt_encoder.requires_grad_(True)
        for module in model.modules():
            if isinstance(module, ModulesToSaveWrapper):
                module.modules_to_save.requires_grad_(True)
    return _ready(model)


def rows(model: Any) -> int:
    """Return how many rows the embeddings have."""
    return int(model.get_input_embeddings().weight.shape[0])


def add_adapter(loaded: Loaded, adapter: Adapter | None) -> None:
    """Put a fresh adapter on a loaded model for training; an adapter that is there already goes on being trained.

    Raises:
        UserError: the adapter that is there has another shape than the recipe asks for.
    """
    if adapter is None:
        if loaded.adapter:
            raise UserError(
                loaded.adapter,
                "the model to start from is an adapter, and the recipe has no `adapter` section",
                "write `adapter: {}` to go on training that adapter, or start from a whole model",
            )
        if loaded.quantization:
            what = f"a base in {loaded.quantization} cannot be trained itself"
            raise UserError("model.quantization", what, "add an `adapter` section, or leave quantization out")
        return
    if loaded.adapter:
        check_same_shape(loaded.adapter, adapter)
        if hasattr(loaded.model, "peft_config"):
            _check_kept(loaded.adapter, adapter)
            loaded.model.loraplus_lr_ratio = adapter.loraplus_lr_ratio
            return
        adapter = _shaped_as(loaded.adapter, adapter)
    loaded.model = _fresh(loaded, adapter)
    if loaded.adapter:
        carry_over(loaded.model, loaded.adapter)


def _fresh(loaded: Loaded, adapter: Adapter) -> Any:
    """Return the model with a new adapter on it."""
    from peft import get_peft_model

    if adapter.peft_type == "ia3" and adapter.target_modules == "all-linear":
        adapter = adapter.model_copy(update=_ia3_modules(loaded.model))
    if adapter.layers_to_transform and adapter.target_modules == "all-linear":
        adapter = adapter.model_copy(update={"target_modules": _linear_names(loaded.model)})
    config = peft_config(_with_new_modules(adapter, loaded), TASKS[loaded.head], loaded.base, _token_rows(loaded))
    with told("adapter", WRITE):
        model = get_peft_model(loaded.model, config)
        if adapter.peft_type == "lora" and adapter.init_lora_weights == "loftq":
            quantization.loftq(model, loaded.base)
    own = model.peft_config["default"]
    own.base_model_name_or_path = loaded.base
    if adapter.moves_base or adapter.init_lora_weights == "loftq":
        setattr(model, INITIAL, _lora_weights(model))
    model.loraplus_lr_ratio = adapter.loraplus_lr_ratio
    return _ready(model)


def _linear_names(model: Any) -> list[str]:
    """Return the last parts of the names of all linear layers but the head: peft picks layers only from a list."""
    names = [name for name, module in model.base_model.named_modules() if hasattr(module, "in_features")]
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def _ia3_modules(model: Any) -> dict[str, Any]:
    """Return what IA³ scales, as its authors do (keys, values, what enters the last matrix of the feed-forward).

    peft has a table by architecture; one that is not in it is looked at by the names of its layers.
    """
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as TABLE

    if model.config.model_type in TABLE:
        return {}
    names = set(_linear_names(model))
    inner = sorted(names & FEEDFORWARD)
    return {"target_modules": sorted(names & KEYS_AND_VALUES) + inner, "feedforward_modules": inner} if inner else {}


def _with_new_modules(adapter: Adapter, loaded: Loaded) -> Adapter:
    """Return the section so that modules with random first values are trained and saved whole.

    A masked model has no pooler, for one: left to peft, a classifier on it would meet another random one when loaded.
    """
    new = [name for name in loaded.new if not set(name.split(".")) & set(HEADS)]
    if not new:
        return adapter
    changed: dict[str, Any] = {"modules_to_save": [*(adapter.modules_to_save or []), *new]}
    if adapter.target_modules == "all-linear" and not isinstance(adapter.exclude_modules, str):
        heads = HEADS if TASKS[loaded.head] == "TOKEN_CLS" else []
        changed["exclude_modules"] = [*(adapter.exclude_modules or heads), *new]
    return adapter.model_copy(update=changed)


def _token_rows(loaded: Loaded) -> dict[str, list[int]] | None:
    """Return which rows of the embeddings, and of an output layer of its own, are trained along."""
    if not loaded.new_tokens:
        return None
    model = loaded.model
    layers = [model.get_input_embeddings(), model.get_output_embeddings()]
    if layers[1] is None or layers[1].weight is layers[0].weight:
        del layers[1]  # tied: peft trains the rows once
    names = {id(module): name for name, module in model.named_modules()}
    return {names[id(layer)].rsplit(".", 1)[-1]: loaded.new_tokens for layer in layers}


def saving_arguments(model: Any) -> dict[str, Any]:
    """Return what save_pretrained is told: of a longer vocabulary only the new rows are written, not all of it."""
    config = getattr(model, "peft_config", {}).get("default")
    return {"save_embedding_layers": False} if getattr(config, "trainable_token_indices", None) else {}


def _ready(model: Any) -> Any:
    """Do what peft leaves undone: products in the base's precision, virtual tokens that caches and padding allow."""
    precision.compute_in_base_precision(model)
    if model.peft_config[model.active_adapter].is_prompt_learning:
        virtual_tokens.install(model)
    return model


def peft_config(
    adapter: Adapter, task: str | None, base: str | None = None, token_rows: dict[str, list[int]] | None = None
) -> Any:
    """Return peft's config for a recipe's adapter section."""
    import peft

    if adapter.peft_type == "prompt_tuning":
        text = adapter.prompt_tuning_init_text
        return peft.PromptTuningConfig(
            task_type=task,
            num_virtual_tokens=adapter.num_virtual_tokens,
            prompt_tuning_init="TEXT" if text else "RANDOM",
            prompt_tuning_init_text=text,
            modules_to_save=adapter.modules_to_save,
            tokenizer_name_or_path=base if text else None,
        )
    shared: dict[str, Any] = {"task_type": task, "modules_to_save": adapter.modules_to_save}
    shared["exclude_modules"] = _excluded(adapter, task)
    if adapter.peft_type == "ia3":
        targets = None if adapter.target_modules == "all-linear" else adapter.target_modules
        return peft.IA3Config(target_modules=targets, feedforward_modules=adapter.feedforward_modules, **shared)
    return peft.LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=adapter.lora_dropout,
        target_modules=adapter.target_modules,
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        # LoftQ's own values are put in afterwards, from the base's full weights.
        init_lora_weights=True if adapter.init_lora_weights == "loftq" else adapter.init_lora_weights,
        layers_to_transform=adapter.layers_to_transform,
        rank_pattern=dict(adapter.rank_pattern),
        alpha_pattern=dict(adapter.alpha_pattern),
        trainable_token_indices=token_rows,
        **shared,
    )


def _excluded(adapter: Adapter, task: str | None) -> Any:
    """Return what gets no adapter: a new head is trained whole, which all-linear overlooks for tokens' classes."""
    if adapter.exclude_modules is None and adapter.target_modules == "all-linear" and task == "TOKEN_CLS":
        return HEADS
    return adapter.exclude_modules


def check_same_shape(folder: str, adapter: Adapter) -> None:
    """Refuse a recipe whose keys, where written, differ from those of the adapter that training goes on from."""
    config = adapter_settings(folder)
    kind = str(config.get("peft_type", "LORA")).lower()
    wanted: dict[str, Any] = {
        key: getattr(adapter, key) for key in adapter.model_fields_set & {*SHAPE, "num_virtual_tokens"}
    }
    if kind != adapter.peft_type and "peft_type" in adapter.model_fields_set | ({"peft_type"} if wanted else set()):
        wanted = {"peft_type": adapter.peft_type}
    for key in sorted(wanted):
        there = kind if key == "peft_type" else config.get(key)
        if there != wanted[key]:
            raise UserError(
                f"adapter.{key}",
                f"{wanted[key]}, but the adapter to go on from ({folder}) has {there}",
                f"write {there}, or leave the key out",
            )


def _check_kept(folder: str, adapter: Adapter) -> None:
    """Refuse a recipe that writes what the adapter that goes on has otherwise."""
    config = adapter_settings(folder)
    for key in KEPT:
        wanted, there = getattr(adapter, key), config.get(key)
        if key in adapter.model_fields_set and wanted != "all-linear" and not _alike(key, wanted, there):
            what = f"{wanted}, but the adapter to go on from ({folder}) has {there}"
            raise UserError(f"adapter.{key}", what, "leave the key out, or start from a whole model")


def _alike(key: str, wanted: Any, there: Any) -> bool:
    if isinstance(wanted, list) and isinstance(there, list):
        return set(wanted) == set(there) or (key == "modules_to_save" and set(wanted) <= set(there))
    return bool((wanted or None) == (there or None))


def _shaped_as(folder: str, adapter: Adapter) -> Adapter:
    """Return the section with the shape of a saved LoRA adapter."""
    config = adapter_settings(folder)
    if config.get("peft_type") != "LORA":
        what = f"an adapter of type {config.get('peft_type')} for {config.get('task_type')} goes on no other head"
        raise UserError(folder, what, "start from the base itself, or from a LoRA adapter")
    keys = (*SHAPE, "target_modules", "exclude_modules", "layers_to_transform", "rank_pattern", "alpha_pattern")
    same = {key: config[key] for key in keys if config.get(key) is not None}
    return adapter.model_copy(update={**same, "init_lora_weights": True})


def carry_over(model: Any, folder: str) -> None:
    """Copy a saved adapter's weights onto a fresh one of the same shape; a head that it has no weights for stays."""
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    # peft wants every key of its own, a new head's too.
    own = get_peft_model_state_dict(model)
    saved = load_file(Path(folder) / WEIGHTS)
    if missing := sorted(name for name in own if ".lora_" in name and name not in saved):
        what = f"its weights do not fit this model ({len(missing)} missing, {missing[0]} first)"
        raise UserError(folder, what, "start from the base itself")
    set_peft_model_state_dict(model, own | {name: value for name, value in saved.items() if name in own})


def _lora_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return copies of A and B under the names that peft writes them by."""
    from peft.utils import get_peft_model_state_dict

    state = get_peft_model_state_dict(model)
    return {name: value.detach().cpu().clone() for name, value in state.items() if ".lora_" in name}


def finish(model: Any, folder: Path) -> None:
    """Make what peft has written in `folder` load on the original base."""
    initial = getattr(model, INITIAL, None)
    if initial is not None:
        to_plain_lora(folder, initial)


def to_plain_lora(folder: Path, initial: dict[str, torch.Tensor]) -> None:
    """Rewrite a saved adapter B A as [B, -B0] [A; A0]: rank 2r, the same scaling, on the untouched base."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    for name, first in initial.items():
        now = weights[name]
        parts, dim = ([now, first.to(now)], 0) if ".lora_A." in name else ([now, -first.to(now)], 1)
        weights[name] = torch.cat(parts, dim).contiguous()
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    file = folder / ADAPTER_CONFIG
    config = json.loads(file.read_text(encoding="utf-8"))
    # Scaling is alpha / r, or alpha / sqrt(r) with rsLoRA: alpha grows so that it stays.
    growth = 2**0.5 if config["use_rslora"] else 2
    config |= {"r": 2 * config["r"], "lora_alpha": config["lora_alpha"] * growth, "init_lora_weights": True}
    config["rank_pattern"] = {key: 2 * rank for key, rank in (config.get("rank_pattern") or {}).items()}
    config["alpha_pattern"] = {key: alpha * growth for key, alpha in (config.get("alpha_pattern") or {}).items()}
    file.write_text(json.dumps(config), encoding="utf-8")
