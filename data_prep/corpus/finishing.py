"""The last pass: documents and paragraphs that are copies go, the others are put on their side and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from data_prep import shingles, split
from data_prep.corpus import duplicates
from data_prep.corpus.passes import append, read, recipe_of, row_of
from data_prep.corpus.plan import Shard
from data_prep.corpus.sketches import Sketches
from data_prep.engine.phases import Result, replacing
from data_prep.filters import Check, Drop
from data_prep.funnel import Funnel
from data_prep.governance.tally import Tally
from data_prep.records import Document

BREAK = "\n\n"


@dataclass(frozen=True)
class Last:
    """What the last pass needs; `marks` and `paragraph_marks` are folders of the searches, where there were any."""

    recipe: str
    folder: str
    source: str
    marks: str = ""
    paragraph_marks: str = ""
    together: tuple[tuple[str, str], ...] = ()


def sketch_paragraphs(work: Last, shard: Shard) -> Result:
    """Sketch the longer paragraphs of the documents that are left of a shard."""
    recipe = recipe_of(work.recipe)
    settings = recipe.deduplicate and recipe.deduplicate.paragraphs
    assert settings and recipe.deduplicate
    bands, rows = settings.banding(recipe.deduplicate.permutations)
    sketches = Sketches(shard.number, shingle=recipe.deduplicate.shingle, bands=bands, rows=rows)
    drops = duplicates.marks_of(Path(work.marks), shard.number).drops
    for number, document in enumerate(read(Path(work.source, f"{shard.name}.jsonl"))):
        if str(number) not in drops:
            for paragraph in document.text.split(BREAK):
                if is_long(paragraph, settings.min_words):
                    sketches.add(paragraph, document.id, document.source)
    sketches.save(Path(work.folder, shard.name))
    return {}


def is_long(paragraph: str, min_words: int) -> bool:
    """Tell whether a paragraph is long enough to be looked for elsewhere."""
    return len(paragraph) >= 2 * min_words and len(shingles.words(paragraph)) >= min_words


def finish(work: Last, shard: Shard) -> Result:
    """Write a shard's documents, side by side, and what the last steps dropped."""
    recipe = recipe_of(work.recipe)
    base = Path(work.folder, shard.name)
    found = duplicates.marks_of(Path(work.marks), shard.number) if work.marks else duplicates.Marks()
    group = duplicates.source_groups(work.together)
    tallies = {side: Tally() for side in split.SIDES}
    copies = _Copies(found)
    with ExitStack() as stack:
        files = {name: stack.enter_context(replacing(base.with_name(f"{base.name}.{name}.jsonl")))
                 for name in (*split.SIDES, "dropped")}  # fmt: skip
        chain: list[tuple[str, Check]] = [("deduplicate", copies.check)] if recipe.deduplicate else []
        if work.paragraph_marks:
            chain.append(("duplicate_paragraphs", _paragraphs(work, shard)))
        funnel = Funnel(chain, lambda row: append(files["dropped"], row))
        for number, document in enumerate(read(Path(work.source, f"{shard.name}.jsonl"))):
            copies.number = number
            if funnel.keeps(document):
                cluster = found.roots.get(str(number), document.id)
                key = group(document.source) if recipe.split.by == "source" else cluster
                side = split.side(key, validation=recipe.split.validation, test=recipe.split.test, seed=recipe.seed)
                append(files[side], row_of(document))
                tallies[side].see(document)
    return {"steps": funnel.rows(), "tallies": {side: tally.row() for side, tally in tallies.items()},
            "documents": {side: tally.documents for side, tally in tallies.items()}}  # fmt: skip


class _Copies:
    """Drops the documents that the search has marked; `number` is that of the document at hand in its shard."""

    def __init__(self, marks: duplicates.Marks) -> None:
        self._drops = marks.drops
        self.number = 0

    def check(self, document: Document) -> Drop | None:
        """Return why the document at hand goes, if it does."""
        mark = self._drops.get(str(self.number))
        if mark is None:
            return None
        kept, likeness, copy = mark
        return Drop("exact_duplicate" if copy else "near_duplicate", f"{kept} is {likeness:.2f} alike")


def _paragraphs(work: Last, shard: Shard) -> Check:
    """Return a check that takes away paragraphs that stand elsewhere, and documents of which nothing is left."""
    recipe = recipe_of(work.recipe)
    assert recipe.deduplicate and recipe.deduplicate.paragraphs
    min_words = recipe.deduplicate.paragraphs.min_words
    drops = duplicates.marks_of(Path(work.paragraph_marks), shard.number).drops
    numbers = iter(range(2**62))

    def check(document: Document) -> Drop | None:
        paragraphs = document.text.split(BREAK)
        kept = [one for one in paragraphs if not (is_long(one, min_words) and str(next(numbers)) in drops)]
        if len(kept) == len(paragraphs):
            return None
        document.meta["duplicate_paragraphs"] = len(paragraphs) - len(kept)
        document.text = BREAK.join(kept).strip()
        return None if document.text else Drop("duplicate_paragraphs", "every paragraph stands in other documents")

    return check


def join(target: str, parts: Sequence[str]) -> Result:
    """Write the parts' bytes one after the other."""
    import shutil

    with replacing(Path(target)) as stream:
        for part in parts:
            with open(part, "rb") as source:
                shutil.copyfileobj(source, stream, 2**22)
    return {"bytes": Path(target).stat().st_size}


def excerpts(source: Path, items: Sequence[int], length: int = 400) -> dict[int, dict[str, str]]:
    """Return id and beginning of documents, named by their item numbers."""
    from data_prep.corpus.sketches import SHARD_BITS

    found = {}
    for shard in sorted({item >> SHARD_BITS for item in items}):
        wanted = {item & (2**SHARD_BITS - 1): item for item in items if item >> SHARD_BITS == shard}
        for number, document in _until(read(source / f"{shard:05d}.jsonl"), max(wanted)):
            if number in wanted:
                found[wanted[number]] = {"id": document.id, "text": document.text[:length]}
    return found


def _until(documents: Iterator[Document], last: int) -> Iterator[tuple[int, Document]]:
    for number, document in enumerate(documents):
        yield number, document
        if number == last:
            return
