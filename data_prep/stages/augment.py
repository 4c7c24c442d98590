"""`stage: augment`: more supervised rows from those there are, each marked with where it comes from.

Reads conversations (`train.jsonl` of `stage: instructions` or of `question_answers`) or labelled texts. Each method of
data_prep/synthesis/augmentation that is named under `methods` makes new rows; a rewording changes the last thing the
user says, and never an answer or a label. A new row's `meta.augmentation` holds method, `of` (the id of its origin; all
of them for a new task), seed and the model that wrote it.

Only training rows are augmented. The validation file goes through byte for byte, and a new row that is like one of its
questions, or is found in `decontaminate`, is refused. So are copies and near-copies (`data_prep.synthesis.novelty`). At
most `max_per_origin` new rows come from one row; a row that is augmented already is kept, not augmented again.

Into `output_dir`: `train.jsonl` (each row, followed by what was made of it), `validation.jsonl` if there is one,
`refused.jsonl` (method, of, text, reason).

Left out: preferences; the words of all questions are held in memory.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, create_model

from data_prep.synthesis import augmentation
from data_prep.synthesis.generator import COSMETIC, Generator
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.synthesis.augmentation import Candidate, Method, Origin
    from data_prep.synthesis.novelty import Novelty
    from recipes.artifact import Work

    Methods = Section
else:
    # One optional section for each file in data_prep/synthesis/augmentation.
    Methods = create_model(
        "Methods",
        __base__=Section,
        **{name: (module.Settings | None, None) for name, module in augmentation.modules().items()},
    )
GROUP = 128  # rows that the methods see at once
LABELS = ("label", "labels")
HELD_BACK = ("validation", "valid", "val", "dev", "test", "eval")


class Recipe(StageRecipe):
    """Which rows, which methods, and what a new row must not be like."""

    stage: Literal["augment"] = "augment"
    train_file: InputPath = Field(description="Conversation rows, or rows with a text and a label.")
    validation_file: InputPath | None = Field(None, description="Goes through unchanged; nothing new may be like it.")
    decontaminate: list[InputPath] = Field(
        default_factory=list, description="Evaluation sets: tables or folders of them."
    )
    text_column: str = Field("text", min_length=1, description="Of labelled rows.")
    label_column: str = Field("", description="Of labelled rows; by default label or, as we write them, labels.")
    methods: Methods = Methods()
    generator: Generator | None = None
    max_per_origin: int = Field(2, ge=1, le=100, description="New rows from one row, over all methods.")
    near_copy: float = Field(0.7, gt=0, le=1, description="ROUGE-L from which two questions are the same.")
    keep_originals: bool = True
    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"}) | COSMETIC

    def labels_in(self, row: dict[str, Any]) -> str | None:
        """Return the column of a labelled row's label."""
        names = (self.label_column,) if self.label_column else LABELS
        return next((name for name in names if name in row), None)

    def chosen(self) -> dict[str, Any]:
        """Return the settings of the methods that are named, in a fixed order."""
        return {name: settings for name, settings in sorted(dict(self.methods).items()) if settings is not None}

    def faults(self) -> list[Fault]:
        """Refuse held-back rows as a start, methods without what they need, and rows of no known shape."""
        found = [*self._method_faults(), *self._side_faults()]
        if self.generator:
            found += self.generator.faults()
        if shipped(self.train_file).is_file() and (mistake := self._first_row_mistake()):
            found.append(Fault(("train_file",), *mistake))
        return found

    def _method_faults(self) -> Iterator[Fault]:
        needing = [name for name in self.chosen() if augmentation.modules()[name].NEEDS_GENERATOR]
        if not self.chosen():
            yield Fault(("methods",), "no method is named", f"name at least one of {', '.join(augmentation.modules())}")
        if needing and (self.generator is None or self.generator.kind == "rules"):
            write = "add `generator: {kind: model, model_name_or_path: ...}`, or kind: endpoint"
            yield Fault(("methods", needing[0]), f"{needing[0]} needs a model or an endpoint to write", write)
        if self.generator and not needing:
            yield Fault(("generator",), f"none of the methods ({', '.join(self.chosen())}) asks for it", "remove it")

    def _side_faults(self) -> Iterator[Fault]:
        name = Path(self.train_file).name.partition(".")[0].lower()
        if name in HELD_BACK:
            what = f"{self.train_file} is a side that is held back: augmented rows may only be trained on"
            yield Fault(("train_file",), what, "name the train.jsonl beside it")
        apart = [path for path in (self.validation_file, *self.decontaminate) if path]
        if any(shipped(path).resolve() == shipped(self.train_file).resolve() for path in apart):
            what = f"{self.train_file} is also named as a file to keep apart"
            yield Fault(("train_file",), what, "name different files")

    def _first_row_mistake(self) -> tuple[str, str] | None:
        from data_prep.records import read_rows

        try:
            row = next(read_rows(shipped(self.train_file)), None)
            if row is None:
                return f"{self.train_file} has no row", "a file with at least one JSON object a line"
            labelled = _origin(self, row, "row 1").labelled
        except ValueError as error:
            expected = f"rows with `messages`, or with {_labelled(self)} (text_column: ..., label_column: ...)"
            return f"{self.train_file}: {error}", expected
        except UserError as error:
            return f"{error.where}: {error.what}", error.write
        if labelled and "self_instruct" in self.chosen():
            return f"{self.train_file} holds labelled texts, which self_instruct cannot make", "remove self_instruct"
        return None


