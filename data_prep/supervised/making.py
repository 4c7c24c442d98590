"""The passes of `stage: instructions`: read and check row by row, find what is alike, choose sides, write and count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import personal_data
from data_prep.files import tables
from data_prep.records import read_rows, writer
from data_prep.supervised import alike, checks, sides, statistics, telling
from data_prep.supervised.checks import Checked, Checker, Contaminated
from data_prep.supervised.kept import Kept
from data_prep.supervised.reading import File, Item, Wanted
from data_prep.supervised.turns import Refused
from recipes.errors import UserError
from recipes.sections import shipped

if TYPE_CHECKING:
    from data_prep.stages.instructions import Recipe

WAITING = "rows.jsonl"
EXAMPLES = 3
OUTER = ("margin", "agreement", "raters")


@dataclass
class Reader:
    """Takes all inputs through the checks; good rows wait in a file, what is held of each is in `kept`."""

    recipe: Recipe
    checker: Checker
    wait: Callable[[Any], None]
    refuse_row: Callable[[Any], None]
    leak_row: Callable[[Any], None]
    kept: list[Kept] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    readings: dict[str, dict[str, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    read: int = 0

    @property
    def near(self) -> bool:
        """Tell whether near-duplicates are looked for."""
        return self.recipe.deduplicate is not None and self.recipe.deduplicate.threshold < 1

    def take(self, name: str, path: Path, wanted: Wanted) -> None:
        """Read an input."""
        files = tables.files(path)
        for file in files:
            shown = _shown(name, path, file)
            try:
                opened = File(file, wanted)
            except UserError as error:
                if file == path or len(files) == 1 or self.recipe.strict:
                    raise
                self.refuse({"file": shown, "line": 0}, Refused("file cannot be read", f"{error.what}"))
                continue
            self._take(shown, opened)

    def _take(self, shown: str, opened: File) -> None:
        first = personal_data.redact(opened.first())[0] if self.recipe.redact else opened.first()
        self.readings[shown] = {"reading": opened.told(), "first": first}
        line = 0
        try:
            for item in opened.items():
                self.read, line = self.read + 1, item.line
                self._item(shown, opened, item)
        except UserError as error:
            if self.recipe.strict:
                raise
            self.refuse({"file": shown, "line": line}, Refused("file damaged from here on", error.what))

    def _item(self, shown: str, opened: File, item: Item) -> None:
        where = {"file": shown, "line": item.line}
        try:
            if isinstance(item.parts, Refused):
                raise item.parts
            checked = self.checker.check(item.parts, f"{shown}:{item.line}")
        except Refused as refused:
            if self.recipe.strict:
                raise UserError(
                    f"{shown}:{item.line}", refused.said(), "repair the row, or write strict: false"
                ) from None
            if isinstance(refused, Contaminated):
                self.leak(where, refused)
            self.refuse(where, refused)
            return
        value = item.row.get(self.recipe.group_column) if self.recipe.group_column else None
        group = "" if value is None else str(value)
        # Answers are held to be compared; where rows must be equal, a hash of each is enough, and the checker has it.
        answers = checked.answers if self.near else ()
        self.kept.append(Kept(shown, item.line, checked.prompt, answers, checked.labels, group or checked.prompt))
        self.tokens.append(checked.tokens)
        self.wait(_written(opened, item, checked, {"file": self.names[shown], "line": item.line}))

    def refuse(self, where: Mapping[str, Any], refused: Refused) -> None:
        """Count and list a row that cannot be used."""
        self.reasons[refused.reason] += 1
        row = {**where, "reason": refused.reason, "detail": refused.detail}
        self.refuse_row(row)
        if len(shown := self.examples.setdefault(refused.reason, [])) < EXAMPLES:
            shown.append(row)

    def leak(self, where: Mapping[str, Any], refused: Contaminated) -> None:
        """List an evaluation question that was found."""
        hit = refused.hit
        self.leak_row({"row": f"{where['file']}:{where['line']}", "excerpt": hit.excerpt, "question": hit.item.text,
                       "evaluation": f"{hit.item.file}:{hit.item.line}"})  # fmt: skip


def make(recipe: Recipe, inputs: Sequence[tuple[str, Path, Wanted]], folder: Path, scratch: Path) -> telling.Made:
    """Write all files of the result into `folder`."""
    with ExitStack() as stack:
        names = (scratch / WAITING, folder / "refused.jsonl", folder / "contamination.jsonl")
        wait, refuse_row, leak_row = (stack.enter_context(writer(path)) for path in names)
        reader = Reader(recipe, _checker(recipe), wait, refuse_row, leak_row)
        reader.names = short_names(
            [_shown(name, path, file) for name, path, _ in inputs for file in tables.files(path)]
        )
        for name, path, wanted in inputs:
            reader.take(name, path, wanted)
        if not reader.kept:
            raise _nothing_kept(inputs, reader)
        found = _alike(recipe, reader)
    left = [index for index in range(len(reader.kept)) if index not in found.dropped]
    shares = sides.Shares(recipe.validation, recipe.test, recipe.seed)
    side_of = sides.assign(reader.kept, found.groups, left, shares)
    if "train" not in side_of.values():
        raise UserError(
            "validation" if recipe.validation else "test",
            f"no row is left to train on: all {len(left)} that could be used are held back",
            "a smaller share, 0 for so few rows, or more rows",
        )
    how_often, weight = _balance(recipe, reader.kept, side_of)
    figures = _write(recipe, reader, scratch / WAITING, folder, side_of, how_often, weight)
    return telling.finish(recipe, reader, found, figures, folder, weight)


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """Return for each path its last parts, as many as tell it from all others: ids are made of them."""
    names: dict[str, str] = {}
    alike: dict[str, set[tuple[str, ...]]] = {}
    for path in paths:
        alike.setdefault(Path(path).name, set()).add(Path(path).parts)
    for path in paths:
        parts = Path(path).parts
        others = alike[Path(path).name] - {parts}
        length = next(
            (count for count in range(1, len(parts)) if all(other[-count:] != parts[-count:] for other in others)),
            len(parts),
        )
        names[path] = "/".join(parts[-length:])
    return names


def _shown(name: str, path: Path, file: Path) -> str:
    """Return a file's path as the recipe names it."""
    return name if file == path else f"{name}/{file.relative_to(path).as_posix()}"


