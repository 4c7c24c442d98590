"""Which models train without padding, and switching their attention for it.

`prepare` answers whether a batch may be one row of documents (packing.collate_packed). It never believes, it looks:
- by rule: the architecture takes its attention from transformers' `AttentionInterface`, is no encoder-decoder, has no
  layers but full and sliding-window attention, and no adapter that adds virtual tokens; the recipe's
  attn_implementation is sdpa (which is replaced) or one of flash-attn's (which serves documents itself);
- by trial: two short documents in one row give the hidden states that each gives alone (under eager attention), and
  the second's do not change with the first's words. Recurrent layers, positions that ignore `position_ids`, masks made
  elsewhere: whatever lets documents meet shows here. The trial is four forward passes over 16 tokens.
  A window is longer than the trial, so it is compared with what each layer hands to its attention.

A model that fails keeps padded batches, in which documents are rows of their own: slower, never wrong. The trial is
left out where weights are not whole in this process (DeepSpeed ZeRO-3, meta tensors); the rule alone decides then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from finetune.document_attention import NAME, attend, register

_before: WeakKeyDictionary[Any, tuple[str, Any]] = WeakKeyDictionary()  # former attention, and the hook that chooses
# Which hidden states count as equal: relative difference of norms, for float32 and for half precision.
ALIKE = {4: (1e-4, 1e-5), 2: (5e-2, 1e-3)}


def prepare(model: Any) -> bool:
    """Switch a loaded model to attention without padding; return False, and say why, if it must keep padded batches."""
    base = base_of(model)
    if base in _before:
        return True
    register()
    reason = refusal(model) or _tried(base)
    if reason and int(os.environ.get("RANK", 0)) == 0:
        print(f"  batches are padded: {reason}", file=sys.stderr)
    return not reason


def restore(model: Any) -> None:
    """Give a model its former attention back; does nothing to one that was not switched."""
    base = base_of(model)
    if base in _before:
        former, hook = _before.pop(base)
        if hook:
            hook.remove()
            base.set_attn_implementation(former)


@contextmanager
def restored(model: Any) -> Iterator[None]:
    """Give a model its former attention back for a while, to generate."""
    base = base_of(model)
    switched = base in _before
    restore(model)
    try:
        yield
    finally:
        if switched:
            _switch(base)


def base_of(model: Any) -> Any:
    """Return transformers' model inside wrappers of data parallelism, compilation and peft."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif hasattr(model, "module") and not hasattr(model, "config"):
            model = model.module
        else:
            return model


def has_virtual_tokens(model: Any) -> bool:
    """Return whether an adapter of the model is a prompt that is learned, in front of every row."""
    while not hasattr(model, "peft_config") and (hasattr(model, "_orig_mod") or hasattr(model, "module")):
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module
    # transformers' models have a `peft_config` of their own, which may be a method.
    configs = getattr(model, "peft_config", None)
    return isinstance(configs, dict) and any(one.is_prompt_learning for one in configs.values())


def refusal(model: Any) -> str | None:
    """Return why a model cannot train without padding, as far as that is plain without running it."""
    base = base_of(model)
    config = base.config.get_text_config()
    name = type(base).__name__
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if has_virtual_tokens(model):
        return "the adapter puts virtual tokens before every row"
    if getattr(base, "is_loaded_in_8bit", False):
        return "int8 layers round each token by the outliers of all that are beside it"
    if config.is_encoder_decoder:
        return f"{name} has an encoder and a decoder"
    if kinds or getattr(config, "attention_chunk_size", None):
        return f"{name} has layers of another kind ({', '.join(sorted(kinds)) or 'chunked attention'})"
    if not getattr(base, "_supports_attention_backend", False) or not base._can_set_attn_implementation():
        return f"{name} computes its attention itself"
    if not _served(base, config._attn_implementation):
        return f"attn_implementation is {config._attn_implementation}, and only sdpa and flash-attn need no mask"
    return None


def _served(base: Any, implementation: str) -> bool:
    """Return whether that attention, or ours in its place, takes documents; eager is kept where it was a choice."""
    forced = implementation == "eager" and not getattr(base, "_supports_sdpa", False)
    return forced or implementation in ("sdpa", NAME) or "flash" in implementation


