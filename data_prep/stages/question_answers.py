"""`stage: question_answers`: documents -> conversations, each with the passage that its answer comes from.

Who writes the pairs stands in `generator`: `rules` (sentence patterns, headings, key-value lines; no model, English),
`model` (a local checkpoint) or `endpoint` (an OpenAI-compatible server). Whoever it is, each pair is checked: is it a
question, does it name what it asks about, do the answer's words come from the passage, has it been asked before, is it
an evaluation question. What is refused is counted and listed with its reason.

Into `output_dir`: `train.jsonl` and `validation.jsonl` (Conversation rows; `meta` holds document, passage, start and
end of the passage and, where it is a copy, of the answer, in characters of the document's text), `refused.jsonl`
(question, answer, document, start, end, reason), `contamination.jsonl` (evaluation questions found, with both texts).

A document stands on one side with everything that was made from it. A killed run goes on where it was: what a
model has answered is kept (`data_prep.synthesis.generator`). Memory grows with the number of questions (two hashes
each), not with the text.

Left out: whether an answer is right (see `data_prep.synthesis.question_answers.checks`); answers that need several
documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from data_prep.synthesis.generator import COSMETIC, Generator
from recipes.errors import UserError
from recipes.finding import nearest
from recipes.sections import Fault, InputPath, Section, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.decontaminate import Questions
    from data_prep.records import Document
    from data_prep.synthesis.generator import Answer
    from data_prep.synthesis.question_answers.duplicates import Asked
    from data_prep.synthesis.question_answers.passages import Pair, Passage
    from recipes.artifact import Work

NO_PAIR = "no pair in the answer"


class Passages(Section):
    """How documents are cut."""

    max_characters: int = Field(1500, ge=100, description="A passage ends with a section, or before it gets longer.")
    min_words: int = Field(15, ge=1, description="Shorter passages are passed over.")
    per_document: int = Field(0, ge=0, description="At most so many passages of a document, from its start; 0: all.")


class Checks(Section):
    """Which pairs are refused."""

    grounding: float = Field(0.8, ge=0, le=1, description="Share of the answer's content words found in the passage.")
    together: int = Field(2, ge=0, description="From how many neighbouring sentences each may come; 0: any number.")
    min_answer_words: int = Field(1, ge=1)
    max_answer_characters: int = Field(800, ge=1)
    max_question_words: int = Field(30, ge=3)
    near_duplicate: float = Field(0.7, gt=0, le=1, description="ROUGE-L of question and of answer, in one document.")


class Recipe(StageRecipe):
    """Which documents to read, who asks about them, what is refused."""

    stage: Literal["question_answers"] = "question_answers"
    inputs: list[InputPath] = Field(min_length=1, description="Document rows, such as a corpus's train.jsonl.")
    generator: Generator = Generator()
    rules: list[str] = Field(default_factory=list, description="kind: rules. Only these; by default all there are.")
    pairs_per_passage: int = Field(
        3, ge=1, le=50, description="How many a model is asked for; rules write what they find."
    )
    max_pairs_per_document: int = Field(0, ge=0, description="0: no limit.")
    task: str = Field("", description="What a model is told instead of ours; holds {text}, may hold {title}, {number}.")
    passages: Passages = Passages()
    checks: Checks = Checks()
    include_passage: bool = Field(False, description="Put the passage before the question, to train reading from it.")
    system: str = Field("", description="System message of each conversation.")
    decontaminate: list[InputPath] = Field(default_factory=list)
    validation: float = Field(0.05, ge=0, lt=1)
    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir"}) | COSMETIC

    def faults(self) -> list[Fault]:
        """Refuse rules there are not, keys of another kind, and files whose first row is no document."""
        found = [*self.generator.faults(), *self._rule_faults()]
        if self.task and self.generator.kind != "rules":
            from data_prep.synthesis.question_answers.prompts import task_mistake

            found += [Fault(("task",), *mistake)] if (mistake := task_mistake(self.task)) else []
        for index, path in enumerate(self.inputs):
            if shipped(path).is_file() and (mistake := _mistake(shipped(path))):
                found.append(Fault(("inputs", index), *mistake))
            elif shipped(path).is_dir():
                found.append(Fault(("inputs", index), f"{path} is a folder", "name the file in it: train.jsonl, say"))
        return found

    def _rule_faults(self) -> Iterator[Fault]:
        from data_prep.synthesis.question_answers import rules

        known = sorted(rules.modules()) if self.rules else []
        for index, name in enumerate(self.rules):
            if name not in known:
                guess = nearest(name, known)
                write = f"did you mean {guess}?" if guess else f"one of {', '.join(known)}"
                yield Fault(("rules", index), f"there is no rule {name}", write)
        for name, given in (("rules", bool(self.rules)), ("task", bool(self.task))):
            if given and (self.generator.kind == "rules") != (name == "rules"):
                what = f"`{name}` means nothing for generator.kind: {self.generator.kind}"
                yield Fault((name,), what, "remove it, or change the kind")


@dataclass
class Counts:
    """What came of it so far."""

    documents: int = 0
    passages: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    makers: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)


def run(recipe: Recipe) -> None:
    """Write the pairs."""
    from recipes import artifact

    with artifact.writing(recipe) as work:
        counts = Counts()
        _write(recipe, work, counts)
        kept = sum(counts.sides.values())
        if not kept:
            raise _nothing(recipe, counts)
        work.metrics.update(
            documents=counts.documents, passages=counts.passages, refused=dict(counts.refused.most_common()),
            made_by=dict(sorted(counts.makers.items())), train=counts.sides["train"],
            validation=counts.sides["validation"],
        )  # fmt: skip
        print(f"{counts.documents:,} documents, {counts.passages:,} passages, {kept:,} pairs kept")
        print(f"train {counts.sides['train']:,}, validation {counts.sides['validation']:,}")
        print("refused:", ", ".join(f"{reason} {count:,}" for reason, count in counts.refused.most_common()) or "none")


def _write(recipe: Recipe, work: Work, counts: Counts) -> None:
    """Make, check and write every pair, one document after the other."""
    from data_prep import decontaminate, split
    from data_prep.engine.progress import Progress
    from data_prep.records import writer
    from data_prep.synthesis.question_answers.duplicates import Asked

    questions = decontaminate.index([shipped(path) for path in recipe.decontaminate])
    asked = Asked(recipe.checks.near_duplicate)
    with ExitStack() as stack:
        names = ("train", "validation", "refused", "contamination")
        write = {name: stack.enter_context(writer(work.path / f"{name}.jsonl")) for name in names}
        done = stack.enter_context(Progress().counted("question_answers", _total(recipe), "passages"))
        per_document: Counter[str] = Counter()
        for place, (passage, pairs) in enumerate(_pairs(recipe, work, counts, write["refused"])):
            done(place)
            name = passage.document.id
            if name not in per_document:
                per_document = Counter({name: 0})
            for pair in pairs:
                row = _row(recipe, pair, passage, per_document[name])
                reason = _reason(recipe, pair, passage, asked, questions, write["contamination"])
                limit = recipe.max_pairs_per_document
                reason = reason or ("over the limit per document" if limit and per_document[name] >= limit else None)
                if reason:
                    counts.refused[reason] += 1
                    write["refused"](_refused(pair, passage, reason))
                    continue
                # Not the document's own hash: a corpus whose train side this is has used it up.
                side = split.side(f"question_answers\0{name}", validation=recipe.validation, test=0.0, seed=recipe.seed)
                write[side](row)
                per_document[name] += 1
                counts.sides[side] += 1
                counts.makers[pair.maker] += 1


def _pairs(
    recipe: Recipe, work: Work, counts: Counts, write_refused: Callable[[Any], None]
) -> Iterator[tuple[Passage, list[Pair]]]:
    """Yield each passage with what rules or a model make of it."""
    from data_prep.synthesis.question_answers import rules

    passages = _passages(recipe, counts)
    if recipe.generator.kind == "rules":
        for passage in passages:
            yield passage, list(rules.find(passage, recipe.rules))
        return
    from data_prep.synthesis.generator import Writer
    from data_prep.synthesis.question_answers.prompts import request

    with Writer(recipe.generator, work.scratch, recipe.seed) as author:
        ours, theirs = tee(passages)
        requests = (request(passage, recipe.pairs_per_passage, recipe.task) for passage in theirs)
        for passage, answer in zip(ours, author.answers(requests), strict=True):
            pairs, reason = _read(answer, recipe.pairs_per_passage, recipe.generator.name())
            if reason:
                counts.refused[reason] += 1
                write_refused({**_place(passage), "reason": reason, "question": "", "answer": answer.text[:2000]})
            yield passage, pairs


def _read(answer: Answer, most: int, maker: str) -> tuple[list[Pair], str]:
    """Return the pairs in a model's answer, or why there is none."""
    from data_prep.synthesis.question_answers.passages import Pair
    from data_prep.synthesis.question_answers.prompts import pairs

    if answer.reason:
        return [], answer.reason
    found = [Pair(question, said, maker=maker) for question, said in pairs(answer.text)[:most]]
    return found, "" if found else NO_PAIR


