"""Do models belong together? One base, one tokenizer, one head: asked before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from finetune.merging import adapter, checkpoint, heads, streaming
from finetune.models import ADAPTER_CONFIG, adapter_settings, base_of, signature
from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped


def faults(named: Sequence[tuple[Key, str]], base: tuple[Key, str] | None, *, one_tokenizer: bool) -> Iterator[Fault]:
    """Yield why the models that a recipe names cannot be merged; what is not there yet is passed over."""
    there = [(key, ref) for key, ref in named if shipped(ref).is_dir()]
    bad = [fault for key, ref in there for fault in _alone(key, ref)]
    yield from bad
    if bad or len(there) < 2:
        return
    adapters = [is_adapter(ref) for _, ref in there]
    if any(adapters) and not all(adapters):
        key, ref = there[adapters.index(not adapters[0])]
        kinds = ("an adapter", "a whole model")
        what = f"{ref} is {kinds[adapters[0]]}, and {there[0][1]} is {kinds[not adapters[0]]}"
        yield Fault(key, what, "merge each adapter into its base first, then the whole models")
        return
    yield from _heads(there)
    yield from _tokenizers(there, one_tokenizer)
    if all(adapters):
        yield from _longer(there)
    yield from _bases(there) if all(adapters) else _shapes([*([base] if base else []), *there])


def is_adapter(ref: str) -> bool:
    """Return whether a folder holds an adapter."""
    return (shipped(ref) / ADAPTER_CONFIG).is_file()


def _alone(key: Key, ref: str) -> Iterator[Fault]:
    """Yield what is wrong with one model by itself: its base is gone or another one, or it is a learned prompt."""
    try:
        base, folder = base_of(ref)
        if folder:
            adapter.refuse_virtual_tokens(folder)
        heads.of(ref)
        if shipped(base).is_dir():
            checkpoint.entries(shipped(base))
    except UserError as error:
        yield Fault(key, f"{error.where}: {error.what}", error.write)


def _heads(there: Sequence[tuple[Key, str]]) -> Iterator[Fault]:
    first = heads.of(there[0][1])
    for key, ref in there[1:]:
        if (other := heads.of(ref)) != first:
            what = f"{ref} has the head {other}, and {there[0][1]} has {first}"
            yield Fault(key, what, "merge models that were trained for the same task")


def _bases(there: Sequence[tuple[Key, str]]) -> Iterator[Fault]:
    """Yield adapters that were trained on another base than the first one was."""
    first = base_of(there[0][1])[0]
    for key, ref in there[1:]:
        base = base_of(ref)[0]
        if base != first and not _same_weights(base, first):
            what = f"{ref} was trained on {base}, and {there[0][1]} on {first}: their weights differ"
            yield Fault(key, what, "combine adapters of one base; merge the others into theirs first")


def _longer(there: Sequence[tuple[Key, str]]) -> Iterator[Fault]:
    """Yield adapters with rows that their base does not have: there is nothing that they differ from."""
    from data_prep.tokens import tokenization

    for key, ref in there:
        base = shipped(base_of(ref)[0])
        learned = adapter_settings(str(shipped(ref))).get("trainable_token_indices")
        if not learned or not base.is_dir() or not tokenization.file_of(ref).is_file():
            continue
        tokens, rows = tokenization.load(ref).get_vocab_size(), heads.config(base).get("vocab_size")
        if rows is not None and tokens > rows:
            what = f"{ref} has {tokens} tokens, and its base {base_of(ref)[0]} has rows for {rows}"
            yield Fault(key, what, "merge each adapter into the base by itself, then combine the whole models (linear)")


def _same_weights(one: str, other: str) -> bool:
    return Path(one).is_dir() and Path(other).is_dir() and signature(one) == signature(other)


def _shapes(there: Sequence[tuple[Key, str]]) -> Iterator[Fault]:
    """Yield whole models that have other weights than the first one, by name or shape."""
    found = [checkpoint.entries(shipped(ref)) for _, ref in there]
    architectures = [heads.config(shipped(ref)).get("architectures") for _, ref in there]
    for (key, ref), other, architecture in zip(there[1:], found[1:], architectures[1:], strict=True):
        write = "merge models of one architecture and one vocabulary"
        if architecture != architectures[0]:
            what = f"{ref} is {architecture}, and {there[0][1]} is {architectures[0]}"
            yield Fault(key, what, write)
        elif wrong := streaming.misfits([there[0][1], ref], [found[0], other]):
            yield Fault(key, wrong[0], write)


def _tokenizers(there: Sequence[tuple[Key, str]], one_tokenizer: bool) -> Iterator[Fault]:
    """Yield models whose tokens, or whose template where none is chosen, differ from the first one's."""
    first = there[0][1]
    for key, ref in there[1:]:
        if not _same_file(ref, first) and _vocabulary(ref) != _vocabulary(first):
            what = f"{ref} and {first} have other tokens for the same ids"
            yield Fault(key, what, "merge models with one tokenizer")
        elif one_tokenizer and _template(ref) != _template(first):
            what = f"{ref} and {first} have different chat templates, so it is not known how the result is talked to"
            yield Fault(key, what, "write tokenizer: and the folder whose template the result is to have")


def _same_file(one: str, other: str) -> bool:
    """Return whether the two tokenizers' files are byte for byte the same, which is soon seen."""
    from data_prep.tokens import tokenization

    files = [tokenization.file_of(ref) for ref in (one, other)]
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()


def _vocabulary(ref: str) -> str | None:
    from data_prep.tokens import tokenization

    file = tokenization.file_of(ref)
    return tokenization.fingerprint(tokenization.load(ref)) if file.is_file() else None


def _template(ref: str) -> str | None:
    folder = shipped(ref)
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    settings = folder / "tokenizer_config.json"
    values = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    found: str | None = values.get("chat_template")
    return found
