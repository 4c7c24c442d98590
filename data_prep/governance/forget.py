"""`tuneloop forget CORPUS --source NAME | --document ID | --match TEXT`: what holds it, who saw it, and a block list.

Finds the documents (a person's also by what is in the text, in the corpus and in its raw inputs as they lie there now:
an e-mail address that was redacted stands only there), all other corpora in the folders searched that hold them, and
every result and checkpoint that used a file with them. Then it adds an entry to the block list, which the corpus stage
applies when it reads. With a document its copies are blocked: they would take its place in the next run.

Nothing published is changed: results and checkpoints that saw the documents are listed, and stay until somebody runs
their stages again or deletes them. Weights cannot be made to forget by a list.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.governance import forgetting, places
from data_prep.governance.forgetting import Entry, Forgotten
from data_prep.records import Document
from recipes import downstream
from recipes.downstream import Held, Use, shown
from recipes.errors import UserError
from recipes.manifest import Manifest
from recipes.sections import shipped

LIST = "forgotten.jsonl"
MOST = 20
NOT_READ = "not read again, so searched only in what the corpus kept of it"


@dataclass
class Wanted:
    """What is asked for: entries for the block list, and a list that has only them, to test documents with."""

    entries: list[Entry]
    tested: Forgotten
    ids: set[str] = field(default_factory=set)

    def holds(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row of a corpus is one of the documents."""
        return row["id"] in self.ids or self.tested.number(_document(row)) > 0


@dataclass
class Seen:
    """A corpus with such documents: their ids by file, and who used these files."""

    corpus: Manifest
    files: dict[str, list[str]]
    raw: list[str]
    users: list[Use] = field(default_factory=list)


def report(
    path: str,
    *,
    document: str | None = None,
    source: str | None = None,
    match: str | None = None,
    block_list: str | None = None,
    folders: Sequence[str] = (),
    dry_run: bool = False,
) -> int:
    """Tell what holds the documents and who saw them; write the block list unless `dry_run`.

    Raises: UserError when the path is no corpus, or nothing there bears this id or source.
    """
    corpus = places.corpus(path)
    file = Path(block_list or corpus.recipe.get("forget") or LIST)
    block = forgetting.load(file) if file.exists() else forgetting.new()
    wanted = _wanted(block, corpus, document=document, source=source, match=match)
    for line in _from_inputs(corpus, wanted) if match is not None else ():
        print(line)
    searched = downstream.folders(folders, corpus.folder)
    damaged: list[str] = []
    seen = _seen(corpus, downstream.results(searched, damaged), wanted)
    _tell(seen, searched, damaged)
    _write(file, block, wanted.entries, corpus, dry_run=dry_run)
    return 0


def _wanted(
    block: Forgotten, corpus: Manifest, *, document: str | None, source: str | None, match: str | None
) -> Wanted:
    today = datetime.date.today().isoformat()
    if document is not None:
        found = places.find(corpus, document)
        ids = [document, *(str(copy["id"]) for copy in found.copies)]
        entries = [block.entry("document", one, today) for one in ids]
        return Wanted(entries, Forgotten(block.salt, entries), set(ids))
    if source is not None:
        _known_source(corpus, source)
        entry = block.entry("source", source, today)
    else:
        assert match is not None
        entry = block.entry("text", match, today)
    return Wanted([entry], Forgotten(block.salt, [entry]))


def _known_source(corpus: Manifest, source: str) -> None:
    """Refuse a source that no document of the corpus has.

    Raises: UserError with the nearest names.
    """
    known = {str(row["source"]) for file in places.files(corpus) for _, row in places.rows(corpus, file)}
    wanted = source.rstrip("/")
    if not any(one == wanted or one.startswith(f"{wanted}/") for one in known):
        near = places.nearest(source, iter(sorted(known)))
        write = f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(sorted(known)[:MOST])}"
        raise UserError(f"--source {source}", f"no document of {shown(corpus.folder)} is of this source", write)


