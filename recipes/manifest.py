"""A result's manifest: what a finished stage wrote down, where it is found, and the content hashes that rest on it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recipes.errors import UserError
from recipes.hashing import combined, file_hash, folder_hash
from recipes.sections import shipped

MANIFEST = "manifest.json"
NEW = ".new"  # a JSON file on its way to its name
FORMAT = 1


@dataclass
class Manifest:
    """What a finished stage wrote down about its result. Hashes are SHA-256; times are seconds, sizes are bytes."""

    stage: str
    recipe: dict[str, Any]
    inputs: dict[str, dict[str, Any]]
    files: dict[str, str]
    sizes: dict[str, int]
    volatile: list[str]
    content: str
    fingerprint: str
    metrics: dict[str, Any]
    notes: dict[str, Any]
    seed: int
    started: str
    seconds: float
    peak_memory: int
    processes: int
    resumed: bool
    version: str
    source: str
    libraries: dict[str, str]
    machine: dict[str, Any]
    tuneloop: int = FORMAT
    folder: Path = field(default=Path(), metadata={"stored": False})

    def whole(self) -> bool:
        """Return whether every file is still there with its size (`tuneloop lineage --verify` reads them all)."""
        return not self.damaged()

    def damaged(self) -> list[str]:
        """Return the files that are gone or have another size than when they were written."""
        return [name for name, size in self.sizes.items() if _size(self.folder / name) != size]


def read(folder: Path | str) -> Manifest | None:
    """Return the manifest of a finished stage's folder, or None when the folder has none of ours.

    Raises:
        UserError: there is a manifest, but it is damaged.
    """
    path = Path(folder) / MANIFEST
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UserError(str(path), f"this manifest is damaged ({error})", "run the stage that made it again") from None
    if not isinstance(stored, dict) or "tuneloop" not in stored or "fingerprint" not in stored:
        return None
    names = {item.name for item in dataclasses.fields(Manifest)} - {"folder"}
    missing = names - stored.keys()
    if missing:
        what = f"this manifest is damaged or of another version (without {', '.join(sorted(missing)[:3])})"
        raise UserError(str(path), what, "run the stage that made it again")
    return Manifest(**{name: value for name, value in stored.items() if name in names}, folder=Path(folder))


def owner(path: Path | str) -> Manifest | None:
    """Return the result that holds this file or folder, looking upwards; None when it belongs to none."""
    start = Path(os.path.abspath(shipped(str(path))))
    return next((found for folder in (start, *start.parents) if (found := read(folder))), None)


def content_hash(path: Path | str) -> str:
    """Return the hash of a file, a folder or a finished result; what a manifest knows is not read again.

    Raises:
        UserError: a file of a finished result has been changed or removed since.
        FileNotFoundError: there is nothing at `path`.
    """
    place = shipped(str(path))
    manifest = owner(place)
    if manifest is None:
        return file_hash(place) if place.is_file() else folder_hash(place.resolve(strict=True))
    if damaged := manifest.damaged():
        raise UserError(
            str(manifest.folder / damaged[0]),
            f"this file of a finished {manifest.stage} stage was changed or removed afterwards",
            "run its stage again, or copy the folder elsewhere (without manifest.json) to edit it",
        )
    return _content_within(manifest, Path(os.path.abspath(place)))


def _content_within(manifest: Manifest, place: Path) -> str:
    """Return the hash of a result, or of one file or folder of it, from its manifest."""
    if place == manifest.folder:
        return manifest.content
    name = place.relative_to(manifest.folder).as_posix()
    if name in manifest.files:
        return manifest.files[name]
    inside = {file[len(name) + 1 :]: digest for file, digest in manifest.files.items() if file.startswith(name + "/")}
    return combined(inside) if inside else (file_hash(place) if place.is_file() else folder_hash(place))


def stored(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as it stands in its file."""
    values = dataclasses.asdict(manifest)
    del values["folder"]
    return values


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    new = path.with_name(path.name + NEW)
    with new.open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def plain(value: Any) -> Any:
    """Return `value` made of JSON's types; numbers of numpy and torch become plain, nan and inf become texts."""
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in (sorted(value) if isinstance(value, set) else value)]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return str(value) if isinstance(value, Path) else value


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
