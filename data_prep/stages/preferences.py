"""`stage: preferences`: people's votes, and pairs from files -> pairs to train on.

Reads label stores and JSON lines of preference pairs, writes into `output_dir`:

- `train.jsonl`, `validation.jsonl`, `test.jsonl`: Preference rows, as `reward` and `dpo` read them;
- `unpaired.jsonl`: answers that are good or bad by themselves (ties and both bad), for methods like KTO;
- `conversations.jsonl`: people's edited answers, for supervised fine-tuning;
- `unpaired_held_out.jsonl`, `conversations_held_out.jsonl`: the same for prompts that are not in `train`;
- `dropped.jsonl`: everything that is in none of these, with its reason.

The side of a row is a hash of its prompt, so no prompt stands on two sides. `metrics` holds every count in and out.

A live SQLite store has a write-ahead log: its votes may stand in another file than the one that a recipe names, and
move between the two without any change. So its content hash (recipes/hashing.py) is one of its rows, not of its bytes.
A store named by `labels_url` has no hash: run the stage with --force to take in new votes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from recipes.errors import UserError
from recipes.sections import Fault, InputPath, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.feedback.conversion import Converted
    from data_prep.records import Message

HELD_OUT = ("validation", "test")


class Recipe(StageRecipe):
    """Which labels to read, and what makes them good enough."""

    stage: Literal["preferences"] = "preferences"
    labels: list[InputPath] = Field(default_factory=list, description="Label stores: SQLite files that the app wrote.")
    labels_url: str = Field("", description="A label store in another database, by its SQLAlchemy URL; not hashed.")
    pairs: list[InputPath] = Field(default_factory=list, description="JSONL files of pairs to add.")
    min_raters: int = Field(1, ge=1, description="Comparisons that fewer people judged are dropped.")
    min_agreement: float = Field(0.5, ge=0.5, lt=1, description="More than this share of the raters must agree.")
    edits: bool = Field(True, description="Edited answers become demonstrations and further pairs.")
    validation: float = Field(0.1, ge=0, lt=1, description="Share of the prompts.")
    test: float = Field(0.0, ge=0, lt=1, description="Share of the prompts.")

    def faults(self) -> list[Fault]:
        """Refuse a recipe that reads nothing, shares that leave nothing to train on, and files that are no store."""
        found = []
        if not (self.labels or self.labels_url or self.pairs):
            found.append(Fault(("labels",), "no labels and no pairs are named", "labels: [runs/.../labels.sqlite]"))
        if self.validation + self.test >= 1:
            found.append(Fault(("test",), f"validation + test is {self.validation + self.test:g}", "less than 1"))
        for index, path in enumerate(self.labels):
            if shipped(path).is_file() and not _is_sqlite(shipped(path)):
                found.append(Fault(("labels", index), f"{path} is not an SQLite file", "pairs: for JSONL files"))
        return found


def run(recipe: Recipe) -> None:
    """Write the rows."""
    from data_prep.feedback import conversion
    from recipes import artifact

    with artifact.writing(recipe) as work:
        made = conversion.Converted()
        rules = conversion.Rules(recipe.min_raters, recipe.min_agreement, recipe.edits)
        reliability = {}
        for place in [*(str(shipped(path)) for path in recipe.labels), *filter(None, [recipe.labels_url])]:
            name = Path(place).name if place != recipe.labels_url else "labels_url"
            reliability[name] = _take_store(place, rules, made, recipe.seed)
        for path in recipe.pairs:
            _take_pairs(path, made)
        _deduplicate(made)
        if not (made.pairs or made.unpaired or made.conversations):
            raise _nothing(recipe, made)
        work.metrics.update({"rows": _write(recipe, made, work.path), "counts": dict(made.counts)})
        work.metrics["dropped"] = dict(Counter(row["reason"] for row in made.dropped))
        work.metrics["reliability"] = reliability
        _tell(work.metrics)


def _take_store(place: str, rules: Any, made: Converted, seed: int) -> dict[str, Any]:
    """Add what a label store gives; return its agreement figures."""
    from data_prep.feedback import conversion, replay, results
    from data_prep.feedback.store import opened

    with opened(place) as store:
        state = replay.replay(store)
    one = conversion.convert(state, rules)
    made.pairs += one.pairs
    made.unpaired += one.unpaired
    made.conversations += one.conversations
    made.dropped += one.dropped
    made.counts.update(one.counts)  # += would leave out zeros
    return results.reliability(state, seed=seed)


def _take_pairs(path: InputPath, made: Converted) -> None:
    """Add the pairs of a file; a pair of equal answers is dropped."""
    from data_prep.records import Preference, read

    for number, pair in enumerate(read(shipped(path), Preference), 1):
        made.counts["pairs_from_files"] += 1
        pair.id = pair.id or f"{Path(path).name}#{number}"
        if pair.chosen == pair.rejected:
            made.drop("chosen equals rejected", pair.id, prompt=pair.prompt)
        else:
            made.pairs.append(pair)


def _deduplicate(made: Converted) -> None:
    """Keep the first of pairs from files that are equal; votes on equal answers are evidence of their own."""
    seen, kept = set(), []
    for pair in made.pairs:
        key = (str(pair.prompt), str(pair.chosen), str(pair.rejected))
        if key in seen and "comparison" not in pair.meta:
            made.drop("duplicate", pair.id, prompt=pair.prompt)
        else:
            kept.append(pair)
        seen.add(key)
    made.pairs = kept


def _write(recipe: Recipe, made: Converted, folder: Path) -> dict[str, int]:
    """Write all files; return how many rows each has."""
    from data_prep.records import write_rows

    files: dict[str, list[Any]] = {"train": [], "validation": [], "test": []}
    for pair in made.pairs:
        files[_side(recipe, pair.prompt)].append(pair)
    files |= {"unpaired": [], "unpaired_held_out": [], "conversations": [], "conversations_held_out": []}
    for row in made.unpaired:
        files["unpaired" + _suffix(recipe, row["prompt"])].append(row)
    for conversation in made.conversations:
        files["conversations" + _suffix(recipe, conversation.messages[:-1])].append(conversation)
    files["dropped"] = made.dropped
    return {name: write_rows(folder / f"{name}.jsonl", rows) for name, rows in files.items()}


def _side(recipe: Recipe, prompt: Sequence[Message]) -> str:
    from data_prep import split
    from data_prep.feedback.store import prompt_hash

    return split.side(prompt_hash(prompt), validation=recipe.validation, test=recipe.test, seed=recipe.seed)


def _suffix(recipe: Recipe, prompt: Sequence[Message]) -> str:
    return "_held_out" if _side(recipe, prompt) in HELD_OUT else ""


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _nothing(recipe: Recipe, made: Converted) -> UserError:
    reasons = Counter(row["reason"] for row in made.dropped)
    why = ", ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    what = f"nothing to train on came of {made.counts['votes_counted']} votes" + (f" ({why})" if why else "")
    where = ", ".join([*recipe.labels, *recipe.pairs]) or "labels_url"
    return UserError(where, what, "start the app and vote, or lower min_raters or min_agreement")


def _tell(metrics: dict[str, Any]) -> None:
    rows, counts = metrics["rows"], metrics["counts"]
    print(f"{counts['votes_counted']} votes and {counts['pairs_from_files']} pairs from files gave")
    print(", ".join(f"{name} {count}" for name, count in rows.items()))
