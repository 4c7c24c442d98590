"""Mistakes in values, in words: what pydantic finds, as `where: what; write`, with a suggestion for every one.

Types are checked strictly: the text "8" is not taken for the number 8, so what a recipe says is what is used.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from recipes.errors import UserError
from recipes.finding import nearest
from recipes.sections import NAMED, Key, StageRecipe, walk
from recipes.source import Source, dotted, shown
from recipes.training_arguments import FIELDS

# What other tools and papers call our keys (which are Hugging Face's).
KNOWN_AS = {
    "lr": "learning_rate",
    "epochs": "num_train_epochs",
    "num_epochs": "num_train_epochs",
    "steps": "max_steps",
    "batch_size": "per_device_train_batch_size",
    "micro_batch_size": "per_device_train_batch_size",
    "lora": "adapter",
    "peft": "adapter",
    "lora_r": "r",
    "rank": "r",
    "alpha": "lora_alpha",
    "lora_target": "target_modules",
    "lora_target_modules": "target_modules",
    "base_model": "model_name_or_path",
    "model_name": "model_name_or_path",
    "model_path": "model_name_or_path",
    "scheduler": "lr_scheduler_type",
    "out": "output_dir",
    "output": "output_dir",
    "gpus": "num_processes",
}
EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a section with keys",
    "model_type": "a section with keys",
    "model_attributes_type": "a section with keys",
    "finite_number": "a finite number",
    "none_required": "empty",
}
BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
YES, NO = {"yes", "on", "y", "true"}, {"no", "off", "n", "false"}


def validate(source: Source, model: type[StageRecipe]) -> StageRecipe | None:
    """Return the recipe, or None after adding each mistake to `source.problems`."""
    try:
        return model.model_validate_json(json.dumps(source.values), strict=True)
    except ValidationError as error:
        found: dict[Key, list[Any]] = {}
        for item in error.errors(include_url=False):
            found.setdefault(_written_key(source, item["loc"], item["type"]), []).append(item)
    meant = {(*key[:-1], name) for key in found if (name := meant_by(key, model)) and _kind(found, key) == UNKNOWN}
    for key in found:
        # A section that is one of several types fails for each; what is said of its inner keys is nearest to the truth.
        outer = any(len(other) > len(key) and other[: len(key)] == key for other in found)
        if outer or (_kind(found, key) == "missing" and key in meant):  # it is there, misspelt
            continue
        what, write = _words(key, found[key], source, model)
        place = source.where(key) if _kind(found, key) != "missing" else _where_missing(source, key)
        source.problems.append(UserError(place, what, write))
    return None


UNKNOWN = "extra_forbidden"


def _kind(found: dict[Key, list[Any]], key: Key) -> str:
    return str(found[key][0]["type"])


def meant_by(key: Key, model: type[BaseModel]) -> str | None:
    """Return the key of the same section that an unknown one probably stands for."""
    if not key:  # a mistake of the recipe as a whole
        return None
    here = section_of(model, key[:-1])
    name, fields = str(key[-1]), list(here.model_fields) if here else []
    meant = KNOWN_AS.get(name, name)
    return meant if meant in fields else nearest(name, fields)


def named(source: Source, model: type[BaseModel]) -> Iterator[tuple[Key, str]]:
    """Yield the files and models that a recipe names, written or by default, whatever else is wrong with it."""
    for key, section in every_section(model):
        for name, field in section.model_fields.items():
            default = field.default if not field.is_required() and (not key or source.value(key) is not None) else None
            if isinstance(default, str) and source.value((*key, name)) is None:
                yield from _as_named((*key, name), default, field)
    for written, value in walk(source.values):
        if isinstance(value, str) and (declared := field_of(model, written)):
            yield from _as_named(written, value, declared)


def _as_named(key: Key, value: str, field: FieldInfo) -> Iterator[tuple[Key, str]]:
    for kind in parts(field.annotation):
        if kind in NAMED and value:
            yield key, kind(value)


def _where_missing(source: Source, key: Key) -> str:
    return f"{source.name}:{source.line(key[:-1])}: {dotted(key)}"


def _written_key(source: Source, location: tuple[int | str, ...], kind: str) -> Key:
    """Return the key as the user wrote it: pydantic also names the branches of a union in its locations."""
    value: Any = source.values
    key: list[int | str] = []
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(value, dict) and (part in value or (last and kind == "missing")):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            continue
        key.append(part)
    return tuple(key)


def _words(key: Key, items: list[Any], source: Source, model: type[BaseModel]) -> tuple[str, str]:
    """Return what is wrong at a key, and what to write instead."""
    first, kind = items[0], items[0]["type"]
    value, written = source.value(key), source.shown(key)
    if kind == "missing":
        return "this key is required and missing", f"add `{key[-1]}: {_example(field_of(model, key))}`"
    if kind == UNKNOWN:
        return _unknown(key, model)
    if kind == "literal_error":
        choices = [choice for item in items for choice in literals(field_of(model, key)) or [item["ctx"]["expected"]]]
        return _choice(value, list(dict.fromkeys(map(str, choices))))
    if kind in BOUNDS:
        return _out_of_range(written, field_of(model, key), first)
    if kind == "mistake":
        return str(first["msg"]), str(first["ctx"]["write"])
    if kind == "string_too_short":
        return f"{shown(value)} is empty", "write a text"
    if kind == "too_short":
        return f"{written} has {first['ctx']['actual_length']} entries", f"write at least {first['ctx']['min_length']}"
    if kind in ("value_error", "assertion_error"):
        said = str(first["ctx"]["error"])
        what, _, write = said.partition(": write ")
        if isinstance(value, dict) and key and write:  # what is wrong with a section says itself which key
            return what, f"write {write}"
        return (f"{written}: {said}", "correct the value") if key else (said, "correct one of the values")
    expected = list(dict.fromkeys(EXPECTED[item["type"]] for item in items if item["type"] in EXPECTED))
    if not expected:
        return f"{written} is not possible here ({first['msg']})", "correct the value"
    return f"{written} is not {' or '.join(expected)}", _corrected(value, expected, model, key)


def _out_of_range(written: str, field: FieldInfo | None, item: Any) -> tuple[str, str]:
    name, word = BOUNDS[item["type"]]
    limit = item["ctx"][name]
    bounds = [
        f"{other} {getattr(entry, key):g}"
        for entry in (field.metadata if field else [])
        for key, other in BOUNDS.values()
        if getattr(entry, key, None) is not None
    ]
    return f"{written} is not {word} {limit:g}", "write a number " + " and ".join(bounds or [f"{word} {limit:g}"])


def _choice(value: Any, choices: list[str]) -> tuple[str, str]:
    guess = nearest(str(value), choices)
    every = ", ".join(choices)
    if len(choices) == 1:
        return f"{shown(value)} is not possible here", f"write {every}"
    meant = f"did you mean {guess}? " if guess else ""
    return f"{shown(value)} is none of the possible values", f"{meant}one of {every}"


def _corrected(value: Any, expected: list[str], model: type[BaseModel], key: Key) -> str:
    """Return what to write instead of a value of the wrong type, as exactly as it can be guessed."""
    field = field_of(model, key)
    if "true or false" in expected and str(value).lower() in YES | NO:
        return f"write {'true' if str(value).lower() in YES else 'false'} (YAML 1.2 knows no yes, no, on, off)"
    if isinstance(value, float) and value.is_integer() and "a whole number" in expected:
        return f"write {int(value)}"
    if isinstance(value, str) and any("number" in text for text in expected):
        bare = value.replace("_", "").replace(",", "").strip()
        if re.fullmatch(r"[-+]?[0-9]+", bare) or (_is_number(bare) and "a number" in expected):
            return f"write {bare}" + (", without quotes" if bare == value else "")
    if isinstance(value, int | float) and "a text" in expected:
        return f'write "{value}", with quotes'
    if "a list" in expected and isinstance(value, str):
        known = literals(field)
        if known and value not in known:
            return f"write a list of {', '.join(map(str, known))}, or [] for none of them"
        return f"write [{value}]"
    if "a section with keys" in expected and (inner := section_of(model, key)):
        return f"write its keys below it, indented: {', '.join(inner.model_fields)}"
    return f"write {_example(field)}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _example(field: FieldInfo | None) -> str:
    """Return something a field takes: its choices, its default, or what kind of value it is."""
    if field is None:
        return "..."
    if choices := literals(field):
        return " | ".join(map(str, choices))
    if not field.is_required() and field.default_factory is None and field.default is not None:
        return json.dumps(field.default)
    return next((text for kind, text in KINDS if kind in str(field.annotation)), "...")


KINDS = (
    ("ModelRef", "<a model's folder or Hugging Face id>"),
    ("DatasetRef", "<a data set's folder or Hugging Face id>"),
    ("SourcePath", "<a file, a folder or a URL>"),
    ("list[", "[...]"),
    ("InputPath", "<a file or folder>"),
    ("float", "<a number>"),
    ("int", "<a whole number>"),
    ("bool", "true | false"),
    ("str", "<a text>"),
)


def literals(field: FieldInfo | None) -> list[Any]:
    """Return the values that a field's `Literal` allows."""
    return [choice for part in parts(field.annotation) if field for choice in _choices(part)] if field else []


