"""From a result to whatever was made of it: the other way through the manifests than `lineage.trace`.

A result used another one when one of its inputs has the content hash of that other, or of one of its files; so a copy
or a moved folder is still known. Only results that lie in the folders searched are found: say so where it matters.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recipes import finding, manifest
from recipes.errors import UserError
from recipes.manifest import MANIFEST, Manifest

RUNS = "runs"
KINDS = {"data_prep": "data", "finetune": "checkpoint", "eval": "report"}
SKIPPED = {".git", ".scratch", ".venv", "node_modules", "__pycache__"}


@dataclass(frozen=True)
class Held:
    """Which files of a result hold what is looked for, and where in them; `sure` is False where nobody can tell."""

    files: frozenset[str]
    where: str = ""
    sure: bool = True


@dataclass
class Use:
    """A result that used another: by which keys of its recipe, which of the files, and who used it in turn."""

    result: Manifest
    inputs: dict[str, str]  # key in its recipe -> path as it was written
    held: Held
    uses: list[Use] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Return data, checkpoint or report."""
        return kind_of(self.result.stage)


Holding = Callable[[Manifest, Mapping[str, str]], Held | None]


def floor_of(stage: str) -> str | None:
    """Return the floor on which a stage stands, without importing it."""
    if not stage.isidentifier():
        return None
    return next((floor for floor in finding.FLOORS if finding.exists(f"{floor}.stages.{stage}")), None)


def kind_of(stage: str) -> str:
    """Return what a stage makes: data, checkpoint, report, or result where the stage is unknown here."""
    return KINDS.get(floor_of(stage) or "", "result")


def shown(path: Path | str) -> str:
    """Return a path as people write it: from the working folder, where it lies below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def folders(named: Sequence[str], beside: Path) -> list[Path]:
    """Return where to search: what was named, else `runs/` in the working folder, else the folder beside the result.

    Raises: UserError for a folder that is not there.
    """
    for one in named:
        if not Path(one).is_dir():
            raise UserError(f"--in {one}", "there is no such folder", "a folder with results, such as runs")
    if named:
        return [Path(one) for one in named]
    return [Path(RUNS)] if Path(RUNS).is_dir() else [beside.parent]


def results(places: Iterable[Path], damaged: list[str] | None = None) -> list[Manifest]:
    """Return all results below folders, also those kept under `.previous/`, once each, in the order of their paths."""
    found: dict[str, Manifest] = {}
    for place in places:
        for here, inside, names in os.walk(place):
            inside[:] = sorted(name for name in inside if name not in SKIPPED)
            if MANIFEST in names:
                try:
                    one = manifest.read(here)
                except UserError as error:
                    if damaged is not None:
                        damaged.append(str(error))
                    continue
                if one:
                    found.setdefault(os.path.realpath(here), one)
    return list(found.values())


def uses(of: Manifest, held: Held, among: Sequence[Manifest], holding: Holding) -> list[Use]:
    """Return who used the files of a result that hold something, and who used those in turn.

    `holding` tells which files of a user hold it (None: none of them); a result is followed once.
    """
    return _uses(of, held, among, holding, {os.path.realpath(of.folder)})


def _uses(of: Manifest, held: Held, among: Sequence[Manifest], holding: Holding, seen: set[str]) -> list[Use]:
    found = []
    for user in among:
        inputs = dict(_used(of, held.files, user))
        if not inputs or os.path.realpath(user.folder) in seen:
            continue
        there = holding(user, inputs)
        if there is None:
            continue
        seen.add(os.path.realpath(user.folder))
        use = Use(user, inputs, there if held.sure else Held(there.files, there.where, sure=False))
        use.uses = _uses(user, use.held, among, holding, seen)
        found.append(use)
    return found


def _used(of: Manifest, files: frozenset[str], user: Manifest) -> Iterator[tuple[str, str]]:
    """Yield key and path of each input that is the result, one of these files, or a folder in it with one of them."""
    digests = {of.files[name] for name in files if name in of.files}
    others = set(of.files.values()) - digests
    for key, entry in user.inputs.items():
        content = entry["content"]
        # The result's own hash, or one that is none of its files': a folder inside it.
        whole = content == of.content or (entry.get("result") == of.content and content not in others)
        if content in digests or whole:
            yield key, entry["path"]


def flat(found: Iterable[Use]) -> Iterator[Use]:
    """Yield all uses, each before those that follow from it."""
    for use in found:
        yield use
        yield from flat(use.uses)