@dataclass
class Counts:
    """What came of it so far."""

    rows: int = 0
    augmented_before: int = 0
    new: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


def run(recipe: Recipe) -> None:
    """Write the rows with the new ones among them."""
    from recipes import artifact

    with artifact.writing(recipe) as work, ExitStack() as stack:
        context = _contexts(recipe, work, stack)
        methods = {
            name: augmentation.modules()[name].build(settings, context(name))
            for name, settings in recipe.chosen().items()
        }
        counts = Counts()
        _write(recipe, work, methods, _novelty(recipe), counts)
        if recipe.validation_file:
            _pass_through(shipped(recipe.validation_file), work.path / "validation.jsonl")
        if not counts.new:
            raise _nothing(recipe, counts)
        work.metrics.update(
            rows=counts.rows, new=dict(sorted(counts.new.items())), refused=dict(counts.refused.most_common()),
            augmented_before=counts.augmented_before,
        )  # fmt: skip
        made = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.new.items()))
        print(f"{counts.rows:,} rows, {counts.new.total():,} new ({made})")
        print("refused:", ", ".join(f"{reason} {count:,}" for reason, count in counts.refused.most_common()) or "none")


def _contexts(recipe: Recipe, work: Work, stack: ExitStack) -> Callable[[str], augmentation.Context]:
    """Return what gives each method its context; all share one generator and its cache."""
    if recipe.generator is None:
        return lambda name: augmentation.Context(recipe.seed, name)
    from data_prep.synthesis.generator import Writer

    writer = stack.enter_context(Writer(recipe.generator, work.scratch, recipe.seed))
    return lambda name: augmentation.Context(recipe.seed, name, writer)


def _novelty(recipe: Recipe) -> Novelty:
    """Return what tells new rows from those there are."""
    from data_prep import decontaminate
    from data_prep.records import numbered_rows
    from data_prep.synthesis.novelty import Novelty

    evaluation = decontaminate.index([shipped(path) for path in recipe.decontaminate])
    held_back = []
    for path in (recipe.validation_file,) if recipe.validation_file else ():
        for number, row in numbered_rows(shipped(path)):
            held_back.append(_checked(recipe, row, path, number).text)
    held_back += [item.text for item in decontaminate.asked(shipped(path) for path in recipe.decontaminate)]
    there = (origin.text for _, origin in _rows(recipe))
    return Novelty(there, held_back, evaluation, recipe.near_copy)


def _rows(recipe: Recipe) -> Iterator[tuple[dict[str, Any], Origin]]:
    from data_prep.records import numbered_rows

    for number, row in numbered_rows(shipped(recipe.train_file)):
        yield row, _checked(recipe, row, recipe.train_file, number)


def _checked(recipe: Recipe, row: dict[str, Any], path: str, number: int) -> Origin:
    try:
        return _origin(recipe, row, f"{Path(path).name}#{number}")
    except ValueError as error:
        write = f"conversations, or rows with {_labelled(recipe)}"
        raise UserError(f"{path}:{number}", str(error), write) from None


def _origin(recipe: Recipe, row: dict[str, Any], name: str) -> Origin:
    """Return what a row asks and answers.

    Raises: ValueError for a row of neither kind.
    """
    from data_prep.records import check_messages
    from data_prep.synthesis.augmentation import Origin

    given = row.get("id")
    identity = given if isinstance(given, str) and given else name
    if "messages" in row:
        check_messages("messages", row["messages"])
        place = _asked(row["messages"])
        return Origin(identity, row["messages"][place]["content"], row["messages"][-1]["content"])
    text, label = row.get(recipe.text_column), recipe.labels_in(row)
    if not isinstance(text, str) or label is None:
        raise ValueError(f"columns {', '.join(sorted(row)) or 'none'} are neither a conversation nor a labelled text")
    return Origin(identity, text, str(row[label]), labelled=True)


def _labelled(recipe: Recipe) -> str:
    return f"{recipe.text_column} and {recipe.label_column or ' or '.join(LABELS)}"


