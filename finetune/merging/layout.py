"""What stands beside the weights so that a server (vLLM, TGI, transformers) runs the model as it was trained.

The tokenizer with its chat template, and generation_config.json with every id that ends an answer: EOS alone lets a
chat model talk on behind its turn. Sampling settings that the base had are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune import chat

GENERATION = "generation_config.json"


def finish(folder: Path, tokenizer: Any, *, writes_text: bool) -> None:
    """Write the tokenizer, and for models that write text, which tokens end it."""
    tokenizer.save_pretrained(folder)
    file = folder / GENERATION
    if not writes_text:
        file.unlink(missing_ok=True)
        return
    values = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps(values | token_ids(tokenizer), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def token_ids(tokenizer: Any) -> dict[str, Any]:
    """Return the ids that generation needs, as generation_config.json names them."""
    import transformers

    ends = chat.end_ids(tokenizer)
    found = {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    found["eos_token_id"] = ends[0] if len(ends) == 1 else ends or None
    known = {name: value for name, value in found.items() if value is not None}
    return known | {"transformers_version": transformers.__version__}
