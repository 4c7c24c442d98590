"""`stage: mixture`: several sources of documents or conversations -> one shuffled training file, by weight or budget.

Whole documents are taken, in the order of a seeded hash: equal recipes give equal bytes whatever the number of workers,
and a larger budget holds every document of a smaller one. A source that has less than its part is read again, up to
`max_epochs`; what cannot be had is an error with the numbers, never a smaller mixture. Memory does not grow with the
data: one pass measures, one writes, and an external shuffle puts the rows into their order.

Into `output_dir`: `train.jsonl`, whose rows have two more columns, `input` (the source's name) and `repetition` (from
0), and `mixture.json` with what was asked for and what came out. Left out: mixing validation files, which stay as they
are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from data_prep.engine.section import Engine
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Section, StageRecipe

if TYPE_CHECKING:
    from data_prep.engine.phases import Phases
    from data_prep.tokens.row_ranges import Range


class Input(Section):
    """One source."""

    path: InputPath = Field(description="JSON lines, or a folder with them; of a corpus its training side.")
    name: str = Field("", description="By default the path's last part, or the folder's when that is `train`.")
    weight: float | None = Field(None, ge=0, description="Relative to the other inputs' weights; 0: left out.")
    share: float | None = Field(
        None, gt=0, le=1, description="Part of the whole mixture, whatever the weights: replay of general text, say."
    )
    max_epochs: float = Field(4.0, gt=0, description="How often it may be read; above 4 repetition gains little.")

    def called(self) -> str:
        """Return the source's name."""
        path = Path(self.path)
        stem = path.name.split(".")[0]
        return self.name or (path.parent.name if stem == "train" and path.parent.name else stem)


class Recipe(StageRecipe):
    """What to mix, and how much of it."""

    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir", "engine"})

    stage: Literal["mixture"] = "mixture"
    inputs: list[Input] = Field(min_length=1)
    tokenizer: InputPath | None = Field(None, description="Sizes are then exact tokens; without it, words.")
    total_tokens: int | None = Field(None, ge=1, description="Without a total: as much as needs no repetition.")
    total_words: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, gt=0, description="Without weights, shares are size^(1/temperature).")
    stratify_by: str | None = Field(None, description="A column whose values keep their parts of each source.")
    text_column: str = "text"
    id_column: str = "id"
    engine: Engine = Engine()

    def faults(self) -> list[Fault]:
        """Refuse shares and totals that exclude each other or come to nothing."""
        from data_prep.tokens import row_ranges, tokenization

        found = [fault for index, item in enumerate(self.inputs)
                 for fault in row_ranges.faults(("inputs", index, "path"), item.path)]  # fmt: skip
        if self.tokenizer:
            found += tokenization.faults(("tokenizer",), self.tokenizer, needs_eos=False)
        return [*found, *_name_faults(self.inputs), *_share_faults(self), *_total_faults(self)]


def _name_faults(inputs: list[Input]) -> list[Fault]:
    names = Counter(item.called() for item in inputs)
    return [
        Fault(("inputs", index), f"{names[item.called()]} inputs are called {item.called()}", "a `name` of its own")
        for index, item in enumerate(inputs)
        if names[item.called()] > 1
    ]


def _share_faults(recipe: Recipe) -> list[Fault]:
    """Return what is wrong with the inputs' weights and shares, taken together."""
    found = []
    rest = [(index, item) for index, item in enumerate(recipe.inputs) if item.share is None]
    weights = [item.weight for _, item in rest if item.weight is not None]
    fixed = sum(item.share or 0.0 for item in recipe.inputs)
    for index, item in enumerate(recipe.inputs):
        if item.share is not None and item.weight is not None:
            what = f"{item.called()} has both a weight ({item.weight:g}) and a share ({item.share:g})"
            found.append(Fault(("inputs", index), what, "write one of them"))
        if weights and item.share is None and item.weight is None:
            what = f"{item.called()} has no weight, but others have one"
            found.append(Fault(("inputs", index), what, "give every input a weight (or a share), or none"))
    if weights and len(weights) == len(rest) and sum(weights) == 0:
        found.append(Fault(("inputs",), "the weights add up to 0", "write a weight above 0 for at least one input"))
    if weights and "temperature" in recipe.model_fields_set:
        found.append(
            Fault(("temperature",), "temperature makes shares from sizes, and there are weights", "leave one out")
        )
    if rest and fixed >= 1:
        what = f"shares add up to {fixed:g} and leave nothing to the {len(rest)} other inputs"
        found.append(Fault(("inputs",), what, "shares that add up to less than 1"))
    if not rest and abs(fixed - 1) > 1e-9:
        found.append(Fault(("inputs",), f"shares add up to {fixed:g}", "shares that add up to 1, or weights"))
    return found


