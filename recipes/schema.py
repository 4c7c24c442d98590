"""JSON Schema of recipes, so that an editor completes and checks them while they are written.

In a recipe's first line: `# yaml-language-server: $schema=<file>`; `tuneloop schema --output <file>` writes it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from recipes import finding
from recipes.errors import UserError

DEFINITIONS = "#/$defs/"


def report(stage: str | None, output: str | None) -> None:
    """Print a stage's schema, or that of all stages, or write it to a file."""
    text = json.dumps(one(stage) if stage else every(), indent=1) + "\n"
    if output:
        Path(output).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def one(name: str) -> dict[str, Any]:
    """Return the schema of one stage's recipe.

    Raises:
        UserError: there is no such stage.
    """
    stage = finding.find(name)
    if stage is None:
        guess = finding.nearest(name, finding.names())
        write = f"did you mean {guess}?" if guess else f"there are {', '.join(finding.names())}"
        raise UserError(f"stage {name}", "there is no such stage", write)
    schema = stage.recipe.model_json_schema()
    # The stage is what tells recipes apart: it has to be written, though the class has a default for it.
    schema["required"] = sorted({"stage", *schema.get("required", [])})
    return schema


def every() -> dict[str, Any]:
    """Return one schema for all stages: `stage` decides which."""
    definitions: dict[str, Any] = {}
    branches = []
    for name in finding.names():
        schema = one(name)
        for inner, definition in schema.pop("$defs", {}).items():
            definitions[f"{name}.{inner}"] = _renamed(definition, name)
        definitions[name] = _renamed(schema, name)
        branches.append({"if": _has_stage(name), "then": {"$ref": f"#/$defs/{name}"}})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tuneloop recipe",
        "type": "object",
        "required": ["stage"],
        "properties": {"stage": {"enum": finding.names()}},
        "allOf": branches,
        "$defs": definitions,
    }


def _has_stage(name: str) -> dict[str, Any]:
    return {"properties": {"stage": {"const": name}}, "required": ["stage"]}


def _renamed(value: Any, stage: str) -> Any:
    """Return a schema whose references point to the definitions of its stage."""
    if isinstance(value, dict):
        return {key: _renamed(item, stage) for key, item in value.items()}
    if isinstance(value, str) and value.startswith(DEFINITIONS):
        return f"{DEFINITIONS}{stage}.{value.removeprefix(DEFINITIONS)}"
    return [_renamed(item, stage) for item in value] if isinstance(value, list) else value