def _switch(base: Any) -> None:
    """Let the base use our function, unless the recipe chose flash-attn.

    transformers hands no mask to a function without a mask function of its own. A forward pass with a mask (generation
    pads on the left) is therefore left to the attention that was there before.
    """
    former = base.config.get_text_config()._attn_implementation
    _before[base] = former, None
    if former not in ("sdpa", "eager"):
        return

    def choose(_module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        masked = named.get("attention_mask") is not None or (len(positional) > 1 and positional[1] is not None)
        wanted = former if masked else NAME
        if base.config.get_text_config()._attn_implementation != wanted:
            base.set_attn_implementation(wanted)

    trunk = getattr(base, "base_model", base)  # peft calls the forward of the whole model past its hooks
    _before[base] = former, trunk.register_forward_pre_hook(choose, with_kwargs=True)
    base.set_attn_implementation(NAME)


def _tried(base: Any) -> str | None:
    """Switch the base; if a trial shows that documents meet, or cannot be run, undo it and return what is wrong."""
    if any(one.is_meta or hasattr(one, "ds_id") for one in base.parameters()):
        _switch(base)
        return None
    implementation = base.config.get_text_config()._attn_implementation
    try:
        with _at_rest(base):
            base.set_attn_implementation("eager")
            alone = [_hidden(base, [ids]) for ids in _trial(base)[:2]]
            base.set_attn_implementation(implementation)
            _switch(base)
            with _watched() as windows:
                wrong = _differences(base, alone)
            if base.config.get_text_config()._attn_implementation == NAME:
                wrong = wrong or _wrong_windows(base, windows)
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError) as error:
        # Whatever an architecture does with arguments that it does not know: it is then no architecture to serve.
        wrong = f"{type(base).__name__} takes no documents ({error!r:.120})"
    if wrong:
        restore(base)
        base.set_attn_implementation(implementation)
    return wrong


@contextmanager
def _watched() -> Iterator[dict[int, int | None]]:
    """Collect which window each layer asks for."""
    from transformers import AttentionInterface

    windows: dict[int, int | None] = {}

    def watching(module: Any, *tensors: Any, **settings: Any) -> Any:
        windows[getattr(module, "layer_idx", len(windows))] = settings.get("sliding_window")
        return attend(module, *tensors, **settings)

    AttentionInterface.register(NAME, watching)
    try:
        yield windows
    finally:
        register()


def _wrong_windows(base: Any, windows: dict[int, int | None]) -> str | None:
    """Return what is wrong if layers do not ask for the windows that the config gives them."""
    config = base.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    narrow = {layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"} if kinds else set(windows)
    wanted = narrow if window is not None else set()
    if {layer for layer, asked in windows.items() if asked is not None} != wanted:
        return f"{type(base).__name__} does not say which layers look through a window"
    return None


def _trial(base: Any) -> list[list[int]]:
    """Return two documents of unlike length, and another one as long as the first."""
    size = base.config.get_text_config().vocab_size
    return [
        [(start + 7 * place) % (size // 2) + size // 3 for place in range(length)]
        for start, length in ((1, 7), (3, 9), (5, 7))
    ]


def _differences(base: Any, alone: list[Any]) -> str | None:
    """Return what is wrong when two documents share a row."""
    first, second, other = _trial(base)
    together, changed = _hidden(base, [first, second]), _hidden(base, [other, second])
    equal, untouched = ALIKE[2 if together.element_size() == 2 else 4]
    name = type(base).__name__
    if _apart(together[:, len(first) :], changed[:, len(first) :]) > untouched:
        return f"{name} lets documents of one row see each other"
    for part, whole in zip(together.split([len(first), len(second)], 1), alone, strict=True):
        if not _apart(part, whole) <= equal:
            return f"{name} computes a document in a row otherwise than alone"
    return None


def _apart(one: Any, other: Any) -> float:
    one, other = one.float(), other.float()
    return float((one - other).norm() / other.norm())


def _hidden(base: Any, documents: list[list[int]]) -> Any:
    """Return the last hidden states (1, T, hidden size); several documents stand in one row, kept apart."""
    import torch

    from finetune.packing import concatenated

    trunk = getattr(base, "base_model", base)
    where = trunk.get_input_embeddings().weight.device
    batch: dict[str, Any] = {"input_ids": torch.tensor(documents[:1])}
    if len(documents) > 1:
        batch = concatenated(documents)
    batch = {name: value.to(where) if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
    with torch.no_grad():
        return trunk(**batch, use_cache=False).last_hidden_state


@contextmanager
def _at_rest(base: Any) -> Iterator[None]:
    """Hold every module in evaluation mode, and give each its own mode back."""
    modes = {module: module.training for module in base.modules()}
    base.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