def _asked(messages: list[dict[str, str]]) -> int:
    """Return the place of the last thing that the user says.

    Raises: ValueError when the user says nothing, or nobody answers.
    """
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    if not places or messages[-1]["role"] != "assistant":
        raise ValueError("a conversation without a question and an answer to it")
    return places[-1]


def _write(recipe: Recipe, work: Work, methods: dict[str, Method], novelty: Novelty, counts: Counts) -> None:
    from data_prep.records import writer

    with writer(work.path / "train.jsonl") as write, writer(work.path / "refused.jsonl") as write_refused:
        rows = enumerate(_rows(recipe))
        while group := list(islice(rows, GROUP)):
            usable = [entry for entry in group if not _is_augmented(entry[1][0])]
            counts.augmented_before += len(group) - len(usable)
            origins = [origin for _, (_, origin) in usable]
            made = {name: list(method(origins)) for name, method in methods.items()}
            places = {number: place for place, (number, _) in enumerate(usable)}
            for number, (row, origin) in group:
                counts.rows += 1
                if recipe.keep_originals:
                    write(row)
                if number in places:
                    own = {name: candidates[places[number]] for name, candidates in made.items()}
                    _take(recipe, number, row, origin, own, novelty, counts, write, write_refused)


def _is_augmented(row: dict[str, Any]) -> bool:
    meta = row.get("meta")
    return isinstance(meta, dict) and "augmentation" in meta


def _take(
    recipe: Recipe,
    number: int,
    row: dict[str, Any],
    origin: Origin,
    made: dict[str, list[Candidate]],
    novelty: Novelty,
    counts: Counts,
    write: Callable[[Any], None],
    write_refused: Callable[[Any], None],
) -> None:
    """Write what is new of a row's candidates, up to the limit; the methods take turns in an order of chance."""
    names = sorted(made)
    augmentation.Context(recipe.seed, "order").chance(origin.id).shuffle(names)
    taken: Counter[str] = Counter()
    for turn in range(max((len(candidates) for candidates in made.values()), default=0)):
        for name in names:
            if turn >= len(made[name]):
                continue
            candidate = made[name][turn]
            over = taken.total() >= recipe.max_per_origin
            reason = candidate.reason or (
                "over the limit per origin" if over else _reason(name, candidate, number, novelty)
            )
            if reason:
                counts.refused[f"{name}: {reason}"] += 1
                write_refused({"method": name, "of": origin.id, "text": candidate.text, "reason": reason})
                continue
            taken[name] += 1
            counts.new[name] += 1
            novelty.add(candidate.text, number, rewording=candidate.answer is None)
            write(_new_row(recipe, row, origin, candidate, name, taken[name]))


def _reason(name: str, candidate: Candidate, number: int, novelty: Novelty) -> str | None:
    module = augmentation.modules()[name]
    if getattr(module, "NEW_TASKS", False):
        return novelty.task(candidate.text)
    return novelty.rewording(candidate.text, number, folded=getattr(module, "FOLDED", True))


def _new_row(
    recipe: Recipe, row: dict[str, Any], origin: Origin, candidate: Candidate, name: str, number: int
) -> dict[str, Any]:
    """Return a new row: its origin's, with another text and the note of where it comes from."""
    note: dict[str, Any] = {"method": name, "of": origin.id, "seed": recipe.seed}
    if candidate.others:
        note["of"] = [origin.id, *candidate.others]
    if recipe.generator and augmentation.modules()[name].NEEDS_GENERATOR:
        note["model"] = recipe.generator.name()
    meta = row["meta"] if isinstance(row.get("meta"), dict) and candidate.answer is None else {}
    new = {**row, "id": f"{origin.id}~{name}{number}", "meta": {**meta, "augmentation": note}}
    if origin.labelled:
        return {**new, recipe.text_column: candidate.text}
    messages = [dict(message) for message in row["messages"]]
    if candidate.answer is not None:
        system = [message for message in messages[:1] if message["role"] == "system"]
        asked, told = ({"role": "user", "content": candidate.text}, {"role": "assistant", "content": candidate.answer})
        return {"id": new["id"], "meta": new["meta"], "messages": [*system, asked, told]}
    messages[_asked(messages)]["content"] = candidate.text
    return {**new, "messages": messages}


def _pass_through(source: Path, target: Path) -> None:
    """Copy the validation rows, unpacked if they were packed, byte for byte."""
    from data_prep.records import open_binary

    with open_binary(source) as stream, target.open("wb") as copy:
        shutil.copyfileobj(stream, copy)


def _nothing(recipe: Recipe, counts: Counts) -> UserError:
    reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.refused.most_common(4))
    what = f"not one new row came of {counts.rows} rows ({reasons or 'the methods found nothing to change'})"
    return UserError(recipe.train_file, what, "other methods, more copies, or a higher near_copy")
