"""The documents of a recipe of continued pretraining, read as its objective reads them, and their validation.

Held-out text of a decoder is measured in bits per byte too: the mean loss of a token times the tokens of the text, over
its bytes. Unlike a loss per token that is comparable between vocabularies; how rows are cut only changes how much a
token sees.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from finetune import documents, objectives
from finetune.objectives import Batch, Learning, Row, masked_tokens
from finetune.objectives.noise import HELD_OUT, Visits
from recipes.sections import Training

if TYPE_CHECKING:
    from finetune.models import Head
    from finetune.stages.cpt import Recipe

HEADS: dict[str, Head] = {"next_token": "causal", "masked_tokens": "masked", "span_corruption": "seq2seq"}


@dataclass
class Corpus:
    """Rows to train and to measure on; `tokens_per_byte` is that of the held-out texts, where it means something."""

    objective: str
    tokenizer: Any
    train: Sequence[Row]
    validation: Sequence[Row]
    general: Sequence[Row]
    tokens_per_byte: dict[str, float]
    counts: dict[str, Any]
    data: Any

    def learning(self, model: Any) -> Learning:
        """Return how rows become batches for a loaded model, and their loss."""
        found: Learning = objectives.named(self.objective).learning(model, self.tokenizer, self.data)
        return found

    def visited(self, training: Training, processes: int) -> tuple[Training, Sequence[Row]]:
        """Return the rows as often as training visits them, each time with other noise, and what it is told then.

        Rows without noise stay as they are.
        """
        from finetune.training.arguments import planned_steps
        from recipes.launch import world

        if not isinstance(self.train, Visits) or not self.train:
            return training, self.train
        processes = max(processes, world())
        steps = planned_steps(training, len(self.train), processes)
        each = training.per_device_train_batch_size * training.gradient_accumulation_steps * processes
        visits = max(1, math.ceil(steps * each / len(self.train)))
        rows = Visits(self.train.rows, self.train.noise, self.train.key[0], visits=visits)
        return training.model_copy(update={"max_steps": steps}), rows


def read(recipe: Recipe, tokenizer: Any, left_out: Counter[str] | None = None, *, validate: bool = True) -> Corpus:
    """Read a recipe's documents; count in `left_out` those that are not used.

    Raises:
        UserError: a row has no text, or the tokenizer does not go with the objective.
    """
    left_out = Counter() if left_out is None else left_out
    name = objective_of(recipe)
    chosen, data, seed = objectives.named(name), recipe.data, recipe.seed
    noise = chosen.view(data, tokenizer)
    end = masked_tokens.ends(tokenizer)[1] if name == "masked_tokens" else tokenizer.eos_token_id

    def texts(path: str | None) -> documents.Documents | None:
        return documents.read(path, tokenizer, data.text_of, end, left_out) if path else None

    def rows(found: documents.Documents | None) -> Sequence[Row]:
        return chosen.rows(found, data, tokenizer, seed) if found else ()

    plain = _with_replay(rows(texts(data.train_file)), rows(texts(data.replay_file)), data.replay_share, seed)
    counts: dict[str, Any] = {"objective": name, "train_tokens": token_count(plain)}
    held_out = {"": texts(data.validation_file), "general_": texts(data.general_validation_file)} if validate else {}
    checks = {key: _fixed(rows(found), noise, seed) for key, found in held_out.items()}
    per_byte = {key: found.tokens_per_byte() for key, found in held_out.items() if found and name == "next_token"}
    counts["left_out"] = dict(left_out)
    train = plain if noise is None else Visits(plain, noise, seed)
    return Corpus(name, tokenizer, train, checks.get("", ()), checks.get("general_", ()), per_byte, counts, data)


def objective_of(recipe: Recipe) -> str:
    """Return the objective that is written, or that of the model's family."""
    if recipe.data.objective != "auto":
        return recipe.data.objective
    from finetune.classification.preparing import family_from

    return objectives.BY_FAMILY[family_from(recipe.model)]


