"""Prompt tuning that works with caches, left padding and whatever calls the model's trunk.

peft puts the learned vectors in front inside its own forward: every step of decoding gets them again, the logits are
longer than the input, and who calls the trunk itself never sees them. Here hooks on the trunk do it: a row of T ids
goes in as P vectors and T embeddings, positions count on behind the vectors, and the hidden states of the T ids come
out. With keys and values cached, only the first piece gets them. Packed rows are refused: each document needs its own.
"""

from __future__ import annotations

from typing import Any


def install(model: Any) -> None:
    """Make a peft model with a soft prompt use it through hooks on its trunk."""
    base = model.get_base_model()
    trunk = getattr(base, base.base_model_prefix, base)
    if hasattr(trunk, "get_encoder") and base.config.is_encoder_decoder:
        trunk = trunk.get_encoder()
    # peft's own forward would put the vectors in front once more.
    model.forward = base.forward
    model.prepare_inputs_for_generation = (
        base.prepare_inputs_for_generation if hasattr(base, "prepare_inputs_for_generation") else None
    )

    def before(module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return None if model._adapters_disabled else _with_vectors(model, module, arguments, named)

    def after(module: Any, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        given = named.get("inputs_embeds")
        if given is None or not hasattr(given, "virtual_tokens"):
            return output
        output.last_hidden_state = output.last_hidden_state[:, given.virtual_tokens :]
        return output

    trunk.register_forward_pre_hook(before, with_kwargs=True)
    trunk.register_forward_hook(after, with_kwargs=True)


def _with_vectors(model: Any, trunk: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Return the trunk's arguments with the learned vectors in front of the embedded ids."""
    import torch

    named = dict(named)
    if arguments:
        named["input_ids"], arguments = arguments[0], arguments[1:]
    positions = named.get("position_ids")
    bare = None if named.get("attention_mask") is not None else positions
    if "cu_seq_lens_q" in named or (bare is not None and bool((bare[:, 1:] < bare[:, :-1]).any())):
        raise ValueError("a packed row holds several documents, and prompt tuning's vectors stand before each")
    config = model.peft_config[model.active_adapter]
    count = config.num_virtual_tokens
    cache = named.get("past_key_values", named.get("cache"))
    first = cache is None or cache.get_seq_length() == 0
    ids, embeds = named.pop("input_ids", None), named.pop("inputs_embeds", None)
    embeds = trunk.get_input_embeddings()(ids) if embeds is None else embeds
    rows = len(embeds)
    if named.get("attention_mask") is not None and named["attention_mask"].dim() == 2:
        mask = named["attention_mask"]
        named["attention_mask"] = torch.cat([mask.new_ones(rows, count), mask], 1)
    if positions is not None:
        behind = positions + count
        start = torch.arange(count, device=behind.device).expand(rows, count)
        named["position_ids"] = torch.cat([start, behind], 1) if first else behind
    if first:
        # For an encoder-decoder peft keeps as many again, for the decoder, and uses the first ones alone.
        vectors = model.get_prompt(batch_size=rows)[:, :count].to(embeds.dtype)
        embeds = torch.cat([vectors, embeds], 1)
        embeds.virtual_tokens = count
    return arguments, named | {"inputs_embeds": embeds}
