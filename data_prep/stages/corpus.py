"""`stage: corpus`: raw files -> clean, deduplicated, decontaminated text, split into train, validation and test.

Order: read, repair (encoding, Unicode, white space, boilerplate lines), judge (length, language, quality, repetition,
topic), redact personal data, remove documents that hold evaluation questions, remove exact and near duplicates, split.
Duplicates come after questions: of two copies of which one holds a question, the clean one must be left, whichever is
the better copy otherwise. Every document that goes is counted with its reason.

Into `output_dir`: `train.jsonl`, `validation.jsonl`, `test.jsonl` (Document rows); `dropped.jsonl` (Document rows with
`step`, `reason`, `detail`); `unreadable.jsonl` (files and rows that no document came from); `contamination.jsonl` (each
evaluation question found, with both texts); `funnel.json` and `report.html`.

Left out: documents are held in memory; mixtures and tokenising.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

from data_prep import filters
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

if TYPE_CHECKING:
    Filters = Section
    from data_prep.dedup import Found
    from data_prep.funnel import Funnel
    from data_prep.readers import Skipped
    from data_prep.records import Document
else:
    # One optional section for each file in data_prep/filters.
    Filters = create_model(
        "Filters",
        __base__=Section,
        **{name: (module.Settings | None, None) for name, module in filters.modules().items()},
    )


class Input(Section):
    """A file, or a folder with all files below it."""

    path: InputPath
    name: str = Field(
        default="", description="Stands for the path in ids and sources; by default the path's last part."
    )
    license: str = Field(default="", description="For documents that do not name their own.")


class Deduplicate(Section):
    """Near-duplicates by the Jaccard index of word shingles; exact copies are always removed."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    shingle: int = Field(default=5, ge=1, description="Words in a shingle.")
    permutations: int = Field(default=128, ge=16, le=1024, description="Length of a MinHash signature.")


class Split(Section):
    """Shares of the near-duplicate clusters that are held back."""

    validation: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.05, ge=0, lt=1)


class Recipe(StageRecipe):
    """What to read, how to clean it, what to keep out."""

    stage: Literal["corpus"] = "corpus"
    inputs: list[Input] = Field(min_length=1)
    strict: bool = Field(default=False, description="Stop at the first file or row that cannot be read.")
    filters: Filters = Field(default_factory=Filters)
    deduplicate: Deduplicate | None = Deduplicate()
    decontaminate: list[InputPath] = Field(
        default_factory=list, description="Evaluation files (JSON lines) or folders."
    )
    decontaminate_ngram: int = Field(default=13, ge=5, description="Words in a run that gives a question away.")
    split: Split = Split()

    def faults(self) -> list[Fault]:
        """Refuse splits that leave nothing to train on, and inputs that cannot be told apart."""
        found = []
        if self.split.validation + self.split.test >= 1:
            held_back = f"validation {self.split.validation:g} and test {self.split.test:g} leave nothing to train on"
            found.append(Fault(("split",), held_back, "shares that add up to less than 1"))
        names = Counter(_name(item) for item in self.inputs)
        for index, item in enumerate(self.inputs):
            if names[_name(item)] > 1:
                what = f"{names[_name(item)]} inputs are called {_name(item)}"
                found.append(Fault(("inputs", index), what, "a `name` of its own for each"))
        return found


def run(recipe: Recipe) -> None:
    """Write the corpus."""
    from data_prep.funnel import Funnel
    from data_prep.records import writer
    from recipes import artifact

    with artifact.writing(recipe) as work:
        with writer(work.path / "dropped.jsonl") as write_dropped:
            funnel = Funnel(write_dropped)
            skipped: list[Skipped] = []
            documents = funnel.read(_read(recipe, skipped))
            if not documents:
                raise _nothing_read(recipe, skipped)
            for name, make in filters.chain(dict(recipe.filters)):
                documents = funnel.step(name, documents, make(documents))
            documents, hits, evaluation = _decontaminated(recipe, funnel, documents)
            documents, clusters, alike = _deduplicated(recipe, funnel, documents)
        sides = _split(recipe, documents, clusters)
        if not sides["train"]:
            raise _nothing_left(funnel)
        summary = _summary(funnel, sides, skipped, alike, hits, evaluation)
        _write(work.path, sides, skipped, hits, summary)
        work.metrics.update(_metrics(summary))
        print(funnel.table())
        print(", ".join(f"{side} {len(rows):,}" for side, rows in sides.items()) + f"; {len(skipped)} not readable")


