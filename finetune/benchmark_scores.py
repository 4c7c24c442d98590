"""What a `stage: benchmark` measured of a model, for its card: the scores of checkpoints with the model's content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recipes import artifact
from recipes.sections import Fault, Key, shipped

RESULTS = "results.json"
Row = tuple[str, str, str, str]


def faults(key: Key, folder: str | None) -> list[Fault]:
    """Refuse what is no benchmark's result; one that is still to come is passed over."""
    if folder is None or not shipped(folder).exists():
        return []
    manifest = artifact.read(shipped(folder)) if shipped(folder).is_dir() else None
    if manifest is None or manifest.stage != "benchmark":
        made = f"made by `stage: {manifest.stage}`" if manifest else "no result of a stage"
        return [Fault(key, f"{folder} is {made}", "write the folder of a result of `stage: benchmark`")]
    return []


def rows(folder: str, content: str) -> Iterator[Row]:
    """Yield task, measure, value with its interval, and the number of items, of the checkpoint with this content."""
    manifest = artifact.read(shipped(folder))
    inputs = manifest.inputs if manifest else {}
    values = json.loads((shipped(folder) / RESULTS).read_text(encoding="utf-8"))
    for number, checkpoint in enumerate(values["checkpoints"]):
        if inputs.get(f"checkpoints.{number}.model_name_or_path", {}).get("content") == content:
            yield from (_row(score) for score in values["scores"] if score["checkpoint"] == checkpoint["name"])


def _row(score: dict[str, Any]) -> Row:
    value = f"{score['value']:.4g}"
    if score.get("low") is not None and score.get("high") is not None:
        value += f" ({score['low']:.4g} to {score['high']:.4g})"
    return str(score["task"]).replace("|", "/"), str(score["measure"]).replace("|", "/"), value, str(score["n"])


def section(folder: str | None, models: dict[str, str]) -> str:
    """Return the card's part on measurements; `models` gives the content of each model that the card's was made of."""
    if folder is None:
        return ""
    parts = []
    for path, content in models.items():
        found = list(rows(folder, content))
        if found:
            parts.append(f"`{path}` in the benchmark `{Path(folder)}`, with 95 % intervals:\n")
            parts.append("| task | measure | value | items |\n|---|---|---|---|")
            parts += [f"| {' | '.join(row)} |" for row in found]
        else:
            parts.append(f"The benchmark `{Path(folder)}` has not measured `{path}`, or not as it is now.\n")
    return "\n".join(parts)
