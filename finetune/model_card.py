"""A model's card: README.md from what manifests, cards and the recipe say; nothing is made up.

Facts come from the tree of manifests down to the raw files (recipes/lineage.py): the base, each training stage with its
settings and measures, data with sizes and hashes, time and machine. What only people know stands in the recipe's `card`
section; what nobody wrote is said to be not stated or not recorded. The order is that of Model Cards (Mitchell et al.
2019, https://arxiv.org/abs/1810.03993); the head is YAML as the Hugging Face hub reads it. Energy is not measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

if TYPE_CHECKING:
    from recipes.artifact import Work
    from recipes.lineage import Origin

CARD = "README.md"
NOT_RECORDED = "*Not recorded.*"
NOT_STATED = "*Not stated by whoever made this model.*"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HIDDEN = ("stage", "output_dir", "card", "launch")  # of a recipe: said elsewhere, or no matter of what came out
MOST = 40  # settings or measures of one stage


class Card(Section):
    """What only people know of a model; what is left out is said to be not stated."""

    title: str | None = Field(None, min_length=1)
    license: str | None = Field(
        None, min_length=1, description="The hub's identifier; absent: the base's own, if told."
    )
    language: list[str] = Field(default_factory=list, description="Codes such as en.")
    intended_use: str | None = None
    out_of_scope: str | None = None
    limits: str | None = Field(None, description="Known limits and risks.")
    benchmark: InputPath | None = Field(None, description="A `stage: benchmark` result that has measured the model.")


def faults(card: Card) -> list[Fault]:
    """Refuse a benchmark that is none."""
    from finetune import benchmark_scores

    return benchmark_scores.faults(("card", "benchmark"), card.benchmark)


def write(recipe: StageRecipe, work: Work) -> None:
    """Write the card of a result that is being made into its folder; its hash does not count in the content's."""
    (work.path / CARD).write_text(page(recipe, work), encoding="utf-8")
    work.volatile.add(CARD)  # it holds times


def page(recipe: StageRecipe, work: Work) -> str:
    """Return the card of a result that is being made."""
    from finetune import benchmark_scores
    from recipes import provenance

    card = getattr(recipe, "card", None) or Card()
    origins = _origins(recipe)
    parts = (
        _head(card, origins, _library(work.path)), f"# {card.title or Path(recipe.output_dir).name}\n",
        "## What it is\n", *_what(recipe, card, origins),
        "## Intended use\n", card.intended_use or NOT_STATED, "## Out of scope\n", card.out_of_scope or NOT_STATED,
        "## Limits and risks\n", card.limits or NOT_STATED,
        "## Where it comes from\n", *(_tree(origins) or [NOT_RECORDED]),
        "## Data\n", *(list(_data(origins)) or [NOT_RECORDED]),
        "## Measured\n", benchmark_scores.section(card.benchmark, _measured(origins)) or NOT_RECORDED,
        "## How it was made\n", *_stage(recipe.stage, provenance.resolved(recipe), work.metrics, None),
        *(part for one in _results(origins) for part in _of_result(one)),
        "## Environment\n", _environment(provenance.library_versions(), provenance.machine()),
        "## Energy\n", "Not measured; the times above are those of the stages whose manifests are at hand.",
        "## Weights\n", "\n".join(_weights(work.path)) or NOT_RECORDED,
    )  # fmt: skip
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def _origins(recipe: StageRecipe) -> list[Origin]:
    """Return the tree behind each input of a recipe; hub models are leaves, and what only the card reads is none."""
    from recipes import artifact, lineage, provenance

    found = []
    for item in provenance.inputs_of(recipe):
        if item.key.startswith("card."):
            continue
        place = provenance.local(item.path)
        if place and artifact.owner(place):
            found.append(replace(lineage.trace(item.path), key=item.key))
        else:
            content = artifact.content_hash(place) if place else provenance.absent_hash(item.path)
            revision = None if place else provenance.hub_revision(item.path)
            found.append(lineage.Origin(item.key, item.path, content, note=f"commit {revision}" if revision else ""))
    return found


def _walk(origins: list[Origin]) -> Iterator[Origin]:
    for one in origins:
        yield one
        yield from _walk(one.inputs)


def _results(origins: list[Origin]) -> list[Origin]:
    """Return the results in the tree, each once, nearest first."""
    found: dict[str, Origin] = {}
    for one in _walk(origins):  # several files of one result lead to the same manifest
        if one.manifest:
            found.setdefault(one.manifest.content, one)
    return list(found.values())


def _is_model(one: Origin) -> bool:
    return any((shipped(one.path) / name).is_file() for name in ("config.json", "adapter_config.json"))


def _measured(origins: list[Origin]) -> dict[str, str]:
    """Return the content of each model that the recipe names itself: of what else it may have been measured?"""
    return {one.path: one.content for one in origins if _is_model(one) and "base_model" not in one.key}


def _bases(origins: list[Origin]) -> list[Origin]:
    """Return the models that the tree ends in: those that no stage of ours made from another model."""
    ends = [one for one in _walk(origins) if _is_model(one) and not any(_is_model(inner) for inner in one.inputs)]
    ends += [one for one in _walk(origins) if "model_name_or_path" in one.key and not shipped(one.path).exists()]
    return list({one.path: one for one in ends}.values())


def _library(folder: Path) -> str:
    """Return what reads the weights, as the hub names it."""
    if any(folder.glob("*.gguf")):
        return "gguf"
    return "peft" if (folder / "adapter_config.json").is_file() else "transformers"