def _name(item: Input) -> str:
    return item.name or Path(item.path).resolve().name


def _read(recipe: Recipe, skipped: list[Skipped]) -> Iterator[Document]:
    """Yield the documents of all inputs; what cannot be read is noted, or stops the stage."""
    from data_prep import readers

    for item in recipe.inputs:
        for found in readers.read(shipped(item.path), _name(item), item.license):
            if not isinstance(found, readers.Skipped):
                yield found
            elif recipe.strict:
                where = f"{item.path}/{found.path}" + (f":{found.row}" if found.row else "")
                raise UserError(where, found.reason, "repair or remove it, or write strict: false")
            else:
                skipped.append(found)


def _deduplicated(
    recipe: Recipe, funnel: Funnel, documents: list[Document]
) -> tuple[list[Document], dict[str, str], list[dict[str, Any]]]:
    """Return the documents without copies, the cluster of each, and a few pairs to show."""
    from data_prep import dedup
    from data_prep.filters import Drop

    settings = recipe.deduplicate
    if settings is None:
        return documents, {}, []
    found = dedup.find(
        [document.text for document in documents],
        settings.threshold,
        shingle=settings.shingle,
        permutations=settings.permutations,
    )
    index = {document.id: position for position, document in enumerate(documents)}

    def check(document: Document) -> Drop | None:
        twin = found.twins.get(index[document.id])
        if not twin:
            return None
        reason = "exact_duplicate" if twin.exact else "near_duplicate"
        return Drop(reason, f"{documents[twin.kept].id} is {twin.likeness:.2f} alike")

    clusters = {document.id: documents[root].id for document, root in zip(documents, found.cluster, strict=True)}
    alike = _pairs(documents, found)
    return funnel.step("deduplicate", documents, check), clusters, alike


def _pairs(documents: list[Document], found: Found, shown: int = 5) -> list[dict[str, Any]]:
    """Return the near-duplicates that are least alike: the ones to look at when the threshold is in doubt."""
    near = sorted((twin.likeness, index) for index, twin in found.twins.items() if not twin.exact)
    return [
        {"likeness": round(likeness, 3), "dropped": _excerpt(documents[index]),
         "kept": _excerpt(documents[found.twins[index].kept])}
        for likeness, index in near[:shown]
    ]  # fmt: skip


def _excerpt(document: Document) -> dict[str, str]:
    return {"id": document.id, "text": document.text[:400]}


def _decontaminated(
    recipe: Recipe, funnel: Funnel, documents: list[Document]
) -> tuple[list[Document], list[dict[str, Any]], dict[str, int]]:
    """Return the documents without evaluation questions, each hit with both texts, and what was searched for."""
    from data_prep import decontaminate
    from data_prep.filters import Drop

    if not recipe.decontaminate:
        return documents, [], {}
    questions = decontaminate.index([shipped(path) for path in recipe.decontaminate], recipe.decontaminate_ngram)
    listed: list[dict[str, Any]] = []

    def check(document: Document) -> Drop | None:
        hits = questions.hits(document.text)
        for hit in hits:
            place = f"{hit.item.file}:{hit.item.line}"
            listed.append({"document": document.id, "excerpt": hit.excerpt, "shared": hit.shared,
                           "evaluation": place, "question": hit.item.text})  # fmt: skip
        return Drop("contaminated", f"{len(hits)} evaluation questions, such as {place}") if hits else None

    counts = {"questions": questions.items, "too_short_to_search_for": questions.too_short}
    return funnel.step("decontaminate", documents, check), listed, counts