def _total_faults(recipe: Recipe) -> list[Fault]:
    if recipe.total_tokens is not None and recipe.tokenizer is None:
        return [
            Fault(("total_tokens",), "tokens can only be counted with a tokenizer", "add `tokenizer:`, or total_words")
        ]
    if recipe.total_words is not None and recipe.tokenizer is not None:
        return [Fault(("total_words",), "with a tokenizer, sizes are tokens", "write total_tokens")]
    return []


@dataclass
class Measured:
    """A source after the first pass: its pieces with their measurements, and the sizes of its strata."""

    name: str
    pieces: list[Range]
    runs: list[Path]
    results: list[dict[str, Any]]
    strata: list[str]
    sizes: list[int]

    @property
    def size(self) -> int:
        """Return the units of all documents."""
        return sum(self.sizes)


def run(recipe: Recipe) -> None:
    """Mix."""
    from data_prep.engine import phases, workers
    from data_prep.engine.progress import Progress
    from data_prep.tokens import mixture_passes
    from recipes import artifact

    with artifact.writing(recipe) as work:
        scratch = work.scratch / "mixture"
        # Marks tell pieces apart by their numbers only, so a folder that was begun with other pieces is begun anew.
        phases.begin(scratch, str(recipe.engine.shard_bytes))
        with workers.opened(recipe.engine.workers, recipe.engine.scheduler, scratch) as opened:
            rows, runs = _passes(recipe, phases.Phases(scratch, opened, Progress()), scratch)
        mixture_passes.assemble(runs, work.path / "train.jsonl")
        _report(recipe, work, rows)