def _passages(recipe: Recipe, counts: Counts) -> Iterator[Passage]:
    from data_prep.synthesis.question_answers.passages import passages

    limits = recipe.passages
    for document in _documents(recipe):
        counts.documents += 1
        taken = 0
        for passage in passages(document, limits.max_characters):
            if len(passage.text.split()) < limits.min_words:
                continue
            if limits.per_document and taken >= limits.per_document:
                break
            taken += 1
            counts.passages += 1
            yield passage


def _total(recipe: Recipe) -> int:
    """Return how many passages there are; to cut them is little work beside asking about them."""
    return sum(1 for _ in _passages(recipe, Counts()))


def _documents(recipe: Recipe) -> Iterator[Document]:
    from data_prep.records import Document, read

    for path in recipe.inputs:
        yield from read(shipped(path), Document)


def _reason(
    recipe: Recipe, pair: Pair, passage: Passage, asked: Asked, questions: Questions, leak: Callable[[Any], None]
) -> str | None:
    """Return why a pair is refused; an evaluation question that was found is written down."""
    from data_prep.synthesis.question_answers import checks

    limits = checks.Limits(**recipe.checks.model_dump(exclude={"near_duplicate"}))
    if reason := checks.reason(pair, passage, limits):
        return reason
    for hit in questions.hits(pair.question):
        leak({"document": passage.document.id, "excerpt": hit.excerpt, "question": hit.item.text,
              "evaluation": f"{hit.item.file}:{hit.item.line}"})  # fmt: skip
        return "contaminated"
    return asked.again(pair, passage.document.id)


