"""Which of the three families of Transformers a model is of, read from its config.json: nothing is loaded.

A decoder (GPT- and Llama-like) reads from left to right and writes; an encoder (BERT-like) reads in both directions;
an encoder-decoder (T5- and BART-like) reads a source and writes a target.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from recipes.sections import Fault, Key, shipped

Family = Literal["decoder", "encoder", "encoder_decoder"]
NAMES: dict[Family, str] = {
    "decoder": "a decoder (GPT-like)",
    "encoder": "an encoder (BERT-like)",
    "encoder_decoder": "an encoder-decoder (T5-like)",
}
# Model types that read in both directions: those of transformers' masked language models without an own decoder.
ENCODERS = frozenset(
    """
    albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm esmc eurobert
    flaubert fnet funnel gte ibert jina_embeddings_v3 layoutlm longformer luke megatron-bert mobilebert modernbert mpnet
    mra neomme nomic_bert nystromformer rembert roberta roberta-prelayernorm roc_bert roformer squeezebert ultrabert
    xlm xlm-roberta xlm-roberta-xl xmod yoso
    """.split()
)
# Their positions begin behind that of the padding token, so two of them are never used.
POSITIONS_BEHIND_PADDING = frozenset(
    """
    camembert data2vec-text ibert luke longformer mpnet roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl xmod
    """.split()
)


def config_of(ref: str) -> dict[str, Any] | None:
    """Return config.json of a model, or of an adapter's base; None where it is not there to be read (yet)."""
    folder = shipped(ref)
    for name, key in (("config.json", None), ("adapter_config.json", "base_model_name_or_path")):
        file = folder / name
        if file.is_file():
            values = _values(file)
            if values is None:
                return None
            return values if key is None else config_of(str(values.get(key) or "")) if values.get(key) != ref else None
    return None


def _values(file: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def family_of(config: Any) -> Family:
    """Return the family of a configuration: a config.json, or transformers' object made of one."""
    values = config if isinstance(config, dict) else config.to_dict()
    if values.get("is_encoder_decoder"):
        return "encoder_decoder"
    kind = str(values.get("model_type", ""))
    heads = " ".join(values.get("architectures") or ())
    reads_both_ways = kind in ENCODERS or (kind not in ("", "llama") and "ForMaskedLM" in heads)
    return "encoder" if reads_both_ways and not values.get("is_decoder") else "decoder"


def faults(key: Key, ref: str, wanted: tuple[Family, ...], task: str, write: str) -> list[Fault]:
    """Return a fault for a model whose family cannot do the task."""
    config = config_of(ref)
    if config is None or (found := family_of(config)) in wanted:
        return []
    return [Fault(key, f"{ref} is {NAMES[found]}, and {task}", write)]


def talking_faults(ref: str) -> list[Fault]:
    """Return a fault for a model that cannot go on writing a conversation."""
    task, write = "a conversation goes on from left to right", "name a decoder, or use `stage: seq2seq` or `classify`"
    return faults(("model", "model_name_or_path"), ref, ("decoder",), task, write) or head_faults(ref)


def head_faults(ref: str) -> list[Fault]:
    """Return a fault for a classifier or reward model, whole or an adapter, where a model is to write."""
    file = shipped(ref) / "adapter_config.json"
    if file.is_file():
        task = str((_values(file) or {}).get("task_type") or "")
        found = task if task in ("SEQ_CLS", "TOKEN_CLS") else None
    else:
        names = (config_of(ref) or {}).get("architectures") or ()
        found = next((name for name in map(str, names) if name.endswith("Classification")), None)
    if found is None:
        return []
    what = f"{ref} has the head of a classifier or reward model ({found}), which writes no text"
    return [Fault(("model", "model_name_or_path"), what, "name the model that it was trained from")]


def context_of(config: dict[str, Any]) -> int | None:
    """Return how many tokens a model's positions reach, where its configuration says so."""
    context = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(context, int) or config.get("model_type") in ("t5", "mt5", "umt5", "longt5"):
        return None  # relative positions: any length
    if config.get("model_type") in POSITIONS_BEHIND_PADDING:
        return context - int(config.get("pad_token_id") or 0) - 1
    return context
