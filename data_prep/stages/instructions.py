"""`stage: instructions`: question and answer data in any usual shape -> checked conversations or preference pairs.

The shape of each file is recognised by its columns (`data_prep.shapes`), shown, and may be overridden with `columns:`.
Every row that is refused is counted and listed with file, line and reason.

Into `output_dir`: `train.jsonl`, `validation.jsonl` (Conversation or Preference rows), `refused.jsonl` (file, line,
reason, detail), `contamination.jsonl` (evaluation questions that were found, with both texts).

The side of a row is a hash of its prompt, or of the column `group_column`: one question, or one disease, on one side.

Left out: near-duplicates among the rows, mixtures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from recipes.errors import UserError
from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.decontaminate import Questions
    from data_prep.shapes import Shape


class Input(Section):
    """A file of JSON lines, plain or gzip."""

    path: InputPath
    columns: dict[str, str] = Field(
        default_factory=dict, description="Our column: theirs, such as {question: title, answer: body}."
    )


class Recipe(StageRecipe):
    """What to read and which rows to refuse."""

    stage: Literal["instructions"] = "instructions"
    kind: Literal["conversations", "preferences"] = "conversations"
    inputs: list[Input] = Field(min_length=1)
    strict: bool = Field(default=False, description="Stop at the first row that is refused.")
    system: str = Field(default="", description="System message for rows without one.")
    max_characters: int = Field(default=20_000, ge=1, description="Of all messages of a row together.")
    min_answer_characters: int = Field(default=1, ge=1)
    keep_indentation: bool = Field(default=True, description="False for texts without program code in them.")
    redact: bool = Field(default=False, description="Replace personal data by placeholders.")
    deduplicate: bool = Field(default=True, description="Keep the first of rows with the same words.")
    decontaminate: list[InputPath] = Field(default_factory=list)
    group_column: str = Field(
        default="", description="Rows with the same value stand on one side; by default the same prompt."
    )
    validation: float = Field(default=0.05, ge=0, lt=1)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row fits no shape."""
        faults = []
        for index, item in enumerate(self.inputs):
            path = shipped(item.path)
            if path.is_file() and (mistake := _mistake(path, item.columns, self.kind)):
                faults.append(Fault(("inputs", index, "path"), *mistake))
        return faults


@dataclass
class Rows:
    """What came of the rows read so far."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    leaks: list[dict[str, str]] = field(default_factory=list)
    readings: dict[str, str] = field(default_factory=dict)
    seen: set[tuple[str, ...]] = field(default_factory=set)


def run(recipe: Recipe) -> None:
    """Write the rows."""
    from data_prep import decontaminate, split
    from data_prep.records import write_rows
    from recipes import artifact

    with artifact.writing(recipe) as work:
        questions = decontaminate.index([shipped(path) for path in recipe.decontaminate])
        rows = Rows()
        for item in recipe.inputs:
            _take(recipe, item, questions, rows)
        if not rows.kept:
            raise _nothing_kept(recipe, rows)
        sides: dict[str, list[dict[str, Any]]] = {"train": [], "validation": []}
        for row in rows.kept:
            sides[split.side(row.pop("group"), validation=recipe.validation, test=0.0, seed=recipe.seed)].append(row)
        for side, members in sides.items():
            write_rows(work.path / f"{side}.jsonl", members)
        write_rows(work.path / "refused.jsonl", rows.refused)
        write_rows(work.path / "contamination.jsonl", rows.leaks)
        reasons = dict(Counter(row["reason"] for row in rows.refused).most_common())
        work.notes["readings"] = rows.readings
        work.metrics.update({**{side: len(members) for side, members in sides.items()}, "refused": reasons})
        print("\n".join(f"{path}: {reading}" for path, reading in rows.readings.items()))
        print(f"train {len(sides['train']):,}, validation {len(sides['validation']):,}, refused {reasons or 'none'}")


def _take(recipe: Recipe, item: Input, questions: Questions, rows: Rows) -> None:
    """Read a file into `rows`."""
    from data_prep.shapes import Refused

    path = shipped(item.path)
    shape: Shape | None = None
    for line, row in _lines(path):
        where = {"file": item.path, "line": line}
        try:
            if isinstance(row, ValueError):
                raise Refused("not a JSON object", str(row))
            row = _renamed(row, item.columns)
            if shape is None:
                shape = _shape(item, row, recipe.kind, line)
                rows.readings[item.path] = _reading(shape, row, item.columns)
            rows.kept.append(_checked(recipe, shape, row, questions, rows, where))
        except Refused as refused:
            if recipe.strict:
                raise UserError(
                    f"{item.path}:{line}", _said(refused), "repair the row, or write strict: false"
                ) from None
            rows.refused.append({**where, "reason": refused.reason, "detail": refused.detail})


def _checked(
    recipe: Recipe, shape: Shape, row: dict[str, Any], questions: Questions, rows: Rows, where: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a row in our columns, with the group that decides its side.

    Raises: Refused.
    """
    from data_prep.shapes import Refused

    needed = shape.needed(row)
    if needed is None:
        raise Refused("missing column", f"found {', '.join(sorted(row)) or 'none'}")
    parts = {name: _cleaned(recipe, messages) for name, messages in shape.read(row).items()}
    prompt = _check(recipe, parts)
    key = tuple(" ".join(turn["content"].casefold().split()) for messages in parts.values() for turn in messages)
    if recipe.deduplicate and key in rows.seen:
        raise Refused("duplicate")
    rows.seen.add(key)
    for hit in questions.hits(prompt):
        rows.leaks.append({"row": f"{where['file']}:{where['line']}", "excerpt": hit.excerpt, "question": hit.item.text,
                           "evaluation": f"{hit.item.file}:{hit.item.line}"})  # fmt: skip
        raise Refused("contaminated", f"{hit.item.file}:{hit.item.line}")
    identity = row.get("id")
    name = identity if isinstance(identity, str) and identity else f"{Path(where['file']).name}#{where['line']}"
    group = str(row.get(recipe.group_column, "")) or prompt
    return {**_outer(shape, row), **parts, "id": name, "meta": _meta(shape, row, where), "group": group}


