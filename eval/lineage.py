"""What a checkpoint was made of: the manifests behind it, the files it was trained on, its training curves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.tokens import row_ranges
from recipes import artifact
from recipes.artifact import Manifest
from recipes.sections import shipped

# Inputs that a stage only looks at: to measure, to choose, or to keep out of training.
NOT_TRAINED_ON = re.compile(r"validation|valid_|test|eval|decontaminate")
LOG = "log.jsonl"
CURVES = ("loss", "eval_loss", "eval_accuracy", "reward", "gold", "kl")


@dataclass(frozen=True)
class TrainingFile:
    """A file that a stage in a checkpoint's past was trained on; `path` is None when it is no longer there."""

    stage: str
    named: str
    path: Path | None


def past(reference: str) -> list[Manifest]:
    """Return the manifests behind a checkpoint, its own first, each once; none for a model of unknown origin."""
    found: dict[str, Manifest] = {}
    waiting = [shipped(reference)]
    while waiting:
        manifest = artifact.read(waiting.pop(0))
        if manifest is None or manifest.content in found:
            continue
        found[manifest.content] = manifest
        for _, entry in _inputs(manifest, models=True):
            place = _place(manifest, entry)
            if place is not None and not _changed(entry, place):
                waiting.append(place)
    return list(found.values())


def _changed(entry: dict[str, Any], place: Path) -> bool:
    """Say whether a finished result is another one now than when it was used: then its past is not this one's."""
    now = artifact.read(place)
    return now is not None and now.content != entry.get("content", now.content)


def origins(reference: str) -> list[str]:
    """Return the models at the beginning of a checkpoint's past: those of whose making nothing is known."""
    manifests = past(reference)
    starts = []
    for manifest in manifests:
        for _, entry in _inputs(manifest, models=True):
            place = _place(manifest, entry)
            if place is None or artifact.read(place) is None:
                starts.append(entry["path"])
            elif _changed(entry, place):
                starts.append(f"{entry['path']} (changed since it was used)")
    return list(dict.fromkeys(starts)) if manifests else [reference]


def parent(reference: str, others: dict[str, str]) -> str | None:
    """Return which of `others` (name -> reference) a checkpoint was trained from, directly or not: the nearest."""
    contents = {found.content: name for name, other in others.items() if (found := artifact.read(shipped(other)))}
    folders = {os.path.realpath(shipped(other)): name for name, other in others.items()}
    for manifest in past(reference):
        for _, entry in _inputs(manifest, models=True):
            place = os.path.realpath(_place(manifest, entry) or entry["path"])
            found_name = contents.get(entry.get("content", "")) or folders.get(place)
            # A reward model teaches a policy, but the policy does not go on from its weights.
            if found_name and entry.get("stage") != "reward":
                return found_name
    return None


def training_files(reference: str) -> list[TrainingFile]:
    """Return every file that the stages behind a checkpoint were trained on."""
    files: dict[str, TrainingFile] = {}
    for manifest in past(reference):
        for key, entry in _inputs(manifest, models=False):
            if not NOT_TRAINED_ON.search(key):
                for named, place in _texts(key, entry, manifest):
                    files.setdefault(named, TrainingFile(manifest.stage, named, place))
    return list(files.values())


def _texts(key: str, entry: dict[str, Any], of: Manifest) -> Iterator[tuple[str, Path | None]]:
    """Yield the files of rows behind an input: tokens lead on to what was tokenised, a tokenizer to nothing."""
    place = _place(of, entry)
    if key == "tokenizer":
        return
    maker = artifact.read(place) if place is not None and place.is_dir() else None
    if maker is not None and maker.stage == "tokens":
        for inner, its_entry in _inputs(maker, models=False):
            yield from _texts(inner, its_entry, maker)
    elif place is not None and place.is_dir():
        for file in row_ranges.files_of(str(place)):
            yield f"{entry['path']}/{Path(file).relative_to(os.path.abspath(place))}", Path(file)
    else:
        yield entry["path"], place


def curve(manifest: Manifest) -> dict[str, list[tuple[float, float]]]:
    """Return what a stage logged as (step, value) points, by name; empty without a log."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in _log(manifest.folder / LOG):
        for name in CURVES:
            if isinstance(row.get(name), int | float) and isinstance(row.get("step"), int | float):
                points.setdefault(name, []).append((float(row["step"]), float(row[name])))
    # A stage that logged nothing twice has no course to show.
    return points if any(len(line) > 1 for line in points.values()) else {}


def _log(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _inputs(manifest: Manifest, *, models: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((key, entry) for key, entry in manifest.inputs.items() if bool(entry.get("model")) == models)


def _place(manifest: Manifest, entry: dict[str, Any]) -> Path | None:
    """Return where an input lies now: as named, or beside the result that was moved along with it."""
    named = shipped(entry["path"])
    if named.exists():
        return named
    beside = manifest.folder / entry["relative"] if "relative" in entry else None
    return beside if beside is not None and beside.exists() else None