def _choices(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def parts(annotation: Any) -> Iterator[Any]:
    """Yield an annotation's alternatives and what its containers hold."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from parts(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType, list, dict, tuple):
        for part in typing.get_args(annotation):
            yield from parts(part)
    else:
        yield annotation


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field can hold."""
    return [part for part in parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]


def section_of(model: type[BaseModel], key: Key) -> type[BaseModel] | None:
    """Return the class of the section at a key; the recipe itself for the empty key."""
    sections = [model]
    for part in key:
        if isinstance(part, int):
            continue  # an entry of a list: the list's field has already given the section
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        inner = [found for field in fields for found in sections_in(field.annotation)]
        if fields and not inner:
            return None
        sections = inner or sections  # a name in a dictionary of sections
    return sections[0]


def field_of(model: type[BaseModel], key: Key) -> FieldInfo | None:
    """Return the declaration of a key."""
    names = [index for index, part in enumerate(key) if isinstance(part, str)]
    if not names:
        return None
    section = section_of(model, key[: names[-1]])
    return section.model_fields.get(str(key[names[-1]])) if section else None


def every_section(model: type[BaseModel], key: Key = ()) -> Iterator[tuple[Key, type[BaseModel]]]:
    """Yield a recipe's class and those of all its sections, each with its key."""
    yield key, model
    for name, field in model.model_fields.items():
        for section in sections_in(field.annotation):
            yield from every_section(section, (*key, name))


def _unknown(key: Key, model: type[BaseModel]) -> tuple[str, str]:
    """Return what to say of a key that does not exist: what it was meant to be, or where it belongs."""
    name, here = str(key[-1]), section_of(model, key[:-1])
    fields = list(here.model_fields) if here else []
    place = f"in `{dotted(key[:-1])}`" if len(key) > 1 else "at the top level"
    what = f"there is no key `{name}` {place}"
    elsewhere = [(other, section) for other, section in every_section(model) if section is not here]
    meant = KNOWN_AS.get(name, name)
    if meant in fields:
        return what, f"did you mean `{meant}`?"
    for other, section in elsewhere:
        if meant in section.model_fields:
            return what, f"`{meant}` belongs {under(other)}"
    if guess := nearest(name, fields):
        return what, f"did you mean `{guess}`?"
    if name in FIELDS and any("extra" in section.model_fields for _, section in elsewhere + [(key, here)] if section):
        return what, "it is an argument of transformers' TrainingArguments: write it under `training: extra:`"
    for other, section in elsewhere:
        if guess := nearest(name, list(section.model_fields), 0.8):
            return what, f"did you mean `{guess}`? It belongs {under(other)}"
    return what, f"the keys here are {', '.join(fields)}" if fields else "remove it"


def under(key: Key) -> str:
    """Return where a key belongs, in words."""
    return f"under `{dotted(key)}:`" if key else "at the top level"