def _checker(recipe: Recipe) -> Checker:
    questions, whole = checks.evaluation([shipped(path) for path in recipe.decontaminate])
    given = recipe.placeholder_answers
    rules = checks.Rules(
        kind=recipe.kind,
        system=recipe.system,
        max_characters=recipe.max_characters,
        max_tokens=recipe.max_tokens,
        min_answer_characters=recipe.min_answer_characters,
        placeholders=frozenset(checks.PLACEHOLDERS if given is None else [one.strip().lower() for one in given]),
        refusals=recipe.refuse_refusals,
        languages=frozenset(recipe.languages),
        keep_indentation=recipe.keep_indentation,
        redact=recipe.redact,
        duplicates=recipe.deduplicate is not None,
        whole_questions_only=recipe.decontaminate_by == "whole",
    )
    counter = checks.token_counter(str(shipped(recipe.tokenizer))) if recipe.tokenizer else None
    return Checker(rules, questions, whole, counter)


def _written(opened: File, item: Item, checked: Checked, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in our columns."""
    row, used = item.row, set(opened.shape.used(item.row))
    outer = {
        name: row[name]
        for name in (OUTER if opened.wanted.kind in ("preferences", "unpaired") else ())
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool)
    }
    inner = row["meta"] if isinstance(row.get("meta"), dict) else {}
    rest = {name: value for name, value in row.items() if name not in {*used, "id", "meta", *outer}}
    name = where["file"]
    identity = row.get("id")
    identity = str(identity) if isinstance(identity, str | int) and str(identity) else f"{name}#{item.line}"
    identity += f"-{item.number}" if item.number else ""
    meta = {**rest, **inner, "file": name, "line": item.line}
    return {**outer, **checked.parts, "id": identity, "meta": meta}


def _alike(recipe: Recipe, reader: Reader) -> alike.Found:
    settings = recipe.deduplicate
    found = alike.find(reader.kept, settings.threshold if settings else 1.0, settings.shingle if settings else 3)
    for index, (other, likeness) in sorted(found.dropped.items()):
        row = reader.kept[index]
        refused = Refused("near-duplicate", f"{likeness:.2f} like {reader.kept[other].place}")
        if recipe.strict:
            raise UserError(row.place, refused.said(), "remove the row, or write strict: false")
        reader.refuse({"file": row.file, "line": row.line}, refused)
    return found


def _balance(
    recipe: Recipe, rows: Sequence[Kept], side_of: Mapping[int, str]
) -> tuple[dict[int, int], dict[str, float]]:
    """Return how often each training row is written, where that is not once, and the weight of each label.

    Raises: UserError where a row has not exactly one label.
    """
    if recipe.balance == "none":
        return {}, {}
    train = [index for index, side in side_of.items() if side == "train"]
    other = next((index for index in train if len(rows[index].labels) != 1), None)
    if other is not None:
        what = f"balance: {recipe.balance} needs one label a row; this one has {len(rows[other].labels)}"
        raise UserError(rows[other].place, what, "write balance: none")
    if recipe.balance == "weights":
        return {}, sides.weights(rows, train)
    return sides.copies(rows, train, recipe.balance, recipe.seed), {}


def _write(
    recipe: Recipe,
    reader: Reader,
    waiting: Path,
    folder: Path,
    side_of: Mapping[int, str],
    how_often: Mapping[int, int],
    weight: Mapping[str, float],
) -> statistics.Figures:
    """Write each side; return the figures of what was written."""
    figures = statistics.Figures()
    names = [side for side in sides.SIDES if side != "test" or recipe.test]
    figures.rows.update(dict.fromkeys(names, 0))
    with ExitStack() as stack:
        writers = {side: stack.enter_context(writer(folder / f"{side}.jsonl")) for side in names}
        for index, row in enumerate(read_rows(waiting)):
            side = side_of.get(index)
            if side is None:
                continue
            if weight and side == "train":
                row["weight"] = weight[row["labels"][0]]
            for number in range(how_often.get(index, 1) if side == "train" else 1):
                copy = {**row, "id": f"{row['id']}~{number + 1}"} if number else row
                writers[side](copy)
                figures.add(copy, side, reader.kept[index].file, reader.tokens[index])
    waiting.unlink()
    return figures


def _nothing_kept(inputs: Sequence[tuple[str, Path, Wanted]], reader: Reader) -> UserError:
    # refused.jsonl is not published: what it would show of each reason is told here.
    details = {reason: next((row["detail"] for row in rows if row["detail"]), "")[:80]
               for reason, rows in reader.examples.items()}  # fmt: skip
    seen = ", ".join(f"{count} x {reason}" + (f": {details[reason]}" if details[reason] else "")
                     for reason, count in reader.reasons.most_common(3)) or "the files are empty"  # fmt: skip
    kind = inputs[0][2].kind
    what = {"conversations": "rows with a question and an answer", "preferences": "rows with two different answers",
            "unpaired": "rows with an answer and its label", "classification": "rows with a text and a label",
            "pairs": "rows with a source and a target"}[kind]  # fmt: skip
    if reader.reasons.most_common(1)[:1] == [("unknown role", reader.reasons["unknown role"])]:
        what = f"roles: {{{details['unknown role']}: user}} beside the path, with every role that the file has"
    return UserError(", ".join(name for name, _, _ in inputs), f"no row could be used ({seen})", what)