def _row(recipe: Recipe, pair: Pair, passage: Passage, number: int) -> dict[str, Any]:
    """Return a pair as a conversation that knows where it comes from."""
    document = passage.document
    question = f"{passage.text}\n\n{pair.question}" if recipe.include_passage else pair.question
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": pair.answer}]
    if recipe.system:
        messages.insert(0, {"role": "system", "content": recipe.system})
    meta: dict[str, Any] = {**_place(passage), "passage": passage.text, "source": document.source,
                            "generator": recipe.generator.kind, "made_by": pair.maker}  # fmt: skip
    meta |= {name: value for name in ("title", "url", "license") if (value := getattr(document, name))}
    start, end = (pair.start, pair.end) if pair.start is not None else _find(pair.answer, passage)
    if start is not None:
        meta |= {"answer_start": start, "answer_end": end}
    return {"id": f"{document.id}?{passage.start}-{number}", "messages": messages, "meta": meta}


def _find(answer: str, passage: Passage) -> tuple[int | None, int | None]:
    place = passage.text.find(answer)
    return (passage.start + place, passage.start + place + len(answer)) if place >= 0 else (None, None)


def _place(passage: Passage) -> dict[str, Any]:
    return {"document": passage.document.id, "start": passage.start, "end": passage.end}


def _refused(pair: Pair, passage: Passage, reason: str) -> dict[str, Any]:
    return {
        **_place(passage),
        "question": pair.question,
        "answer": pair.answer,
        "reason": reason,
        "made_by": pair.maker,
    }


def _mistake(path: Path) -> tuple[str, str] | None:
    """Return what is wrong with the first row of a file, if anything is."""
    from data_prep.records import Document, expected, parse, read_rows

    try:
        row = next(read_rows(path), None)
        if row is None:
            return f"{path} has no row", "a file with documents: a corpus's train.jsonl"
        document = parse(row, Document)
        return None if document.text.strip() else (f"{path}: the first document is empty", "documents with a text")
    except ValueError as error:
        return f"{path} holds no documents ({error})", expected(Document)
    except UserError as error:
        return f"{error.where}: {error.what}", error.write


def _nothing(recipe: Recipe, counts: Counts) -> UserError:
    reasons = ", ".join(f"{count} x {reason}" for reason, count in counts.refused.most_common(4)) or "nothing was found"
    what = f"not one pair is left of {counts.passages} passages in {counts.documents} documents ({reasons})"
    return UserError(", ".join(recipe.inputs), what, "longer documents, weaker checks, or a better generator")