def _fixed(rows: Sequence[Row], noise: Any, seed: int) -> Sequence[Row]:
    """Return rows with noise that is the same in every validation."""
    return rows if noise is None else Visits(rows, noise, seed, stream=HELD_OUT)


def _with_replay(rows: Sequence[Row], replay: Sequence[Row], share: float, seed: int) -> Sequence[Row]:
    """Return rows with others strewn in, so that they are `share` of all."""
    from data_prep.tokens.packed_rows import Chosen, Joined

    if not replay or share == 0:
        return rows
    wanted = round(len(rows) * share / (1 - share))
    chooser = random.Random(seed)
    return Joined(rows, Chosen(replay, [chooser.randrange(len(replay)) for _ in range(wanted)]))


def token_count(rows: Sequence[Row]) -> int:
    """Return how many tokens rows hold together."""
    from finetune.packing import token_count as packed_count

    return packed_count(rows)


@dataclass
class Validation:
    """Measures held-out text with the loss of training, and general text along with it."""

    texts: Corpus
    learning: Learning
    batch_size: int
    bits: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.bits = {key: per_byte / math.log(2) for key, per_byte in self.texts.tokens_per_byte.items()}

    def loss(self, model: Any, batch: Batch) -> tuple[Any, dict[str, Any]]:
        """Return the loss, and in validation bits per byte beside it."""
        total, extra = self.learning.loss(model, batch)
        if "" in self.bits and not model.training:
            extra = {**extra, "bits_per_byte": total.detach() * self.bits[""]}
        return total, extra

    def score(self, model: Any) -> dict[str, float]:
        """Return the measures of general text."""
        return self._of(model, self.texts.general, "general_")

    def before(self, model: Any) -> dict[str, float]:
        """Return the measures of the model as it is before its first step."""
        found = {**self._of(model, self.texts.validation, ""), **self._of(model, self.texts.general, "general_")}
        return {f"before_{name}": value for name, value in found.items()}

    def _of(self, model: Any, rows: Sequence[Row], key: str) -> dict[str, float]:
        if not rows:
            return {}
        value = mean_loss(model, rows, self.learning, self.batch_size)
        found = {f"{key}loss": value}
        return found | ({f"{key}bits_per_byte": value * self.bits[key]} if key in self.bits else {})


def mean_loss(model: Any, rows: Sequence[Row], learning: Learning, batch_size: int) -> float:
    """Return the mean loss of rows over what counts in them, in nats."""
    import torch

    device = next(model.parameters()).device
    was_training, total, count = model.training, 0.0, 0.0
    model.eval()
    with torch.no_grad():
        for start in range(0, len(rows), batch_size):
            batch = learning.collate([rows[index] for index in range(start, min(start + batch_size, len(rows)))])
            batch = {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}
            total += float(learning.loss(model, batch)[0])
            count += float(batch["count"])
    model.train(was_training)
    return total / max(1.0, count)


def sample(number: int, row: Row) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and a mask of what is learned of a row: what is told or written is shown apart."""
    ids = row["input_ids"].tolist()
    if "labels" not in row:
        starts = {int(start) for start in row.get("starts", [0])}
        return [(f"row {number}", ids, [int(place not in starts) for place in range(len(ids))])]
    labels = row["labels"].tolist()
    if len(labels) == len(ids) and masked_tokens.LEFT_OUT in labels:
        hidden = [label != masked_tokens.LEFT_OUT for label in labels]
        whole = [label if bit else token for token, label, bit in zip(ids, labels, hidden, strict=True)]
        return [(f"row {number}, read", ids, [0] * len(ids)), (f"row {number}, told", whole, list(map(int, hidden)))]
    return [(f"row {number}, read", ids, [0] * len(ids)), (f"row {number}, written", labels, [1] * len(labels))]