def _passes(recipe: Recipe, passes: Phases, folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure and write all sources; return what mixture.json says of each, and the runs to assemble."""
    from data_prep.tokens import mixing

    measured = [_measure(recipe, index, passes, folder) for index in range(len(recipe.inputs))]
    sources = [
        mixing.Source(one.name, one.size, item.weight, item.share, item.max_epochs)
        for one, item in zip(measured, recipe.inputs, strict=True)
    ]
    wanted = mixing.shares(sources, recipe.temperature)
    _require_text(recipe, sources, wanted)
    asked = mixing.budgets(sources, wanted, recipe.total_tokens or recipe.total_words)
    rows, runs = [], []
    for index, (one, share, units) in enumerate(zip(measured, wanted, asked, strict=True)):
        counts, its_runs = _select(recipe, index, one, units, passes, folder)
        rows.append(_row(one, share, units, counts))
        runs += its_runs
    return rows, runs


def _columns(recipe: Recipe) -> tuple[str, str, str | None]:
    return recipe.text_column, recipe.id_column, recipe.stratify_by


def _measure(recipe: Recipe, index: int, passes: Phases, folder: Path) -> Measured:
    """Return the sizes of one source."""
    from data_prep.engine.phases import Task
    from data_prep.tokens import mixing, mixture_passes, row_ranges, tokenization

    item = recipe.inputs[index]
    name = item.called()
    pieces = row_ranges.ranges(row_ranges.files_of(item.path), recipe.engine.shard_bytes)
    runs = [folder / f"measured-{index:04d}-{number:06d}.npy" for number in range(len(pieces))]
    tokenizer = str(tokenization.file_of(recipe.tokenizer).resolve()) if recipe.tokenizer else None
    tasks = [
        Task(run.stem, mixture_passes.measure,
             (piece, str(run), name, recipe.seed, _columns(recipe), tokenizer), piece.size)
        for piece, run in zip(pieces, runs, strict=True)
    ]  # fmt: skip
    results = passes.run(f"measure-{index:04d}", tasks, f"measure {name}")
    total: Counter[str] = Counter()
    for result in results:
        total.update(dict(map(tuple, result["strata"])))
    if len(total) > mixing.MOST_STRATA:
        what = f"column {recipe.stratify_by!r} has {len(total):,} values in {name}"
        raise UserError("stratify_by", what, f"a column with at most {mixing.MOST_STRATA:,}")
    return Measured(name, pieces, runs, results, sorted(total), [total[one] for one in sorted(total)])


def _require_text(recipe: Recipe, sources: list[Any], wanted: list[float]) -> None:
    for item, source, share in zip(recipe.inputs, sources, wanted, strict=True):
        if source.size == 0 and (share > 0 or (item.weight is None and item.share is None)):
            raise UserError(item.path, "no row with a text or a conversation", "a file with texts, or leave it out")


def _select(
    recipe: Recipe, index: int, source: Measured, asked: int, passes: Phases, folder: Path
) -> tuple[Counter[str], list[str]]:
    """Write the chosen documents of one source as runs; return the counts and the runs."""
    from data_prep.engine.phases import Task
    from data_prep.tokens import mixing, mixture_passes

    full, rest = divmod(asked, source.size) if source.size else (0, 0)
    number = {stratum: place for place, stratum in enumerate(source.strata)}
    runs = [
        mixing.Run(run, [number[stratum] for stratum, _ in result["strata"]])
        for run, result in zip(source.runs, source.results, strict=True)
    ]
    part = rest / source.size if source.size else 0.0
    limits = dict(zip(source.strata, mixing.limits(runs, [part * size for size in source.sizes]), strict=True))
    targets = [str(folder / f"selected-{index:04d}-{number:06d}") for number in range(len(runs))]
    tasks = [
        Task(Path(target).name, mixture_passes.select,
             (piece, str(run.path), target, source.name, recipe.seed, _columns(recipe), full, limits), piece.size)
        for piece, run, target in zip(source.pieces, runs, targets, strict=True)
    ]  # fmt: skip
    results = passes.run(f"select-{index:04d}", tasks, f"write {source.name}")
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result)
    written = [
        f"{target}-{place}" for target, result in zip(targets, results, strict=True) for place in range(result["runs"])
    ]
    return counts, written


def _row(source: Measured, share: float, asked: int, counts: Counter[str]) -> dict[str, Any]:
    """Return what mixture.json says of one source."""
    skipped: Counter[str] = Counter()
    for result in source.results:
        skipped.update(result["left_out"])
    return {
        "name": source.name,
        "available": {"documents": sum(result["documents"] for result in source.results), "units": source.size},
        "asked": {"share": round(share, 6), "units": asked},
        "written": {"documents": counts["documents"], "units": counts["units"]},
        "epochs": round(counts["units"] / source.size, 4) if source.size else 0.0,
        "repeated": counts["repeated"],
        "left_out": counts["left_out"],
        "unusable": dict(sorted(skipped.items())),
    }


def _report(recipe: Recipe, work: Any, rows: list[dict[str, Any]]) -> None:
    """Write mixture.json, keep it in the manifest, and say it."""
    from data_prep.tokens import mixing

    unit = "tokens" if recipe.tokenizer else "words"
    total = sum(row["written"]["units"] for row in rows)
    if not total:
        raise UserError("inputs", "not one document fits the mixture", "a larger total, or shorter documents")
    for row in rows:
        row["written"]["share"] = round(row["written"]["units"] / total, 6)
    warnings = [
        f"{row['name']} is read {row['epochs']:.1f} times; above {mixing.WORTH_REPEATING:g}, that gains little"
        for row in rows
        if row["epochs"] > mixing.WORTH_REPEATING
    ]
    said = {"unit": unit, "total": total, "sources": rows, "warnings": warnings}
    text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
    (work.path / "mixture.json").write_text(text, encoding="utf-8")
    work.metrics |= {"unit": unit, "total": total, "sources": {row["name"]: row for row in rows}}
    work.notes["warnings"] = warnings
    for row in rows:
        print(
            f"{row['name']}: {row['written']['documents']:,} documents, {row['written']['units']:,} {unit}, "
            f"share {row['written']['share']:.4f} of {row['asked']['share']:.4f} asked, {row['epochs']:.2f} epochs, "
            f"{row['left_out']:,} documents left out"
        )
        if row["unusable"]:
            reasons = ", ".join(f"{count:,} x {reason}" for reason, count in row["unusable"].items())
            print(f"look here: {row['name']} has rows that cannot be used: {reasons}")
    for warning in warnings:
        print(f"look here: {warning}")
