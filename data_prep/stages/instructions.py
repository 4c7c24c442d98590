"""`stage: instructions`: supervised data in any usual shape -> checked rows that trainers read, split and counted.

Files are JSON lines, JSON, CSV/TSV, Parquet, Arrow, folders of those, or data sets that Hugging Face's `datasets` saved
to disk (`data_prep.files.tables`). The shape of each file is recognised by its columns (`data_prep/supervised/shapes/`)
and shown with its first row as read; `shape:`, `columns:` and `roles:` override it. Every row that is refused is
counted and listed with file, line and reason.

| kind | rows | read by |
|---|---|---|
| conversations | `Conversation` | sft |
| preferences | `Preference` | reward, dpo |
| unpaired | `Unpaired` | KTO |
| classification | `Labelled`, or `Tagged` where each word has a tag | classifiers |
| pairs | `Pair` | sequence-to-sequence models |

Into `output_dir`: `train.jsonl`, `validation.jsonl`, with `test:` also `test.jsonl`; `labels.json` for classification;
`refused.jsonl` (file, line, reason, detail), `contamination.jsonl` (evaluation questions that were found, with both
texts), `statistics.json`, `report.html`.

Rows with the same or a similar prompt, and rows of one value of `group_column`, stand on one side. Classification is
stratified by label.

Memory: rows go through one at a time and wait on disk; of each kept row prompt and answers are held, to find
near-duplicates (2.6 kB for a row of 765 characters; `docs/instructions.md`). Left out: mixtures, chat templates.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

Role = Literal["system", "user", "assistant"]


class Input(Section):
    """A file, a folder of files, or a saved data set, and how it is to be read where that is not seen by itself."""

    path: InputPath
    shape: str = Field(
        default="", description="One of data_prep/supervised/shapes; by default recognised by the columns."
    )
    columns: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Our column: theirs, such as {question: title, answer: body}; several are joined: [title, body].",
    )
    roles: dict[str, Role] = Field(default_factory=dict, description="Their role: ours, such as {customer: user}.")
    split: str = Field(default="", description="Of a saved data set with several splits; train by default.")
    header: bool = Field(default=True, description="False: a CSV file without names; its columns are 1, 2, ...")
    label_separator: str = Field(default="", description="What stands between several labels in one cell.")
    source_language: str = ""
    target_language: str = ""


class Deduplicate(Section):
    """Equal rows are removed; so are near-duplicates, by the Jaccard index of word shingles."""

    threshold: float = Field(default=0.8, gt=0, le=1, description="1: only equal rows.")
    shingle: int = Field(default=3, ge=1, description="Words in a shingle.")


class Recipe(StageRecipe):
    """What to read and which rows to refuse."""

    stage: Literal["instructions"] = "instructions"
    kind: Literal["conversations", "preferences", "unpaired", "classification", "pairs"] = "conversations"
    inputs: list[Input] = Field(min_length=1)
    strict: bool = Field(default=False, description="Stop at the first row that is refused.")
    system: str = Field(default="", description="System message for rows without one.")
    tool_turns: Literal["refuse", "as_text"] = Field(
        default="refuse", description="as_text: calls and results as Hermes and Qwen write them."
    )
    max_characters: int = Field(default=20_000, ge=1, description="Of all messages of a row together.")
    tokenizer: InputPath | None = Field(default=None, description="A tokenizer.json or a folder with one.")
    max_tokens: int = Field(default=0, ge=0, description="Of a row, without those of a chat template; 0: any number.")
    min_answer_characters: int = Field(default=1, ge=1)
    placeholder_answers: list[str] | None = Field(
        default=None, description="Answers that are none, in lower case; by default n/a, todo, tbd and the like."
    )
    refuse_refusals: bool = Field(default=False, description="Refuse `As an AI language model, ...` as an answer.")
    languages: list[str] = Field(default_factory=list, description="Keep only these; two-letter codes.")
    labels: list[str] = Field(default_factory=list, description="The labels that there are; others are refused.")
    min_margin: float = Field(default=0.0, ge=0, description="Of two ranked or scored answers.")
    max_pairs: int = Field(default=0, ge=0, description="Of one list of answers, the widest margins first; 0: all.")
    keep_indentation: bool = Field(default=True, description="False for texts without program code in them.")
    redact: bool = Field(default=False, description="Replace personal data by placeholders.")
    deduplicate: Deduplicate | None = Deduplicate()
    decontaminate: list[InputPath] = Field(default_factory=list, description="Evaluation sets, in any form.")
    decontaminate_by: Literal["runs", "whole"] = Field(
        default="runs",
        description="runs: prompts that hold 13 words in a row of a question, or all of a shorter one; "
        "whole: prompts that are a question, for short texts and data with recurring phrases.",
    )
    group_column: str = Field(
        default="", description="Rows with the same value stand on one side; by default the same prompt."
    )
    validation: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.0, ge=0, lt=1)
    balance: Literal["none", "undersample", "oversample", "weights"] = "none"

    def faults(self) -> list[Fault]:
        """Refuse files whose first rows fit no shape, unknown shapes, a tokenizer that does not load."""
        return [*self._value_faults(), *_faults(self)]

    def _value_faults(self) -> Iterator[Fault]:
        if self.validation + self.test >= 1:
            held_back = f"validation {self.validation:g} and test {self.test:g} leave nothing to train on"
            yield Fault(("validation",), held_back, "shares that add up to less than 1")
        if self.balance != "none" and self.kind != "classification":
            yield Fault(("balance",), f"balance: {self.balance} is for kind: classification", "write balance: none")
        if self.max_tokens and self.tokenizer is None:
            yield Fault(("max_tokens",), "max_tokens needs a tokenizer to count with", "write tokenizer: FOLDER")


def _faults(recipe: Recipe) -> list[Fault]:
    """Return what the first rows, the tokenizer's place and the languages' codes say."""
    from data_prep.files import tables
    from data_prep.language import LANGUAGES
    from data_prep.supervised import reading

    faults = []
    for index, item in enumerate(recipe.inputs):
        path = shipped(item.path)
        if _there(path) and (mistake := reading.mistake(path, wanted(recipe, item))):
            faults.append(Fault(("inputs", index, "path"), *mistake))
    for index, named in enumerate(recipe.decontaminate):
        if _there(shipped(named)) and not tables.files(shipped(named)):
            write = f"a folder with files that end in {', '.join(tables.SUFFIXES)}"
            faults.append(Fault(("decontaminate", index), f"{named} holds no table, so nothing would be found", write))
    if recipe.tokenizer and (place := shipped(recipe.tokenizer)).exists():
        file = place / "tokenizer.json" if place.is_dir() else place
        if not file.is_file():
            what = f"{recipe.tokenizer} holds no tokenizer.json"
            faults.append(Fault(("tokenizer",), what, "name a model's folder or a tokenizer.json"))
    if unknown := [name for name in recipe.languages if name not in LANGUAGES]:
        what = f"{', '.join(unknown)} is not told apart"
        faults.append(Fault(("languages",), what, f"codes of {', '.join(LANGUAGES)}"))
    return faults


def wanted(recipe: Recipe, item: Input) -> Any:
    """Return how an input is to be read."""
    from data_prep.supervised.reading import Wanted
    from data_prep.supervised.turns import Options

    options = Options(
        tool_turns=recipe.tool_turns,
        label_separator=item.label_separator,
        languages=(item.source_language, item.target_language),
        labels=tuple(recipe.labels),
        max_pairs=recipe.max_pairs,
        min_margin=recipe.min_margin,
    )
    roles = {name.lower(): role for name, role in item.roles.items()}
    return Wanted(
        recipe.kind, item.shape, item.columns, roles, item.split, item.header, options, recipe.group_column
    )  # fmt: skip


def _there(path: Path) -> bool:
    """Tell whether there is something to look into; an empty file is refused already."""
    return path.is_dir() or (path.is_file() and path.stat().st_size > 0)


def run(recipe: Recipe) -> None:
    """Write the rows."""
    from data_prep.supervised import making
    from recipes import artifact

    with artifact.writing(recipe) as work:
        inputs = [(item.path, shipped(item.path), wanted(recipe, item)) for item in recipe.inputs]
        made = making.make(recipe, inputs, work.path, work.scratch)
        work.notes.update(made.notes)
        work.metrics.update(made.metrics)
        work.volatile.add("report.html")
        print(made.told)
