"""One pass over one shard: documents in, through a part of the chain of filters, documents out, and what was learnt.

The chain is cut where a filter must see the whole corpus first: a pass ends with that filter's survey, the next one
begins with its check. The last pass before the search for duplicates ends with their sketches. A pass writes

- `<shard>.jsonl`: the documents that are left (Document rows);
- `<shard>.dropped.jsonl`, `<shard>.unreadable.jsonl`, `<shard>.hits.jsonl`: what is not, and why;
- `<shard>.<survey>`: what the survey saved.

Its result has the funnel's rows.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from data_prep import filters
from data_prep.corpus.plan import Shard, units_in
from data_prep.engine.phases import Result, replacing
from data_prep.filters import Check, Survey
from data_prep.funnel import Funnel
from data_prep.records import Document, parse_line, to_line
from recipes.errors import UserError

if TYPE_CHECKING:
    from data_prep.readers import Skipped
    from data_prep.stages.corpus import Recipe

SOURCES = 1_000  # of a shard that are counted by name
DECONTAMINATE, FORGET, SKETCH = "decontaminate", "forget", "sketch"


@dataclass(frozen=True)
class Pass:
    """What one pass does; small and picklable, the same for all shards.

    `steps` are the names in this part of the chain, `models` the files of those that have seen the corpus, `survey`
    the filter (or `SKETCH`) that looks at what is left.
    """

    recipe: str
    folder: str
    source: str = ""  # the former pass's folder; "" reads the inputs
    steps: tuple[str, ...] = ()
    models: tuple[tuple[str, tuple[str, ...]], ...] = ()
    survey: str = ""
    index: str = ""  # of evaluation questions


def run(work: Pass, shard: Shard) -> Result:
    """Take a shard through a pass."""
    recipe = recipe_of(work.recipe)
    base = Path(work.folder, shard.name)
    skipped: list[dict[str, Any]] = []
    hits: list[dict[str, Any]] = []
    sources: Counter[str] = Counter()
    documents = _read(recipe, shard, skipped) if not work.source else read(Path(work.source, f"{shard.name}.jsonl"))
    survey = _survey(work, recipe, shard)
    with _writing(base, ".jsonl") as keep, _writing(base, ".dropped.jsonl") as drop:
        funnel = Funnel([(name, _check(work, recipe, name, hits)) for name in work.steps], drop)
        for document in documents:
            if not work.source:
                sources[document.source] += 1
            if funnel.keeps(document):
                keep(row_of(document))
                if survey:
                    survey.see(document)
    for ending, rows in ((".unreadable.jsonl", skipped), (".hits.jsonl", hits)):
        with _writing(base, ending) as put:
            for row in rows:
                put(row)
    if survey:
        survey.save(survey_file(work, shard))
    # Where each document names a source of its own, the rare ones are not told apart.
    named = dict(sorted(sources.most_common(SOURCES)))
    return {"steps": funnel.rows(), "unreadable": _reasons(skipped), "hits": len(hits), "sources": named}


def survey_file(work: Pass, shard: Shard) -> Path:
    """Return where a pass's survey of a shard is saved."""
    return Path(work.folder, f"{shard.name}.{work.survey}" + ("" if work.survey == SKETCH else ".npy"))


def look(work: Pass, shard: Shard) -> Result:
    """Only survey the documents of a former pass: the second and later rounds of a filter."""
    survey = _survey(work, recipe_of(work.recipe), shard)
    assert survey is not None
    for document in read(Path(work.source, f"{shard.name}.jsonl")):
        survey.see(document)
    survey.save(survey_file(work, shard))
    return {}


def model(work: Pass, parts: Sequence[str], target: str) -> Result:
    """Make a filter's model of what was saved of all shards."""
    settings = getattr(recipe_of(work.recipe).filters, work.survey)
    filters.modules()[work.survey].reduce(settings, [Path(part) for part in parts], Path(target))
    return {}


@lru_cache(maxsize=2)
def recipe_of(text: str) -> Recipe:
    """Return the recipe that a pass carries as JSON."""
    from data_prep.stages.corpus import Recipe

    return Recipe.model_validate_json(text)


def _check(work: Pass, recipe: Recipe, name: str, hits: list[dict[str, Any]]) -> Check:
    if name == FORGET:
        from data_prep.governance import forgetting

        return forgetting.load(Path(recipe.forget or "")).check
    if name == DECONTAMINATE:
        from data_prep import decontaminate

        check: Check = decontaminate.check(_questions(work.index), hits)
        return check
    models = dict(work.models).get(name, ())
    settings = getattr(recipe.filters, name)
    built: Check = filters.modules()[name].build(settings, *(Path(one) for one in models))
    return built


@lru_cache(maxsize=1)
def _questions(path: str) -> Any:
    from data_prep import decontaminate

    return decontaminate.load(Path(path))


def _survey(work: Pass, recipe: Recipe, shard: Shard) -> Survey | None:
    if not work.survey:
        return None
    if work.survey == SKETCH:
        return DocumentSketches(recipe, shard.number)
    models = [Path(one) for one in dict(work.models).get(work.survey, ())]
    survey: Survey = filters.modules()[work.survey].survey(getattr(recipe.filters, work.survey), *models)
    return survey


class DocumentSketches:
    """Sketches of whole documents."""

    def __init__(self, recipe: Recipe, shard: int) -> None:
        from data_prep.corpus.sketches import Sketches

        assert recipe.deduplicate is not None
        bands, rows = recipe.deduplicate.banding()
        self._sketches = Sketches(shard, shingle=recipe.deduplicate.shingle, bands=bands, rows=rows)

    def see(self, document: Document) -> None:
        """Sketch a document."""
        self._sketches.add(document.text, document.id, document.source)

    def save(self, path: Path) -> None:
        """Write the sketches."""
        self._sketches.save(path)


def _read(recipe: Recipe, shard: Shard, skipped: list[dict[str, Any]]) -> Iterator[Document]:
    """Yield the documents of a shard's files; what cannot be read is noted, or stops the stage."""
    from data_prep.inputs import documents_of
    from data_prep.readers import Skipped

    item = recipe.inputs[shard.input]
    for unit in units_in(shard):
        for found in documents_of(item, unit):
            if not isinstance(found, Skipped):
                yield found
            elif recipe.strict:
                raise _refused(item.place(), found)
            else:
                skipped.append({"path": found.path, "reason": found.reason, "row": found.row})


def _refused(root: str, found: Skipped) -> UserError:
    where = f"{root}/{found.path}" + (f":{found.row}" if found.row else "")
    error = UserError(where, found.reason, "repair or remove it, or write strict: false")
    error.code = 1
    return error


def _reasons(skipped: Iterable[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["reason"] for row in skipped))


def read(path: Path) -> Iterator[Document]:
    """Yield the documents that a pass wrote."""
    with path.open("rb") as stream:
        for line in stream:
            yield Document(**parse_line(line))


def row_of(document: Document) -> dict[str, Any]:
    """Return a document as a row; its `meta` is not copied."""
    return {
        "id": document.id, "text": document.text, "source": document.source, "title": document.title,
        "url": document.url, "license": document.license, "meta": document.meta,
    }  # fmt: skip


@contextlib.contextmanager
def _writing(base: Path, ending: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    with replacing(base.with_name(base.name + ending)) as stream:
        yield lambda row: append(stream, row)


def append(stream: IO[bytes], row: dict[str, Any]) -> None:
    """Write a row as one line; half a surrogate pair, from JSON or a file's name, becomes a question mark."""
    stream.write(to_line(row).encode("utf-8", errors="replace") + b"\n")
