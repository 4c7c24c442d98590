"""The corpus from its inputs: which pass comes after which, and what the whole says in the end."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import filters, funnel, split
from data_prep.corpus import duplicates, finishing, passes, plan
from data_prep.corpus.passes import DECONTAMINATE, FORGET, SKETCH, Pass
from data_prep.corpus.plan import Shard
from data_prep.engine import phases as engine
from data_prep.engine import workers
from data_prep.engine.phases import Phases, Result, Task
from data_prep.engine.progress import Progress
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    from data_prep.governance.tally import Tally
    from data_prep.stages.corpus import Recipe
    from recipes.artifact import Work

DOCUMENTS = ".jsonl"
SIZE = ("documents", "words", "bytes")


def make(recipe: Recipe, work: Work) -> None:
    """Write the corpus into a work folder."""
    started = time.monotonic()
    scratch = work.scratch / "corpus"
    shards = plan.make(recipe.inputs, work.scratch / "plan", recipe.engine.shard_bytes)
    engine.begin(scratch, plan.layout(shards))
    with workers.opened(recipe.engine.workers, recipe.engine.scheduler, scratch) as crew:
        making = Making(recipe, work, shards, Phases(scratch, crew, Progress()))
        with _whole(work):
            making.make()
        making.summary["engine"] = {
            "workers": crew.count, "shards": len(shards), "bytes_read": sum(shard.size for shard in shards),
            "seconds": round(time.monotonic() - started, 1), "tasks_kept_from_before": making.phases.skipped,
        }  # fmt: skip
    making.publish()


@contextlib.contextmanager
def _whole(work: Work) -> Iterator[None]:
    """Say what to do when something of an interrupted run is gone that its marks count on."""
    try:
        yield
    except FileNotFoundError as error:
        lost = Path(str(error.filename))
        if not lost.is_relative_to(work.scratch):
            raise
        raise UserError(
            str(lost), "this file of an interrupted run is gone",
            f"remove {work.path}, then the same command again: it starts from the beginning",
        ) from error  # fmt: skip


class Making:
    """The passes over one corpus, in order; `summary` is what funnel.json and the report say."""

    def __init__(self, recipe: Recipe, work: Work, shards: Sequence[Shard], phases: Phases) -> None:
        self.recipe = recipe
        self.work = work
        self.shards = shards
        self.phases = phases
        self.steps: list[funnel.Step] = []
        self.summary: dict[str, Any] = {}
        self.read: Counter[str] = Counter()  # documents by source
        self._folders: list[Path] = []  # of the passes so far
        self._text = recipe.model_dump_json()
        self._size = sum(shard.size for shard in shards)

    def make(self) -> None:
        """Run all passes."""
        unreadable = self._filtered()
        if not self.steps or not self.steps[0].documents_out:
            raise _nothing_read(self.recipe, unreadable)
        self.summary["unreadable"] = dict(sorted(unreadable.items()))
        found = self._duplicates()
        sides = self._finished(found)
        if not sides["train"]:
            raise _nothing_left(self.steps)

    # --- filters

    def _filtered(self) -> Counter[str]:
        """Run the chain of filters, pass by pass; return how many files and rows could not be read, by reason."""
        unreadable: Counter[str] = Counter()
        models: dict[str, tuple[str, ...]] = {}
        index = self._questions()
        for number, (steps, survey) in enumerate(_parts(self.recipe)):
            folder = self.phases.folder / f"pass-{number}"
            work = Pass(self._text, str(folder), str(self._folders[-1]) if self._folders else "", steps,
                        tuple(models.items()), survey, index)  # fmt: skip
            results = self._each(f"pass-{number}", passes.run, work, ", ".join(steps[:3]) or "reading")
            rows = funnel.summed(result["steps"] for result in results)
            self.steps += rows if number == 0 else rows[1:]
            for result in results:
                unreadable.update(result["unreadable"])
                self.read.update(result["sources"])
            if survey and survey != SKETCH:
                models[survey] = self._models(work)
            self._forget_documents()
            self._folders.append(folder)
        return unreadable

    def _each(self, name: str, function: Any, work: Any, title: str) -> list[Result]:
        tasks = [Task(shard.name, function, (work, shard), shard.size) for shard in self.shards]
        return self.phases.run(name, tasks, title)

    def _models(self, work: Pass) -> tuple[str, ...]:
        """Make the models of a filter that must see the whole corpus, after the pass that ended with its survey."""
        made: list[str] = []
        for number in range(filters.surveys(work.survey)):
            name = f"{work.survey}-{number}"
            if number:
                again = replace(work, source=work.folder, folder=str(self.phases.folder / name),
                                models=(*work.models, (work.survey, tuple(made))))  # fmt: skip
                self._each(f"{name}-look", passes.look, again, f"{work.survey}: looking")
            else:
                again = work
            parts = tuple(str(passes.survey_file(again, shard)) for shard in self.shards)
            target = str(self.phases.folder / "models" / f"{name}.npy")
            self.phases.run(
                f"{name}-model", [Task("all", passes.model, (work, parts, target))], f"{work.survey}: model"
            )
            made.append(target)
        return tuple(made)

    def _forget_documents(self) -> None:
        """Remove the documents of the pass before the last one: its successor is finished."""
        if self._folders:
            for shard in self.shards:
                (self._folders[-1] / f"{shard.name}{DOCUMENTS}").unlink(missing_ok=True)

    def _questions(self) -> str:
        """Build the index of evaluation questions; return its file."""
        from data_prep import decontaminate

        recipe = self.recipe
        if not recipe.decontaminate:
            self.summary["contamination"] = {"found": 0, "shown": []}
            return ""
        questions = decontaminate.index(
            [shipped(path) for path in recipe.decontaminate],
            recipe.decontaminate_ngram,
            likeness=recipe.decontaminate_likeness,
            columns=recipe.decontaminate_columns,
        )
        target = self.phases.folder / "questions.pickle"
        decontaminate.save(questions, target)
        self.summary["contamination"] = {"questions": questions.items, "too_short_to_search_for": questions.too_short}
        return str(target)

    # --- duplicates

    def _duplicates(self) -> finishing.Last:
        """Search for copies among documents, then among paragraphs; return what the last pass needs."""
        source, settings = self._folders[-1], self.recipe.deduplicate
        last = finishing.Last(self._text, str(self.phases.folder / "last"), str(source))
        self.summary["duplicates"], self.summary["alike"] = {}, []
        if settings is None:
            return last
        counts = self._search("duplicates", source, SKETCH, settings.threshold)
        last = replace(last, marks=str(self.phases.folder / "duplicates"),
                       together=tuple((a, b) for a, b in counts["together"]))  # fmt: skip
        shown = {item for _, *items in counts["shown"] for item in items}
        texts = finishing.excerpts(source, sorted(shown))
        self.summary["alike"] = [
            {"likeness": likeness, "dropped": texts[dropped], "kept": texts[kept]}
            for likeness, dropped, kept in counts["shown"]
        ]
        said = {name: counts[name] for name in ("exact", "near", "clusters", "largest")}
        if settings.paragraphs:
            folder = self.phases.folder / "paragraphs"
            work = replace(last, folder=str(folder))
            self._each("paragraphs", finishing.sketch_paragraphs, work, "duplicate paragraphs: reading")
            found = self._search("duplicate_paragraphs", folder, "", settings.paragraphs.threshold)
            last = replace(last, paragraph_marks=str(self.phases.folder / "duplicate_paragraphs"))
            said["paragraphs"] = {name: found[name] for name in ("exact", "near", "clusters")}
        self.summary["duplicates"] = said
        return last

    def _search(self, name: str, source: Path, ending: str, threshold: float) -> Result:
        assert self.recipe.deduplicate
        ending = f".{ending}" if ending else ""
        beginnings = tuple(str(source / f"{shard.name}{ending}") for shard in self.shards)
        keep = self.recipe.deduplicate.keep if name == "duplicates" else "first"
        search = duplicates.Search(beginnings, str(self.phases.folder / name), threshold, keep)
        return duplicates.find(search, self.phases, name, self._size)

    # --- the end

    def _finished(self, last: finishing.Last) -> dict[str, int]:
        """Run the last pass and put all files together; return the number of documents on each side."""
        results = self._each("last", finishing.finish, last, "splitting")
        self.steps += funnel.summed(result["steps"] for result in results)[1:]
        self._tallied(results)
        targets = [*((side, [Path(last.folder)], f".{side}.jsonl") for side in split.SIDES),
                   ("dropped", [*self._folders, Path(last.folder)], ".dropped.jsonl"),
                   ("unreadable", self._folders[:1], ".unreadable.jsonl"),
                   ("contamination", self._folders, ".hits.jsonl")]  # fmt: skip
        tasks = []
        for name, folders, ending in targets:
            parts = tuple(str(folder / f"{shard.name}{ending}") for folder in folders for shard in self.shards)
            target = str(self.work.path / f"{name}.jsonl")
            tasks.append(Task(name, finishing.join, (target, parts), makes=target))
        self.phases.run("join", tasks, "writing")
        return {side: self.summary["sides"][side]["documents"] for side in split.SIDES}

    def _tallied(self, results: Sequence[Result]) -> None:
        from data_prep.governance.tally import Tally

        tallies = {side: Tally() for side in split.SIDES}
        for result in results:
            for side, tally in tallies.items():
                tally.merge(Tally.from_row(result["tallies"][side]))
        self.summary["tally"] = {side: tally.row() for side, tally in tallies.items()}
        self.summary["sides"] = {side: _sizes(tally) for side, tally in tallies.items()}
        whole = Tally()
        for tally in tallies.values():
            whole.merge(tally)
        kept = {name: dict(zip(SIZE, size, strict=True)) for name, size in sorted(whole.by["source"].named.items())}
        self.summary["sources"] = {
            name: {**kept.get(name, dict.fromkeys(SIZE, 0)), "read": self.read.get(name, 0)}
            for name in sorted({*kept, *self.read})
        }
        self.summary["languages"] = {name: size[0] for name, size in sorted(whole.by["language"].named.items())}
        self.summary["licenses"] = {name: size[0] for name, size in sorted(whole.by["license"].named.items())}
        self.summary["lengths"] = whole.row()["lengths"]
        self.summary["redacted"] = dict(sorted(whole.redacted.items()))

    def publish(self) -> None:
        """Write what the whole says: counts, report, data card; print the funnel."""
        from data_prep import report
        from data_prep.governance import card

        summary, folder = self.summary, self.work.path
        summary["steps"] = [step.row() for step in self.steps]
        summary["reasons"] = dict(sorted(funnel.reasons(self.steps).items()))
        shown = list(_first_rows(folder / "contamination.jsonl", 20))
        summary["contamination"] |= {"found": _lines(folder / "contamination.jsonl"), "shown": shown}
        counted = {key: value for key, value in summary.items() if key != "engine"}
        # Half a surrogate pair, from JSON or from a file's name, cannot be written as UTF-8.
        for name, text in (
            ("funnel.json", json.dumps(counted, ensure_ascii=False, indent=1) + "\n"),
            ("report.html", report.page(summary)),
            ("README.md", card.page(counted, self.recipe.model_dump(mode="json", exclude={"engine", "output_dir"}))),
        ):
            (folder / name).write_text(text, encoding="utf-8", errors="replace")
        self.work.volatile.add("report.html")
        self.work.metrics.update(_metrics(summary))
        print(funnel.table(self.steps))
        sides = ", ".join(f"{side} {size['documents']:,}" for side, size in summary["sides"].items())
        print(f"{sides}; {sum(summary['unreadable'].values())} not readable")


def _parts(recipe: Recipe) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the chain of steps cut into passes, each with the survey that it ends with."""
    steps: list[str] = [FORGET] if recipe.forget else []
    for name in filters.chosen(recipe.filters):
        if filters.surveys(name):
            yield tuple(steps), name
            steps = []
        steps.append(name)
    if recipe.decontaminate:
        steps.append(DECONTAMINATE)
    yield tuple(steps), SKETCH if recipe.deduplicate else ""


def _sizes(tally: Tally) -> dict[str, int]:
    return {"documents": tally.documents, "words": tally.words, "bytes": tally.bytes}


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


def _first_rows(path: Path, count: int) -> Iterator[Any]:
    with path.open("rb") as stream:
        for line, _ in zip(stream, range(count), strict=False):
            yield json.loads(line)


def _lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)


def _nothing_read(recipe: Recipe, unreadable: Counter[str]) -> UserError:
    where = ", ".join(item.place() for item in recipe.inputs)
    what = "; ".join(f"{count} x {reason}" for reason, count in unreadable.most_common(3)) or "no file in it"
    return UserError(
        where, f"not one document could be read ({what})", "a path with files of a known format (docs/corpus.md)"
    )


def _nothing_left(steps: Sequence[funnel.Step]) -> UserError:
    top = ", ".join(f"{reason} {count}" for reason, count in funnel.reasons(steps).most_common(3)) or "all held back"
    return UserError("filters", f"no document is left to train on ({top})", "weaker filters or a smaller split")
