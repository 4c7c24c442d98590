"""Many checkpoints at hand, few in memory: adapters on the same base share its weights and are switched per token.

Bases are loaded when first asked for, at most `most_bases` at a time (the one used longest ago goes). One token is
computed at a time, so several streams take turns token by token. Left out: batches across streams.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from recipes.sections import Generation, Model

Message = dict[str, str]


@dataclass
class Base:
    """The weights that several checkpoints share; `names` are peft's names of the adapters, by their folders."""

    model: Any
    names: dict[str, str] = field(default_factory=dict)


class Checkpoints:
    """Named checkpoints that answer."""

    def __init__(self, models: Mapping[str, Model], *, most_bases: int = 2) -> None:
        self.models = dict(models)
        self.most_bases = most_bases
        self._bases: OrderedDict[str, Base] = OrderedDict()
        self._tokenizers: dict[str, Any] = {}
        self._turn = threading.RLock()

    def stream(self, name: str, messages: list[Message], settings: Generation, *, seed: int) -> Iterator[str]:
        """Yield the text so far of one answer, token after token."""
        from finetune import chat, generate

        with self._turn:
            base, adapter = self._loaded(name)
            tokenizer = self._tokenizers[name]
            ids = chat.prompt_ids(tokenizer, messages)
        texts = generate.stream(base.model, tokenizer, ids, settings, seed=seed)
        while True:
            with self._turn, _active(base, adapter):
                text = next(texts, None)
            if text is None:
                return
            yield text

    def prepare(self) -> None:
        """Load what fits, so that nobody waits for it and a checkpoint that cannot be loaded is known at once.

        Raises:
            UserError: a checkpoint's base is gone, or another one.
        """
        for name in self.models:
            with self._turn:
                if len(self._bases) < self.most_bases or self._base_of(name)[0] in self._bases:
                    self._loaded(name)

    def _base_of(self, name: str) -> tuple[str, str, str | None]:
        """Return the key of a checkpoint's base in memory, the folder of the base, and that of the adapter."""
        from finetune import models

        wanted = self.models[name]
        folder, adapter = models.shared_base(wanted.model_name_or_path)
        return f"{folder} {wanted.dtype} {wanted.attn_implementation} {wanted.quantization}", folder, adapter

    def _loaded(self, name: str) -> tuple[Base, str | None]:
        """Return the base that a checkpoint stands on, and its adapter's name there."""
        from finetune import models

        wanted = self.models[name]
        key, folder, adapter = self._base_of(name)
        base = self._bases.get(key)
        if base is None:
            while len(self._bases) >= self.most_bases:
                self._bases.popitem(last=False)
            base = self._bases[key] = Base(self._load(wanted, folder))
        self._bases.move_to_end(key)
        if name not in self._tokenizers:
            self._tokenizers[name] = models.load_tokenizer(
                adapter or folder, trust_remote_code=wanted.trust_remote_code
            )
        if adapter and adapter not in base.names:
            _attach(base, adapter)
        return base, base.names[adapter] if adapter else None

    def _load(self, wanted: Model, folder: str) -> Any:
        from finetune import models, quantization

        return models.load(
            folder,
            dtype=wanted.dtype,
            attn_implementation=wanted.attn_implementation,
            trust_remote_code=wanted.trust_remote_code,
            quantize=quantization.settings(wanted),
        ).model


def _attach(base: Base, adapter: str) -> None:
    from peft import PeftModel

    name = f"adapter{len(base.names)}"
    if base.names:
        base.model.load_adapter(adapter, adapter_name=name)
    else:
        base.model = PeftModel.from_pretrained(base.model, adapter, adapter_name=name)
    base.model.eval()
    base.names[adapter] = name


def _active(base: Base, adapter: str | None) -> AbstractContextManager[Any]:
    """Switch the base to one adapter, or for the length of a block to none."""
    if adapter:
        base.model.set_adapter(adapter)
    elif base.names:
        return base.model.disable_adapter()
    return nullcontext()
