"""Which head a model or adapter was made for, and loading it with that head in a given precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune.models import ADAPTER_CONFIG, adapter_settings, base_of
from recipes.errors import UserError
from recipes.sections import shipped

LABELS = "labels.json"  # beside a classifier's adapter
OF_TASK = {
    "CAUSAL_LM": "causal",
    "SEQ_2_SEQ_LM": "seq2seq",
    "SEQ_CLS": "sequence_classification",
    "TOKEN_CLS": "token_classification",
}
OF_ENDING = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForMaskedLM": "masked",
    "ForConditionalGeneration": "seq2seq",
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
}
WRITES_TEXT = ("causal", "seq2seq")


def of(ref: str) -> str:
    """Return the head of an adapter or a whole model; `reward` for a scalar one.

    Raises:
        UserError: it cannot be told.
    """
    folder = shipped(ref)
    if (folder / ADAPTER_CONFIG).is_file():
        task = adapter_settings(folder).get("task_type")
        if task == "SEQ_CLS" and not (folder / LABELS).is_file():
            return "reward"
        if task in OF_TASK:
            return OF_TASK[task]
        return "masked" if task is None else _unknown(ref, f"an adapter for {task}")
    values = config(base_of(ref)[0])
    named = (values.get("architectures") or ["no architecture"])[0]
    head = next((head for ending, head in OF_ENDING.items() if named.endswith(ending)), None)
    if head == "sequence_classification" and len(values.get("id2label") or "ab") == 1:
        return "reward"
    return head or _unknown(ref, named)


def _unknown(ref: str, what: str) -> str:
    write = "name a language model, a classifier or a reward model"
    raise UserError(ref, f"{what} has no head that is known here", write)


def config(folder: str | Path) -> dict[str, Any]:
    """Return a model folder's config.json."""
    file = Path(folder) / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(file), f"cannot be read ({error})", "name a folder that holds a whole model") from None
    return values


def load(ref: str, head: str, dtype: str = "float32") -> tuple[Any, Any]:
    """Load a model with its head, an adapter attached where `ref` is one; return it in eval mode and its tokenizer."""
    from finetune import models

    if head == "reward":
        reward = models.load_reward(ref, dtype=dtype)
        return reward.model, reward.tokenizer
    loaded = models.load(ref, head=head, dtype=dtype)  # type: ignore[arg-type]
    return loaded.model, loaded.tokenizer