def _head(card: Card, origins: list[Origin], library: str) -> str:
    import yaml

    head: dict[str, Any] = {"library_name": library, "tags": ["tuneloop"]}
    if license := card.license or _inherited(_bases(origins)):
        head["license"] = license
    if card.language:
        head["language"] = card.language
    named = [one.path for one in _bases(origins) if HUB_ID.fullmatch(one.path) and not shipped(one.path).exists()]
    if named:
        head["base_model"] = named if named[1:] else named[0]
    return "---\n" + yaml.safe_dump(head, sort_keys=True, allow_unicode=True) + "---\n"


def _inherited(bases: list[Origin]) -> str | None:
    """Return the licence that all bases' own cards state, if it is one."""
    stated = {_stated(shipped(one.path) / CARD) for one in bases}
    return stated.pop() if len(stated) == 1 else None


def _stated(file: Path) -> str | None:
    import yaml

    parts = file.read_text(encoding="utf-8").split("---\n", 2) if file.is_file() else []
    if len(parts) < 3 or parts[0]:
        return None
    try:
        found = (yaml.safe_load(parts[1]) or {}).get("license")
    except (yaml.YAMLError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _what(recipe: StageRecipe, card: Card, origins: list[Origin]) -> Iterator[str]:
    yield f"The result of `stage: {recipe.stage}`, written by Tuneloop.\n"
    for one in _bases(origins):
        yield f"- Base: `{one.path}` (content `{one.content}`{f', {one.note}' if one.note else ''})"
    license, inherited = card.license, _inherited(_bases(origins))
    told = f"{license} (stated in the recipe)" if license else f"{inherited} (as the base's card says)"
    yield f"- Licence: {told if license or inherited else NOT_RECORDED}\n"


def _tree(origins: list[Origin]) -> list[str]:
    lines = list(_branches(origins, 0, set()))
    return ["\n".join(lines)] if lines else []


def _branches(origins: list[Origin], depth: int, drawn: set[str]) -> Iterator[str]:
    for one in origins:
        made = f", made by `stage: {one.manifest.stage}`" if one.manifest else ""
        again = one.manifest is not None and one.manifest.content in drawn and bool(one.inputs)
        note = f" ({one.note})" if one.note else ""
        note += " (made from what stands above)" if again else ""
        yield f"{'  ' * depth}- {one.key}: `{one.path}`{made}, content `{one.content}`{note}"
        if one.manifest:
            drawn.add(one.manifest.content)
        if not again:
            yield from _branches(one.inputs, depth + 1, drawn)


def _data(origins: list[Origin]) -> Iterator[str]:
    """Yield each data set in the tree: size, hash, what it was for, its own card, whether documents were removed."""
    lines: dict[str, str] = {}
    for one in _walk(origins):
        if _is_model(one) or "model_name_or_path" in one.key or one.key.startswith("check."):
            continue
        place = shipped(one.path)
        size = f"{_bytes(place):,} bytes" if place.exists() else "size not recorded"
        line = f"- `{one.path}`: {size}, content `{one.content}`{_purpose(one.key)}"
        if place.is_dir() and (place / CARD).is_file():
            line += f"; its data card is `{one.path}/{CARD}`"
        if one.manifest and one.manifest.recipe.get("forget"):
            line += f"; a block list of documents to leave out was applied (`{one.manifest.recipe['forget']}`)"
        lines.setdefault(one.content, line)
    if lines:
        yield "\n".join(lines.values())


def _purpose(key: str) -> str:
    """Return what a data set was for, where it was not trained on."""
    if key.startswith("decontaminate"):
        return "; not trained on: its questions were kept out of the training text"
    if key == "forget":
        return "; the block list of documents to leave out"
    return "; for validation" if "validation" in key else ""


def _bytes(place: Path) -> int:
    files = [place] if place.is_file() else [file for file in place.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _of_result(one: Origin) -> Iterator[str]:
    manifest = one.manifest
    assert manifest is not None
    took = f"{manifest.seconds:.0f} s on {manifest.machine.get('platform', 'an unknown machine')}, {manifest.started}"
    where = manifest.recipe.get("output_dir", one.path)
    yield from _stage(f"{manifest.stage} (`{where}`)", manifest.recipe, manifest.metrics, took)


def _stage(title: str, recipe: dict[str, Any], metrics: dict[str, Any], took: str | None) -> Iterator[str]:
    yield f"### {title}\n"
    if took:
        yield f"Took {took}.\n"
    yield _table("setting", dict(_flat({name: one for name, one in recipe.items() if name not in HIDDEN})))
    yield _table("measure", dict(_flat(metrics))) if metrics else "Measures: none recorded.\n"


def _flat(values: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested values with their dotted keys; what is unset is left out."""
    if isinstance(values, dict):
        for name, one in values.items():
            yield from _flat(one, f"{key}.{name}" if key else str(name))
    elif values is not None and values != []:
        yield key, values


def _table(head: str, rows: dict[str, Any]) -> str:
    shown = [f"| {name} | {_cell(value)} |" for name, value in list(rows.items())[:MOST]]
    more = [f"| ... | {len(rows) - MOST} more in manifest.json |"] if len(rows) > MOST else []
    return "\n".join([f"| {head} | value |", "|---|---|", *shown, *more]) + "\n"


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.replace("|", "\\|").replace("\n", " ")


def _environment(libraries: dict[str, str], machine: dict[str, Any]) -> str:
    return _table("part", {**machine, **libraries})


def _weights(folder: Path) -> Iterator[str]:
    from recipes.hashing import file_hash

    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")]):
        yield f"- `{file.name}`: {file.stat().st_size:,} bytes, SHA-256 `{file_hash(file)}`"