def _split(recipe: Recipe, documents: list[Document], clusters: dict[str, str]) -> dict[str, list[Document]]:
    from data_prep import split

    sides: dict[str, list[Document]] = {side: [] for side in split.SIDES}
    for document in documents:
        cluster = clusters.get(document.id, document.id)
        shares = recipe.split.model_dump()
        sides[split.side(cluster, **shares, seed=recipe.seed)].append(document)
    return sides


def _summary(
    funnel: Funnel,
    sides: dict[str, list[Document]],
    skipped: list[Skipped],
    alike: list[dict[str, Any]],
    hits: list[dict[str, Any]],
    evaluation: dict[str, int],
) -> dict[str, Any]:
    """Return everything that funnel.json and the report say."""
    kept = [document for rows in sides.values() for document in rows]
    redacted: Counter[str] = Counter()
    for document in kept:
        redacted.update(document.meta.get("redacted", {}))
    return {
        "steps": [step.row() for step in funnel.steps],
        "reasons": dict(sorted(funnel.reasons().items())),
        "unreadable": dict(sorted(Counter(item.reason for item in skipped).items())),
        "sides": {side: _size(rows) for side, rows in sides.items()},
        "sources": {source: _size(rows) for source, rows in _by_source(kept).items()},
        "languages": dict(sorted(Counter(document.meta.get("language", "not asked") for document in kept).items())),
        "licenses": dict(sorted(Counter(document.license or "not stated" for document in kept).items())),
        "redacted": dict(sorted(redacted.items())),
        "lengths": [len(document.text.split()) for document in kept],
        "alike": alike,
        "contamination": {**evaluation, "found": len(hits), "shown": hits[:20]},
    }


def _by_source(documents: list[Document]) -> dict[str, list[Document]]:
    sources: dict[str, list[Document]] = {}
    for document in documents:
        sources.setdefault(document.source, []).append(document)
    return dict(sorted(sources.items()))


def _size(documents: list[Document]) -> dict[str, int]:
    return {
        "documents": len(documents),
        "words": sum(len(document.text.split()) for document in documents),
        "bytes": sum(len(document.text.encode("utf-8", "replace")) for document in documents),
    }


def _write(
    folder: Path,
    sides: dict[str, list[Document]],
    skipped: list[Skipped],
    hits: list[dict[str, Any]],
    summary: dict[str, Any],
) -> None:
    from data_prep import report
    from data_prep.records import write_rows

    for side, rows in sides.items():
        write_rows(folder / f"{side}.jsonl", rows)
    write_rows(folder / "unreadable.jsonl", skipped)
    write_rows(folder / "contamination.jsonl", hits)
    counted = {key: value for key, value in summary.items() if key != "lengths"}
    # Half a surrogate pair, from JSON or from a file's name, cannot be written as UTF-8.
    said = json.dumps(counted, ensure_ascii=False, indent=1) + "\n"
    (folder / "funnel.json").write_text(said, encoding="utf-8", errors="replace")
    (folder / "report.html").write_text(report.page(summary), encoding="utf-8", errors="replace")


def _metrics(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        "documents_read": summary["steps"][0]["documents_out"],
        "documents_kept": sum(side["documents"] for side in summary["sides"].values()),
        "unreadable": sum(summary["unreadable"].values()),
        "dropped": summary["reasons"],
        "redacted": summary["redacted"],
        "evaluation_questions_found": summary["contamination"]["found"],
        "sides": summary["sides"],
    }


def _nothing_read(recipe: Recipe, skipped: list[Skipped]) -> UserError:
    where = ", ".join(item.path for item in recipe.inputs)
    seen = Counter(item.reason for item in skipped).most_common(3)
    what = "; ".join(f"{count} x {reason}" for reason, count in seen) or "no file in it"
    return UserError(
        where, f"not one document could be read ({what})", "a path with text, Markdown, HTML, PDF or JSONL files"
    )


def _nothing_left(funnel: Funnel) -> UserError:
    top = ", ".join(f"{reason} {count}" for reason, count in funnel.reasons().most_common(3)) or "all held back"
    return UserError("filters", f"no document is left to train on ({top})", "weaker filters or a smaller split")