def _from_inputs(corpus: Manifest, wanted: Wanted) -> Iterator[str]:
    """Read the corpus's raw inputs again and note the ids of matching documents; yield what could not be read."""
    from data_prep.inputs import Input, documents_of, units_of
    from data_prep.readers import Skipped

    for item in (Input(**item) for item in corpus.recipe["inputs"]):
        if item.path and "://" not in item.path and not shipped(item.path).exists():
            yield f"{item.path}: {NOT_READ} (no longer there)"
            continue
        try:
            for unit in units_of(item, 0):
                for found in documents_of(item, unit):
                    if not isinstance(found, Skipped) and wanted.tested.number(found):
                        wanted.ids.add(found.id)
        except (UserError, OSError) as error:
            yield f"{item.place()}: {NOT_READ} ({error})"


def _seen(corpus: Manifest, among: Sequence[Manifest], wanted: Wanted) -> list[Seen]:
    """Return the corpora that hold such documents, the one that was named first, and who used them."""
    others = [one for one in among if one.stage == "corpus" and one.folder.resolve() != corpus.folder.resolve()]
    found = []
    for one in (corpus, *others):
        held = _held(one, wanted)
        if held.files or one is corpus:
            kept = [name for name in held.files if name != places.DROPPED]
            ids = frozenset(document for name in kept for document in held.files[name])
            held.users = downstream.uses(one, Held(frozenset(kept)), among, places.holding(ids)) if kept else []
            found.append(held)
    return found


def _held(corpus: Manifest, wanted: Wanted) -> Seen:
    held, raw = dict[str, list[str]](), dict[str, None]()
    for file in places.files(corpus):
        for _, row in places.rows(corpus, file):
            if wanted.holds(row):
                held.setdefault(file, []).append(str(row["id"]))
                if place := places.raw_of(corpus, row):
                    raw[f"{place.path}, row {place.row}" if place.row else str(place.path)] = None
    return Seen(corpus, held, list(raw))


def _document(row: Mapping[str, Any]) -> Document:
    return Document(str(row["id"]), str(row["text"]), str(row["source"]), str(row["title"]), str(row["url"]))


def _tell(seen: Sequence[Seen], searched: Sequence[Path], damaged: Sequence[str]) -> None:
    for one in seen:
        total = sum(map(len, one.files.values()))
        sizes = ", ".join(f"{len(ids):,} in {file}" for file, ids in one.files.items()) or "none"
        print(f"{shown(one.corpus.folder)} ({one.corpus.content[:12]}): {total:,} documents ({sizes})")
        _list((f"{name}  {file}" for file, names in one.files.items() for name in names), total)
        if one.raw:
            print("  read from, and still to be removed there if they are to go for good:")
            _list(one.raw, len(one.raw))
    users = {str(use.result.folder): use for one in seen for use in downstream.flat(one.users)}
    counts = Counter(use.kind for use in users.values())
    print(f"seen by {counts['checkpoint']:,} checkpoints, {counts['data']:,} data sets, {counts['report']:,} reports "
          f"(searched: {', '.join(map(str, searched))})")  # fmt: skip
    for use in users.values():
        doubt = "" if use.held.sure else "  (may hold them: it keeps no document ids)"
        where = f"  {use.held.where}" if use.held.where and use.held.sure else ""
        print(f"  {use.kind}: {shown(use.result.folder)} ({use.result.content[:12]})  {use.result.stage}{where}{doubt}")
    for said in damaged:
        print(f"  not looked at: {said}")


def _list(lines: Iterable[str], total: int) -> None:
    for number, line in enumerate(lines):
        if number == MOST:
            print(f"    and {total - MOST:,} more")
            return
        print(f"    {line}")


def _write(file: Path, block: Forgotten, entries: Sequence[Entry], corpus: Manifest, *, dry_run: bool) -> None:
    fresh = [entry for entry in entries if not block.holds(entry)]
    if dry_run:
        print(f"nothing written (--dry-run); {len(fresh)} entries would be added to {file}")
        return
    if fresh:
        block.with_entries(fresh).save(file)
    print(f"{file}: {len(fresh)} entries added, {len(block.entries) + len(fresh)} in all" if fresh
          else f"{file}: already has this")  # fmt: skip
    if corpus.recipe.get("forget") is None:
        print(f"write `forget: {file}` in the corpus recipe, then run it again, and what was made of it")
    else:
        print("run the corpus recipe again, and what was made of it; results listed above stay as they are until then")
