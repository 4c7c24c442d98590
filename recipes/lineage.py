"""`tuneloop lineage PATH`: the tree from a result back to the raw files it came from.

Each result's manifest names its inputs with their contents' hashes; an input that is itself a result leads further
down. An input that has changed since is said, and so is where the one that was used is kept, if it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from recipes import artifact, publish
from recipes.artifact import Manifest
from recipes.errors import UserError
from recipes.hashing import file_hash
from recipes.sections import shipped

SHORT = 12
WIDE = 200  # columns, where nobody's terminal sets them


@dataclass
class Origin:
    """One thing in the tree: a result of ours with its inputs, or a file, folder or model from elsewhere."""

    key: str
    path: str
    content: str
    manifest: Manifest | None = None
    note: str = ""
    inputs: list[Origin] = field(default_factory=list)


def trace(path: str) -> Origin:
    """Return the tree of what a result came from.

    Raises:
        UserError: the path is not there, or is no result and lies in none.
    """
    place = shipped(path)
    if not place.exists():
        raise UserError(path, "there is nothing here", "write the folder of a result, or a file in one")
    manifest = artifact.owner(place)
    if manifest is None:
        raise UserError(path, "this is not the result of a stage (no manifest.json here or above)", "name a result")
    return _origin("", path, artifact.content_hash(place), manifest)


def _origin(key: str, path: str, content: str, manifest: Manifest) -> Origin:
    origin = Origin(key, path, content, manifest)
    for name, entry in manifest.inputs.items():
        origin.inputs.append(_input(name, entry, manifest))
    return origin


def _input(key: str, entry: dict[str, Any], of: Manifest) -> Origin:
    """Return one input: where it lies now, and whether it is still what was used."""
    path, content = entry["path"], entry["content"]
    places = [shipped(path), of.folder / entry["relative"]] if "relative" in entry else [shipped(path)]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        revision = entry.get("revision")
        hub = f"Hugging Face hub{f', commit {revision[:SHORT]}' if revision else ''}" if "revision" in entry else ""
        return _kept(key, entry, "") or Origin(key, path, content, note=hub or "no longer there")
    try:
        same = artifact.content_hash(place) == content
    except UserError:
        same = False
    if not same:
        note = "changed since it was used"
        return _kept(key, entry, note) or Origin(key, path, content, note=note)
    maker = artifact.owner(place)
    return _origin(key, path, content, maker) if maker else Origin(key, path, content)


def _kept(key: str, entry: dict[str, Any], note: str) -> Origin | None:
    """Return the former result that was used, from `.previous/`."""
    result = entry.get("result")
    if not result:
        return None
    for folder in (shipped(entry["path"]), *shipped(entry["path"]).parents):
        manifest = artifact.read(publish.previous(folder, result[:SHORT]))
        if manifest and manifest.content == result:
            origin = _origin(key, entry["path"], entry["content"], manifest)
            origin.note = f"{note}; kept as {manifest.folder}" if note else f"kept as {manifest.folder}"
            return origin
    return None


def changed_files(manifest: Manifest) -> list[str]:
    """Return the files of a result whose content is no longer what its manifest says; reads them all."""
    return [
        name
        for name, digest in manifest.files.items()
        if not (manifest.folder / name).is_file() or file_hash(manifest.folder / name) != digest
    ]


def report(path: str, *, verify: bool = False) -> int:
    """Draw the tree; with `verify`, read every file of every result in it. Return 1 when something has changed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    origin = trace(path)
    broken = 0
    drawn: set[str] = set()

    def grow(tree: Tree, node: Origin) -> None:
        nonlocal broken
        if node.manifest and node.manifest.content in drawn:
            return
        if node.manifest:
            drawn.add(node.manifest.content)
        for inner in node.inputs:
            again = bool(inner.manifest and inner.manifest.content in drawn)
            branch = tree.add(_label(inner, escape, again=again))
            broken += bool(inner.note.startswith(("changed", "no longer")))
            grow(branch, inner)
        if verify and node.manifest:
            changed = changed_files(node.manifest)
            broken += bool(changed)
            said = f"changed: {', '.join(changed)}" if changed else f"{len(node.manifest.files)} files as written"
            tree.add(f"[{'red' if changed else 'green'}]verified: {escape(said)}[/]")

    tree = Tree(_label(origin, escape))
    grow(tree, origin)
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=WIDE)).print(tree)
    return 1 if verify and broken else 0


def _label(origin: Origin, escape: Any, *, again: bool = False) -> str:
    """Return one line: key, path, stage, hash, time, and the first time also the metrics."""
    head = f"[dim]{escape(origin.key)}[/] " if origin.key else ""
    text = f"{head}[bold]{escape(origin.path)}[/] [cyan]{origin.content[:SHORT]}[/]"
    if manifest := origin.manifest:
        text += f"  {manifest.stage}, {manifest.seconds:.0f} s, {manifest.started[:16].replace('T', ' ')}"
        if again:
            text += " [dim](as above)[/]"
        elif figures := _figures(manifest.metrics):
            text += f"\n[dim]{escape(figures)}[/]"
    return text + (f"  [yellow]{escape(origin.note)}[/]" if origin.note else "")


def _figures(metrics: dict[str, Any], most: int = 6) -> str:
    plain = [(name, value) for name, value in metrics.items() if isinstance(value, int | float)]
    shown = [f"{name} {value:.4g}" for name, value in plain[:most]]
    return ", ".join(shown) + (", ..." if len(plain) > most else "")
