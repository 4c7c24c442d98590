"""What a recipe names must be there: files, folders, URLs, models and data sets on disk or on the Hugging Face hub.

A hub id is looked for in the local cache first; then one question to the hub, answered within three seconds or not at
all (the libraries themselves retry for 50 seconds, or hang for ever when the network is silent).
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from recipes import artifact, model_folder, remote
from recipes.errors import UserError
from recipes.finding import Stage, nearest
from recipes.provenance import hub_revision
from recipes.sections import DatasetRef, Fault, Key, ModelRef, SourcePath, shipped

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
Maker = TypeVar("Maker")
MODEL_FILES = ("config.json", "adapter_config.json")
PROBE_SECONDS = 3.0


def faults(
    named: Iterable[tuple[Key, str]], output_dir: str, promised: Mapping[str, Stage], siblings: Mapping[str, str]
) -> Iterator[Fault]:
    """Yield what is wrong with the files and models that a recipe names.

    `promised` holds the output folders of earlier pipeline steps: what lies in them need not be there yet.
    `siblings` holds the output folders of neighbouring recipes, with the recipe that makes each.
    """
    for key, value in named:
        if same_or_inside(value, output_dir) or same_or_inside(output_dir, value):
            write = "name another output_dir: a stage replaces its output_dir, so nothing that it reads may lie there"
            yield Fault(key, f"{value} and output_dir ({output_dir}) lie in each other", write)
        elif maker := _maker(value, promised):
            if isinstance(value, ModelRef) and maker.floor != "finetune":
                yield Fault(key, f"{value} comes from stage {maker.name}, which makes no model", "name a model")
        elif fault := _fault(key, value):
            to_be_made = not shipped(value).exists() and not artifact.owner(value)
            recipe_path = _maker(value, siblings) if to_be_made else None
            yield Fault(key, fault.what, f"make it first: tuneloop run {recipe_path}") if recipe_path else fault


def _fault(key: Key, value: str) -> Fault | None:
    if isinstance(value, ModelRef):
        return _model_fault(key, value)
    if isinstance(value, DatasetRef):
        return dataset_fault(key, value)
    return (
        _url_fault(key, value) if isinstance(value, SourcePath) and remote.is_url(value) else _input_fault(key, value)
    )


def _maker(value: str, makers: Mapping[str, Maker]) -> Maker | None:
    return next((maker for folder, maker in makers.items() if same_or_inside(value, folder)), None)


def same_or_inside(path: str, folder: str) -> bool:
    inner, outer = os.path.abspath(path), os.path.abspath(folder)
    return inner == outer or inner.startswith(outer.rstrip(os.sep) + os.sep)


def output_faults(output_dir: str) -> Iterator[Fault]:
    """Yield why a stage could not put its result at `output_dir`."""
    target = Path(os.path.realpath(output_dir))
    key: Key = ("output_dir",)
    if target == target.parent or target in (Path.cwd(), Path.home()):
        yield Fault(key, f"{output_dir} is not a folder to replace", "name a folder of its own, runs/NAME say")
        return
    try:
        artifact.refuse_foreign(target)
    except UserError as error:
        yield Fault(key, f"{output_dir}: {error.what}", error.write)
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir():
        yield Fault(key, f"{output_dir}: {above} is a file", "name another folder")
    elif not os.access(above, os.W_OK | os.X_OK):
        yield Fault(key, f"{output_dir}: no permission to write in {above}", "name another folder")
    elif holder := artifact.owner(above):
        what = f"{output_dir} lies in the finished result of a {holder.stage} stage"
        yield Fault(key, what, "name a folder outside it")


def _input_fault(key: Key, value: str) -> Fault | None:
    place = shipped(value)
    if not place.exists():
        return Fault(key, f"{value} is not there", _similar(place) or "write a path from the working folder")
    if not os.access(place, os.R_OK):
        return Fault(key, f"{value} cannot be read (no permission)", "make it readable, or name another file")
    if not place.is_file() and not place.is_dir():
        return Fault(key, f"{value} is a pipe or a device, not a file", "name a file")
    if place.is_file() and place.stat().st_size == 0:
        return Fault(key, f"{value} is an empty file", "name a file with something in it")
    if place.is_dir() and not any(names for _, _, names in os.walk(place)):
        return Fault(key, f"{value} is an empty folder", "name a folder with files in it")
    return None


def _url_fault(key: Key, value: str) -> Fault | None:
    try:
        remote.probe(value)
    except UserError as error:
        return Fault(key, f"{value}: {error.what}", error.write)
    return None


def dataset_fault(key: Key, value: str) -> Fault | None:
    """Return why a data set cannot be had, or None when it can."""
    place = shipped(value)
    if place.is_dir():
        return _input_fault(key, value)
    if place.exists():
        return Fault(key, f"{value} is a file, not a data set's folder", f"write path: {value} instead of dataset:")
    if not HUB_ID.fullmatch(value) or Path(value.split("/")[0]).is_dir():
        return Fault(key, f"{value} is not there", _similar(place) or "write a data set's folder or a Hugging Face id")
    return _hub_fault(key, value, _similar(place), "dataset")


def _similar(place: Path) -> str | None:
    """Return a suggestion from the folder in which the path stops being right."""
    parent = next(folder for folder in (place.parent, *place.parents) if folder.is_dir())
    missing = place.relative_to(parent).parts[0] if parent != Path() else place.parts[0]
    names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
    rest = place.relative_to(parent).parts[1:]
    if guess := nearest(missing, names):
        better = parent.joinpath(guess, *rest)
        if better.exists():
            return f"did you mean {better}?"
    if guess := nearest(missing, names, 0.6 if not rest else 0.8):
        return f"did you mean {parent / guess}?"
    if names and parent != Path():
        return f"in {parent} there are {', '.join(sorted(names)[:8])}{', ...' if len(names) > 8 else ''}"
    return None


def _model_fault(key: Key, value: str) -> Fault | None:
    place = shipped(value)
    if place.is_dir():
        return _folder_fault(key, value, place)
    if place.exists():
        return Fault(key, f"{value} is a file, not a model's folder", f"write the folder it is in: {place.parent}")
    local = (
        not HUB_ID.fullmatch(value) or Path(value.split("/")[0]).is_dir() or value.endswith((".safetensors", ".bin"))
    )
    if local:
        return Fault(key, f"{value} is not there", _similar(place) or "write a model's folder or a Hugging Face id")
    return _hub_fault(key, value, _similar(place))


def _folder_fault(key: Key, value: str, place: Path) -> Fault | None:
    if any((place / name).is_file() for name in MODEL_FILES):
        damage = model_folder.damage(place)
        return Fault(key, *damage) if damage else None
    if manifest := artifact.read(place):
        return Fault(key, f"{value} is the result of stage {manifest.stage}, which makes no model", "name a model")
    inside = [entry.name for entry in place.iterdir() if any((entry / name).is_file() for name in MODEL_FILES)]
    write = f"did you mean {place / sorted(inside)[-1]}?" if inside else "write a folder that holds a model"
    return Fault(key, f"{value} holds no model (neither config.json nor adapter_config.json)", write)


def _hub_fault(key: Key, value: str, similar: str | None, kind: str = "model") -> Fault | None:
    """Return why a Hugging Face id cannot be had, or None when it can."""
    if hub_revision(value, kind):
        return None
    command = "hf download " + ("--repo-type dataset " if kind == "dataset" else "") + value
    other = similar or "write a local folder, or download it first where there is a network: " + command
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return Fault(key, f"{value} is not on this disk, and the hub is switched off (HF_HUB_OFFLINE=1)", other)
    answer = hub_answer(value, kind)
    if answer is None:
        return Fault(key, f"{value} is not on this disk, and the hub gave no answer in {PROBE_SECONDS:.0f} s", other)
    if answer in (401, 403, 404):
        named = {"model": "model", "dataset": "data set"}[kind]
        write = similar or f"correct the id; for a private or gated {named}, set HF_TOKEN"
        return Fault(key, f"the hub has no {named} {value} that it would give (it answered {answer})", write)
    return None


@functools.cache
def hub_answer(name: str, kind: str = "model") -> int | None:
    """Return the HTTP status with which the hub answers for a model or dataset, or None without an answer in time."""
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(_ask(name, kind)), daemon=True)
    asking.start()
    asking.join(PROBE_SECONDS)  # also bounds the name look-up, which no socket timeout does
    return answers[0] if answers and answers[0] else None


def _ask(name: str, kind: str) -> int:
    import urllib.error
    import urllib.request

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    token = os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{endpoint}/api/{kind}s/{name}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PROBE_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0
