"""A model takes over an extended vocabulary: rows for the new tokens, made from the rows of their pieces.

`stage: tokenizer` writes the extended tokenizer and `new_tokens.json` (each new token with the pieces that stood for it
before). A new token's embedding, and its row of the output layer where that has weights of its own, starts as the mean
of its pieces' rows (Gee et al. 2022, "Fast Vocabulary Transfer", https://arxiv.org/abs/2402.09977), so a sentence means
about the same to the model before the first step as it did. All other rows stay.
An adapter trains the new rows along with it, and only those (adapters.py); its folder holds them, and the base is
lengthened when it is loaded.

Left out: taking over a wholly new tokenizer, whose tokens have no pieces in the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.tokens.vocabulary import NEW_TOKENS
from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped

if TYPE_CHECKING:
    from finetune.models import Loaded

WRITE = "run `stage: tokenizer` with `extend:` on this model's tokenizer"


def faults(key: Key, tokenizer: str | None, model: str) -> list[Fault]:
    """Return what stands against extending a model's vocabulary; a tokenizer that is not there yet is passed over."""
    from data_prep.tokens import tokenization

    if tokenizer is None:
        return []
    found = []
    if (shipped(model) / "adapter_config.json").is_file():
        what = f"new tokens need rows of their own, and {model} is an adapter on a base without them"
        found.append(Fault(key, what, "merge it into its base first, and start from the merged model"))
    folder = shipped(tokenizer)
    if not folder.exists():
        return found
    if not (folder / NEW_TOKENS).is_file():
        return [*found, Fault(key, f"{tokenizer} extends no vocabulary (it has no {NEW_TOKENS})", WRITE)]
    if tokenization.file_of(model).is_file():
        own = tokenization.fingerprint(tokenization.load(model))
        if read(folder)["extends"] != own:
            found.append(Fault(key, f"{tokenizer} extends another vocabulary than that of {model}", WRITE))
    return found


def read(folder: Path) -> dict[str, Any]:
    """Return new_tokens.json: `extends` (fingerprint) and `tokens` (token, id, pieces as ids)."""
    values: dict[str, Any] = json.loads((folder / NEW_TOKENS).read_text(encoding="utf-8"))
    return values


def extend(loaded: Loaded, tokenizer: Any, folder: str) -> None:
    """Give a loaded model, in place, the vocabulary of the extended tokenizer.

    Raises:
        UserError: the tokenizer extends another one than the model's.
    """
    from data_prep.tokens import tokenization
    from finetune.documents import backend

    values = read(shipped(folder))
    if values["extends"] != tokenization.fingerprint(backend(loaded.tokenizer)):
        raise UserError(folder, f"extends another vocabulary than that of {loaded.base}", WRITE)
    add_rows(loaded.model, len(tokenizer), {entry["id"]: entry["pieces"] for entry in values["tokens"]})
    loaded.tokenizer = tokenizer
    loaded.new_tokens = sorted(entry["id"] for entry in values["tokens"])


def add_rows(model: Any, vocabulary: int, pieces: dict[int, list[int]]) -> None:
    """Make room for `vocabulary` tokens and set each new row to the mean of the rows of its pieces."""
    import torch

    wanted = max(vocabulary, *(row + 1 for row in pieces), 0)
    if wanted > model.get_input_embeddings().weight.shape[0]:
        # Some models keep spare rows, and need none added.
        model.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        for weight in _weights(model):
            for row, parts in pieces.items():
                weight[row] = weight[parts].float().mean(0).to(weight.dtype)


def _weights(model: Any) -> list[Any]:
    """Return the matrices (and the output's bias) that have a row for each token; a tied one counts once."""
    found = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None:
        if output.weight.data_ptr() != found[0].data_ptr():
            found.append(output.weight)
        if getattr(output, "bias", None) is not None:
            found.append(output.bias)
    return found
