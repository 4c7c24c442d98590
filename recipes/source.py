"""A recipe file as written: values, the line of every key, and what the command line put over it.

YAML is read by the rules of YAML 1.2's core schema: `5e-7` is a number; `no`, `yes`, `on` and `off` are texts (PyYAML,
by those of YAML 1.1, reads the first as a text and the others as booleans). A repeated key is a mistake. There are no
templates, no inheritance and no tags.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recipes.errors import UserError
from recipes.sections import Key

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
WORDS |= {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
WORDS |= {sign + dot: float(sign + "inf") for sign in ("", "+", "-") for dot in (".inf", ".Inf", ".INF")}
WORDS |= {".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan")}


@dataclass
class Source:
    """The values of a recipe with where each one stands."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Key, int] = field(default_factory=dict)
    texts: dict[Key, str] = field(default_factory=dict)
    overrides: dict[Key, str] = field(default_factory=dict)
    problems: list[UserError] = field(default_factory=list)

    def where(self, key: Key) -> str:
        """Return `file:line: key.path`, or the override that set this key."""
        for other, text in self.overrides.items():
            if other == key:
                return f"override {text}"
            if other == key[: len(other)] or (key == other[: len(key)] and key not in self.lines):
                return f"override {text}: {dotted(key)}"
        place = f"{self.name}:{self.line(key)}"
        return f"{place}: {dotted(key)}" if key else place

    def line(self, key: Key) -> int:
        """Return the line of a key; of the nearest enclosing one when it is not written."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def value(self, key: Key) -> Any:
        """Return what is written at a key, or None."""
        value: Any = self.values
        for part in key:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def shown(self, key: Key) -> str:
        """Return the value at a key as the user wrote it, shortened."""
        value = self.value(key)
        return self.texts[key] if isinstance(value, int | float) and key in self.texts else shown(value)


def dotted(key: Key) -> str:
    """Return a key as it is written on the command line: `training.max_steps`, `data.files.0`."""
    return ".".join(map(str, key))


def shown(value: Any) -> str:
    """Return a value as one would write it in YAML, shortened."""
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read(path: Path, name: str) -> Source:
    """Read a recipe file; its mistakes are collected in `problems`."""
    source = Source(name)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        source.problems.append(UserError(name, "there is no such recipe", "write the path of a YAML file"))
    except IsADirectoryError:
        source.problems.append(UserError(name, "this is a folder", "write the path of a YAML file in it"))
    except UnicodeDecodeError as error:
        source.problems.append(UserError(name, f"not UTF-8 at byte {error.start}", "save the file as UTF-8"))
    except OSError as error:
        source.problems.append(UserError(name, f"cannot be read ({error.strerror})", "make it readable"))
    else:
        _parse(text, source)
    return source


def _parse(text: str, source: Source) -> None:
    node = _compose(text, source, source.name)
    if node is None and not source.problems:
        source.problems.append(UserError(source.name, "this recipe is empty", "write at least `stage:`"))
    elif isinstance(node, yaml.MappingNode):
        source.values = _value(node, (), source)
    elif node is not None:
        source.problems.append(
            UserError(f"{source.name}:{node.start_mark.line + 1}", "a recipe is a list of `key: value`", "write those")
        )


def _compose(text: str, source: Source, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{where}:{mark.line + 1}" if mark and where == source.name else where
        what = f"not YAML: {error.problem or error.context}"
        tab = mark is not None and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1])
        write = "indent with spaces, not tabs" if tab else "check the indentation, the colons and the quotes there"
        source.problems.append(UserError(place, what, write))
    except yaml.YAMLError as error:
        source.problems.append(UserError(where, f"not YAML: {str(error).splitlines()[0]}", "remove what is not text"))
    return None


def _value(node: yaml.Node, key: Key, source: Source) -> Any:
    """Return the value of a node, noting the line of every key in it."""
    source.lines.setdefault(key, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, key, source)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*key, index), source) for index, item in enumerate(node.value)]
    return _scalar(node, key, source)


def _mapping(node: yaml.MappingNode, key: Key, source: Source) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name_node, value_node in node.value:
        line = name_node.start_mark.line + 1
        if not isinstance(name_node, yaml.ScalarNode):
            source.problems.append(UserError(f"{source.name}:{line}", "a key is a word", "write `key: value`"))
            continue
        name = name_node.value
        if name in values:
            first = source.lines[(*key, name)]
            what = f"this key stands here twice (first in line {first}: {shown(values[name])})"
            source.problems.append(
                UserError(f"{source.name}:{line}: {dotted((*key, name))}", what, "remove one of the two")
            )
            continue
        source.lines[(*key, name)] = line
        values[name] = _value(value_node, (*key, name), source)
    return values


def _scalar(node: Any, key: Key, source: Source) -> Any:
    """Return a text, number, boolean or nothing, by the core schema of YAML 1.2."""
    text = node.value
    standard = node.tag.startswith("tag:yaml.org,2002:") and node.tag.split(":")[-1] in KNOWN_TAGS
    if not standard:
        line = node.start_mark.line + 1
        source.problems.append(
            UserError(f"{source.name}:{line}: {dotted(key)}", f"tags such as {node.tag} are not used here", "remove it")
        )
    if node.style in QUOTES or node.tag == "tag:yaml.org,2002:binary":
        return text
    source.texts[key] = text
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text, 0)
    return float(text) if FLOAT.fullmatch(text) else text


QUOTES = ("'", '"', "|", ">")
KNOWN_TAGS = {"str", "int", "float", "bool", "null", "timestamp", "merge", "value"}


def override(source: Source, text: str, prefix: str = "") -> None:
    """Put one `key.sub=value` of the command line over the file's values; the value is read as YAML.

    `prefix` is what stood before it there: the name of a pipeline's step.
    """
    name, equals, written = text.partition("=")
    text = prefix + text
    if not equals or not name:
        source.problems.append(UserError(f"override {text}", "not of the form key=value", "write key.sub=value"))
        return
    key: Key = tuple(int(part) if part.isdigit() else part for part in name.split("."))
    scratch = Source(source.name)
    node = _compose(written, scratch, f"override {text}")
    value = _value(node, key, scratch) if node is not None else None
    source.problems += scratch.problems
    if not scratch.problems and _place(source.values, key, value):
        source.overrides[key] = text
        source.texts |= scratch.texts
    elif not scratch.problems:
        source.problems.append(
            UserError(
                f"override {text}", f"{dotted(key[:-1])} is not a section that has keys", "name a key that exists"
            )
        )


def _place(values: Any, key: Key, value: Any) -> bool:
    """Set a value deep in the recipe, making the sections on the way; return whether that was possible."""
    *way, last = key
    for part in way:
        if isinstance(values, dict):
            if values.get(str(part)) is None:
                values[str(part)] = {}
            values = values[str(part)]
        elif isinstance(values, list) and isinstance(part, int) and part < len(values):
            values = values[part]
        else:
            return False
    if isinstance(values, list) and isinstance(last, int) and last < len(values):
        values[last] = value
    elif isinstance(values, dict):
        values[str(last)] = value
    else:
        return False
    return True
