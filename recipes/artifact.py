"""A stage's result: one folder with its data and a manifest, written whole or not at all.

`with writing(recipe) as work` gives a stage the work folder `<output_dir>.partial`. A stage that was killed finds it
again (`work.resumed`) as long as its recipe and its inputs are unchanged. When the stage is through, the files are
hashed, the manifest is written and the folder takes its final place in one step (publish.py).

What a result came from stands in its manifest (provenance.py); `matches` says whether it is still what the recipe
would make. Not here: drawing the tree of results (lineage.py), starting stages (run.py).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from recipes import __version__, disk, launch, provenance, publish
from recipes.errors import UserError
from recipes.hashing import combined, file_hash, files_in
from recipes.manifest import MANIFEST, NEW, Manifest, content_hash, owner, plain, read, stored, write_json
from recipes.sections import StageRecipe

__all__ = ["Manifest", "Work", "content_hash", "matches", "owner", "read", "writing"]

STATE = "state.json"
SCRATCH = ".scratch"
RANKS = ".ranks"
OURS = (MANIFEST, STATE, SCRATCH, RANKS)


@dataclass
class Work:
    """The folder that a stage fills. `metrics` and `notes` land in the manifest.

    `scratch` holds checkpoints and the like: it survives a kill and is not published. Names in `volatile` are
    published but do not count in the content hash, because they hold times (a report, a log).
    """

    path: Path
    resumed: bool
    metrics: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    volatile: set[str] = field(default_factory=set)
    main: bool = True

    @property
    def scratch(self) -> Path:
        """Return the folder for checkpoints."""
        return self.path / SCRATCH


def matches(recipe: StageRecipe) -> bool:
    """Return whether output_dir holds the whole, unchanged result of just this recipe with just these inputs."""
    target = _target(recipe)
    wanted = provenance.fingerprint(recipe, input_hashes(recipe))
    if launch.rank() == 0:
        if read(_partial(target)):
            with publish.lock(target):
                settle(target, wanted)
    elif (waiting := read(_partial(target))) and waiting.fingerprint == wanted:
        return True
    manifest = read(target)
    return bool(manifest and manifest.fingerprint == wanted and manifest.whole() and _same_revisions(manifest))


def _same_revisions(manifest: Manifest) -> bool:
    """Return whether each hub model in the local cache is still the commit that was used."""
    for entry in manifest.inputs.values():
        used = entry.get("revision")
        now = provenance.hub_revision(entry["path"], _kind(entry)) if used else None
        if used and now and used != now:
            return False
    return True


def _kind(entry: dict[str, Any]) -> str:
    """Return what the hub calls an input of a manifest."""
    return "model" if entry["model"] else "dataset"


def input_hashes(recipe: StageRecipe) -> dict[str, str]:
    """Return the content hash of each input, by its key in the recipe; elsewhere `provenance.absent_hash`."""
    return {
        item.key: content_hash(item.path) if provenance.local(item.path) else provenance.absent_hash(item.path)
        for item in provenance.inputs_of(recipe)
    }


def _input_entries(recipe: StageRecipe, hashes: dict[str, str], target: Path) -> dict[str, dict[str, Any]]:
    """Return what the manifest says of each input: path, content and, for a result of ours, its stage and folder."""
    entries = {}
    for item in provenance.inputs_of(recipe):
        entry: dict[str, Any] = {"path": item.path, "content": hashes[item.key], "stage": None, "model": item.model}
        place = provenance.local(item.path)
        if place is None:
            entry["revision"] = provenance.hub_revision(item.path, _kind(entry))
        else:
            # From this result's folder: a tree of results that was moved as a whole still finds its parts.
            entry["relative"] = os.path.relpath(os.path.abspath(place), os.path.abspath(target))
            if maker := owner(place):
                entry["stage"], entry["result"] = maker.stage, maker.content
        entries[item.key] = entry
    return entries


def settle(target: Path, wanted: str) -> None:
    """Finish what a kill during publication left undone; call it with the lock held.

    A work folder with a manifest is either a whole new result that had not taken its place yet, or the former one that
    had already made way for it.
    """
    publish.empty_trash(target)
    partial = _partial(target)
    waiting = read(partial)
    if waiting is None:
        return
    current = read(target)
    if waiting.fingerprint == wanted and waiting.whole() and not (current and current.fingerprint == wanted):
        _put(partial, target)
    else:
        publish.keep(partial, target, waiting.content[:12])


def _put(partial: Path, target: Path) -> None:
    """Give a whole result its place, without what only the run needed."""
    if (partial / SCRATCH).exists():
        shutil.rmtree(partial / SCRATCH)
    (partial / STATE).unlink(missing_ok=True)
    publish.sync(partial)
    new, former = read(partial), read(target)
    assert new is not None
    different = former is not None and former.content != new.content
    publish.put(partial, target, former.content[:12] if former and different else None)


@contextmanager
def writing(recipe: StageRecipe) -> Iterator[Work]:
    """Give a stage its work folder, and publish it when the stage is through.

    With several processes, the first one locks and publishes; the others get the same folder, and the result is only
    published when all of them are through.

    Raises:
        UserError: another run writes this folder, the folder holds something else, the disk is full or read-only.
    """
    target = _target(recipe)
    with disk.told(target):
        hashes = input_hashes(recipe)
        wanted = provenance.fingerprint(recipe, hashes)
        if launch.rank() != 0:
            work = _join(target, wanted)
            with _begun():
                yield work
            (work.path / RANKS / str(launch.rank())).touch()
            return
        refuse_foreign(target)
        with publish.lock(target):
            work = _begin(target, wanted)
            started, clock = datetime.now(UTC), time.monotonic()
            with _begun():
                yield work
            _wait_for_ranks(work.path)
            shutil.rmtree(work.path / RANKS)
            files = files_in(work.path, skip=OURS)
            manifest = _manifest(recipe, work, files, hashes)
            manifest.fingerprint = wanted
            manifest.started = started.isoformat(timespec="seconds")
            manifest.seconds = round(time.monotonic() - clock, 3)
            write_json(work.path / MANIFEST, stored(manifest))
            # From here on the manifest makes the work folder a whole result: `settle` can finish after a kill.
            _put(work.path, target)


def _manifest(recipe: StageRecipe, work: Work, names: list[str], hashes: dict[str, str]) -> Manifest:
    files = {name: file_hash(work.path / name) for name in names}
    return Manifest(
        stage=recipe.stage,
        recipe=provenance.resolved(recipe),
        inputs=_input_entries(recipe, hashes, _target(recipe)),
        files=files,
        sizes={name: (work.path / name).stat().st_size for name in names},
        volatile=sorted(work.volatile),
        content=combined({name: digest for name, digest in files.items() if name not in work.volatile}),
        fingerprint="",
        metrics=plain(work.metrics),
        notes=plain(work.notes),
        seed=recipe.seed,
        started="",
        seconds=0.0,
        peak_memory=provenance.peak_memory(),
        processes=launch.world(),
        resumed=work.resumed,
        version=__version__,
        source=provenance.source_digest(),
        libraries=provenance.library_versions(),
        machine=provenance.machine(),
    )


def refuse_foreign(target: Path) -> None:
    """Refuse to replace a folder that is not a result of ours.

    Raises:
        UserError: something else is there.
    """
    if target.exists() and not target.is_dir():
        raise UserError(str(target), "output_dir is a file", "name a folder that is empty or not there yet")
    if target.is_dir() and any(target.iterdir()) and read(target) is None:
        raise UserError(
            str(target),
            "this folder is not empty and is not the result of a stage (it has no manifest.json)",
            "name another output_dir, or move what is in it away",
        )


def _begin(target: Path, wanted: str) -> Work:
    """Return the work folder: the one that an interrupted run of the same recipe left, or a new one."""
    settle(target, wanted)
    partial = _partial(target)
    aside = publish.previous(target, f"partial-{wanted[:12]}")
    if partial.exists() and _state(partial).get("fingerprint") != wanted:
        publish.keep(partial, target, f"partial-{str(_state(partial).get('fingerprint', 'unknown'))[:12]}")
    if not partial.exists() and aside.exists():
        os.rename(aside, partial)
    resumed = partial.exists()
    for folder in (partial, partial / SCRATCH, partial / RANKS):
        folder.mkdir(parents=True, exist_ok=True)
    for left in (*(partial / RANKS).iterdir(), *(partial / (name + NEW) for name in (MANIFEST, STATE))):
        left.unlink(missing_ok=True)
    write_json(partial / STATE, {"fingerprint": wanted, "run": launch.run_name(), "resumed": resumed})
    return Work(partial, resumed)


def _join(target: Path, wanted: str) -> Work:
    """Return the work folder that the first process has made for this run."""
    partial = _partial(target)

    def ready() -> bool:
        state = _state(partial)
        return state.get("fingerprint") == wanted and state.get("run") == launch.run_name()

    _wait(ready, f"{partial}: the first process has not made this folder")
    return Work(partial, bool(_state(partial)["resumed"]), main=False)


def _wait_for_ranks(partial: Path) -> None:
    marks = [partial / RANKS / str(rank) for rank in range(1, launch.world())]
    _wait(lambda: all(mark.exists() for mark in marks), f"{partial}: other processes of this run have not finished")


def _wait(ready: Callable[[], bool], what: str, seconds: float = 1800) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} within {seconds:.0f} seconds")
        time.sleep(0.05)


def _target(recipe: StageRecipe) -> Path:
    # Through links: what is replaced is the folder behind them, on its own file system.
    return Path(os.path.realpath(recipe.output_dir))


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _state(partial: Path) -> dict[str, Any]:
    try:
        state = json.loads((partial / STATE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # killed before it was written
        return {}
    return state if isinstance(state, dict) else {}


@contextmanager
def _begun() -> Iterator[None]:
    """Mark mistakes that come up once the work has begun: their exit code is 1."""
    try:
        yield
    except UserError as error:
        error.code = 1
        raise