def _cleaned(recipe: Recipe, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    from data_prep import personal_data
    from data_prep.filters.unicode import normalised
    from data_prep.filters.whitespace import tidy

    def clean(text: str) -> str:
        text = tidy(normalised(text), keep_indentation=recipe.keep_indentation)
        return personal_data.redact(text)[0] if recipe.redact else text

    return [{"role": message["role"], "content": clean(message["content"])} for message in messages]


def _check(recipe: Recipe, parts: dict[str, list[dict[str, str]]]) -> str:
    """Refuse what cannot be trained on; add the system message; return all that the user says.

    Raises: Refused.
    """
    from data_prep.shapes import Refused, check_turns

    start = parts["prompt"] if "prompt" in parts else parts["messages"]
    if recipe.system and start and start[0]["role"] != "system":
        start.insert(0, {"role": "system", "content": recipe.system})
    answers = [name for name in ("chosen", "rejected") if name in parts]
    for conversation in [parts["prompt"] + parts[name] for name in answers] or [parts["messages"]]:
        check_turns(conversation)
        length = sum(len(turn["content"]) for turn in conversation)
        if length > recipe.max_characters:
            raise Refused("too long", f"{length} characters, at most {recipe.max_characters}")
        if len(conversation[-1]["content"]) < recipe.min_answer_characters:
            raise Refused("answer too short", f"{len(conversation[-1]['content'])} characters")
    if answers and parts["chosen"] == parts["rejected"]:
        raise Refused("chosen equals rejected")
    return "\n".join(turn["content"] for turn in start if turn["role"] == "user")


def _outer(shape: Shape, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preference row says besides its texts."""
    numbers = ("margin", "agreement", "raters") if shape.kind == "preferences" else ()
    return {
        name: row[name]
        for name in numbers
        if isinstance(row.get(name), int | float) and not isinstance(row[name], bool)
    }


def _meta(shape: Shape, row: Mapping[str, Any], where: Mapping[str, Any]) -> dict[str, Any]:
    used = {*shape.used(row), "id", "meta", "margin", "agreement", "raters"}
    inner = row["meta"] if isinstance(row.get("meta"), dict) else {}
    rest = {name: value for name, value in row.items() if name not in used}
    return {**rest, **inner, "file": Path(where["file"]).name, "line": where["line"]}


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Yield each line's number and object, or what is wrong with the line."""
    from data_prep.records import lines, parse_line

    for number, line in lines(path):
        try:
            yield number, parse_line(line)
        except ValueError as error:
            yield number, error


def _renamed(row: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    from data_prep.shapes import renamed

    return renamed(row, columns) if columns else row


def _shape(item: Input, row: Mapping[str, Any], kind: str, line: int) -> Shape:
    from data_prep import shapes

    shape = shapes.recognise(row, kind)
    if shape is None:
        raise UserError(f"{item.path}:{line}", *_unknown(row, kind))
    return shape


def _unknown(row: Mapping[str, Any], kind: str) -> tuple[str, str]:
    from data_prep.shapes import known

    return (
        f"columns {', '.join(sorted(row)) or 'none'} fit no shape of {kind}",
        f"{known(kind)}, or name yours with `columns:`",
    )


def _mistake(path: Path, columns: Mapping[str, str], kind: str) -> tuple[str, str] | None:
    """Return what is wrong with the first row of a file, if anything is; a corrupt row is counted later."""
    from data_prep.shapes import recognise

    row = next((row for _, row in _lines(path) if isinstance(row, dict)), None)
    if row is None:
        return f"{path} has no row", "a file with at least one JSON object a line"
    absent = [name for name in columns.values() if name not in row]
    if absent:
        return f"{path} has no column {', '.join(absent)}", f"one of {', '.join(sorted(row))}"
    return None if recognise(_renamed(row, columns), kind) else _unknown(row, kind)


def _reading(shape: Shape, row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    used = [f"{columns[name]} as {name}" if name in columns else name for name in shape.used(row)]
    return f"read as {shape.name} ({', '.join(used)})"


def _said(refused: Any) -> str:
    return f"{refused.reason} ({refused.detail})" if refused.detail else str(refused.reason)


def _nothing_kept(recipe: Recipe, rows: Rows) -> UserError:
    reasons = Counter(row["reason"] for row in rows.refused).most_common(3)
    seen = ", ".join(f"{count} x {reason}" for reason, count in reasons) or "the files are empty"
    what = f"no row could be used ({seen})"
    return UserError(", ".join(item.path for item in recipe.inputs), what, "rows with a question and an answer")
