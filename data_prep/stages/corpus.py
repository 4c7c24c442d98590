"""`stage: corpus`: raw files -> clean, deduplicated, decontaminated text, split into train, validation and test.

Order: read, repair (encoding, Unicode, white space, boilerplate lines), judge (length, language, quality, repetition,
topic), redact personal data, remove documents that hold evaluation questions, remove exact and near duplicates, split.
Duplicates come after questions: of two copies of which one holds a question, the clean one must be left, whichever is
the better copy otherwise. Every document that goes is counted with its reason.

Into `output_dir`: `train.jsonl`, `validation.jsonl`, `test.jsonl` (Document rows); `dropped.jsonl` (Document rows with
`step`, `reason`, `detail`); `unreadable.jsonl` (files and rows that no document came from); `contamination.jsonl` (each
evaluation question found, with both texts); `funnel.json`, `report.html` and the data card `README.md`.

The work is done shard by shard (`data_prep.corpus`) by any number of workers: memory does not grow with the corpus, the
same bytes come out of any number, and a run that was killed goes on at the first unfinished shard.

Left out: mixtures (`stage: mixture`) and tokenising (`stage: tokens`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, create_model, model_validator

from data_prep import filters
from data_prep.engine.section import Engine
from data_prep.inputs import Input
from data_prep.inputs import faults as input_faults
from recipes.sections import Fault, InputPath, Section, StageRecipe

if TYPE_CHECKING:
    Filters = Section
else:
    # One optional section for each file in data_prep/filters.
    Filters = create_model(
        "Filters",
        __base__=Section,
        **{name: (module.Settings | None, None) for name, module in filters.modules().items()},
    )


class Banded(Section):
    """MinHash locality-sensitive hashing: the banding is computed from the threshold."""

    threshold: float = Field(default=0.8, gt=0, le=1, description="Jaccard index of word shingles.")

    def banding(self, permutations: int) -> tuple[int, int]:
        """Return (bands, rows a band)."""
        from data_prep import dedup

        return dedup.banding(self.threshold, permutations)


class Paragraphs(Banded):
    """Paragraphs that stand in several documents are left only where they come first."""

    min_words: int = Field(default=30, ge=5, description="Shorter paragraphs are left alone.")


class Deduplicate(Section):
    """Near-duplicates by the Jaccard index of word shingles; exact copies are always removed."""

    threshold: float = Field(default=0.8, gt=0, le=1)
    shingle: int = Field(default=5, ge=1, description="Words in a shingle.")
    permutations: int = Field(default=128, ge=16, le=1024, description="Length of a MinHash signature.")
    bands: int | None = Field(default=None, ge=1, description="By default computed from the threshold.")
    keep: Literal["longest", "first"] = Field(
        default="longest", description="The best copy: the one with the most words, or the first, as inputs are listed."
    )
    paragraphs: Paragraphs | None = None

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.bands and self.permutations % self.bands:
            raise ValueError(f"bands {self.bands} does not divide permutations {self.permutations}")
        return self

    def banding(self) -> tuple[int, int]:
        """Return (bands, rows a band)."""
        from data_prep import dedup

        if self.bands:
            return self.bands, self.permutations // self.bands
        return dedup.banding(self.threshold, self.permutations)


class Split(Section):
    """Shares that are held back; near-duplicates always stand on one side."""

    validation: float = Field(default=0.05, ge=0, lt=1)
    test: float = Field(default=0.05, ge=0, lt=1)
    by: Literal["document", "source"] = Field(
        default="document", description="source: all documents of a source, too, stand on one side."
    )


class Recipe(StageRecipe):
    """What to read, how to clean it, what to keep out."""

    stage: Literal["corpus"] = "corpus"
    inputs: list[Input] = Field(min_length=1)
    strict: bool = Field(default=False, description="Stop at the first file or row that cannot be read.")
    forget: InputPath | None = Field(default=None, description="A block list that `tuneloop forget` wrote.")
    filters: Filters = Field(default_factory=Filters)
    deduplicate: Deduplicate | None = Deduplicate()
    decontaminate: list[InputPath] = Field(
        default_factory=list, description="Evaluation sets: tables or folders of them."
    )
    decontaminate_ngram: int = Field(default=13, ge=5, description="Words in a run that gives a question away.")
    decontaminate_likeness: float = Field(
        default=0.7, ge=0, le=1, description="Share of a question's three-word pieces that gives it away; 0: off."
    )
    decontaminate_columns: list[str] = Field(
        default_factory=list,
        description="Columns of evaluation rows to look for besides the questions, such as answer.",
    )
    split: Split = Split()
    engine: Engine = Engine()

    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir", "engine"})

    def faults(self) -> list[Fault]:
        """Refuse splits that leave nothing to train on, and inputs that cannot be told apart or read as told."""
        found = [fault for index, item in enumerate(self.inputs) for fault in input_faults(item, ("inputs", index))]
        if self.split.validation + self.split.test >= 1:
            held_back = f"validation {self.split.validation:g} and test {self.split.test:g} leave nothing to train on"
            found.append(Fault(("split",), held_back, "shares that add up to less than 1"))
        names = Counter(item.called() for item in self.inputs)
        for index, item in enumerate(self.inputs):
            if names[item.called()] > 1:
                what = f"{names[item.called()]} inputs are called {item.called()}"
                found.append(Fault(("inputs", index), what, "a `name` of its own for each"))
        for name in filters.chosen(self.filters):
            module = filters.modules()[name]
            if hasattr(module, "faults"):
                found += [Fault(("filters", name, *fault.key), fault.what, fault.write)
                          for fault in module.faults(getattr(self.filters, name))]  # fmt: skip
        if self.forget:
            from data_prep.governance import forgetting

            found += forgetting.faults(("forget",), self.forget)
        return found


def run(recipe: Recipe) -> None:
    """Write the corpus."""
    from data_prep.corpus import making
    from recipes import artifact

    with artifact.writing(recipe) as work:
        making.make(recipe, work)
