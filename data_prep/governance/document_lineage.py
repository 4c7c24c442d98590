"""`tuneloop lineage CORPUS --document ID`: one document's way, from its raw file to the checkpoints that saw it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.governance import places
from data_prep.governance.places import Found
from recipes import downstream, manifest
from recipes.downstream import Held, Use, shown
from recipes.errors import UserError
from recipes.hashing import file_hash
from recipes.lineage import SHORT, WIDE
from recipes.manifest import Manifest

NOTED = {  # what filters note in `meta`, in words
    "encoding_repaired": "encoding repaired",
    "boilerplate_lines": "boilerplate lines removed: {}",
    "c4_lines_removed": "lines removed by the C4 rules: {}",
    "template_lines_removed": "template lines removed: {}",
    "link_lines_removed": "lines of links removed: {}",
    "lines_with_links_removed": "lines from which links were removed: {}",
    "foreign_paragraphs": "paragraphs in other languages removed: {}",
    "personal_data": "personal data found and left in: {}",
    "duplicate_paragraphs": "paragraphs removed that stand elsewhere: {}",
    "redacted": "personal data replaced: {}",
    "language": "language told: {}",
}
PLACE = ("path", "row")
MOST = 10


def report(path: str, document: str, folders: Sequence[str] = (), *, verify: bool = False) -> int:
    """Draw the way of a document; with `verify`, hash its whole input. Return 1 when its raw file has changed or gone.

    Raises: UserError when the path is no corpus or has no such document.
    """
    corpus = places.corpus(path)
    found = places.find(corpus, document)
    searched = downstream.folders(folders, corpus.folder)
    damaged: list[str] = []
    among = downstream.results(searched, damaged)
    raw, changed = _raw(corpus, found, verify=verify)
    branches = [
        ("read from", raw),
        ("changed on its way", list(_changes(found.row.get("meta", {})))),
        ("stands for", _copies(found)),
        ("now", [_now(corpus, found)]),
    ]
    holds = places.holding(frozenset({document}))
    users = downstream.uses(corpus, Held(frozenset({found.file})), among, holds) if found.kept else []
    _draw(
        f"{document}  [cyan]{corpus.content[:SHORT]}[/] {shown(corpus.folder)}",
        document,
        branches,
        users,
        searched,
        damaged,
    )
    return int(changed)


def _raw(corpus: Manifest, found: Found, *, verify: bool) -> tuple[list[str], bool]:
    """Return what is known of the raw file, and whether it is still what was read."""
    raw = places.raw_of(corpus, found.row)
    if raw is None:
        return ["no input of the recipe bears the first part of its id"], False
    entry = corpus.inputs.get(raw.key, {})
    row = f", row {raw.row}" if raw.row else ""
    said = [f"{raw.key}: {raw.path}{row}"]
    if maker := entry.get("stage"):
        said.append(f"the input is the result of {maker} {str(entry.get('result', ''))[:SHORT]}")
    if raw.url:
        return [*said, "elsewhere: not looked at"], False
    if not raw.path.is_file():
        return [*said, "no longer there"], True
    digest = file_hash(raw.path)
    alone = raw.path == Path(str(entry.get("path")))
    if alone or verify:
        same = (digest if alone else _content(str(entry["path"]))) == entry.get("content")
        said.append(f"SHA-256 {digest[:SHORT]}, {'as it was read' if same else 'changed since it was read'}")
        return said, not same
    return [*said, f"SHA-256 {digest[:SHORT]} now (--verify compares the whole input)"], False


def _content(path: str) -> str:
    try:
        return manifest.content_hash(path)
    except UserError:
        return "damaged"


def _changes(meta: Mapping[str, Any]) -> Iterator[str]:
    for name, value in meta.items():
        if name in NOTED:
            what = ", ".join(f"{kind} {count}" for kind, count in value.items()) if isinstance(value, dict) else value
            yield NOTED[name].format(what)
    others = {name: value for name, value in meta.items() if name not in NOTED and name not in PLACE}
    for name, value in others.items():
        text = str(value)
        yield f"{name}: {text if len(text) <= 100 else text[:97] + '...'}"


def _copies(found: Found) -> list[str]:
    said = [f"{one['id']} ({one['reason']}, {one['likeness']:.2f} alike)" for one in found.copies[:MOST]]
    more = len(found.copies) - MOST
    return [*said, f"and {more:,} more"] if more > 0 else said


def _now(corpus: Manifest, found: Found) -> str:
    if found.kept:
        return f"{shown(corpus.folder / found.file)}, line {found.line}"
    twin = places.twin_of(found.row)
    said = f"dropped by {found.row.get('step')}: {found.row.get('reason')} ({found.row.get('detail')})"
    return f"{said}; follow {twin[0]}, which stands for it" if twin else said


def _draw(
    head: str,
    document: str,
    branches: Sequence[tuple[str, Sequence[str]]],
    users: Sequence[Use],
    searched: Sequence[Path],
    damaged: Sequence[str],
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]{escape(document)}[/]{head.removeprefix(document)}")
    for title, said in branches:
        if said:
            branch = tree.add(f"[dim]{title}[/]")
            for one in said:
                branch.add(escape(one))
    branch = tree.add("[dim]used by[/]")
    _grow(branch, users)
    where = ", ".join(map(str, searched))
    if not users:
        branch.add(f"no result in {escape(where)}")
    for one in damaged:
        branch.add(f"[yellow]not looked at: {escape(one)}[/]")
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=WIDE)).print(tree)


def _grow(tree: Any, users: Sequence[Use]) -> None:
    for use in users:
        _grow(tree.add(label(use)), use.uses)


def label(use: Use) -> str:
    """Return a use in one line, with rich's markup."""
    from rich.markup import escape

    one = use.result
    keys = ", ".join(use.inputs)
    said = (
        f"{use.kind} [bold]{escape(shown(one.folder))}[/] [cyan]{one.content[:SHORT]}[/]  {one.stage} ({escape(keys)})"
    )
    said += f"  {escape(use.held.where)}" if use.held.where else ""
    return said + ("" if use.held.sure else "  [yellow]may hold it[/]")
