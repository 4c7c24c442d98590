"""Reward model: a scalar head on a language model, trained on pairs of a better and a worse answer.

Bradley-Terry loss with margins and soft labels. The adapter goes on from the one of the model it starts from (the SFT
model, as in Stiennon et al. 2020, https://arxiv.org/abs/2009.01325), the head starts at zero. The reward is read at the
answer's end-of-turn token, where a policy's answer ends too. Leaves out: rankings of more than two, ensembles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from finetune import chat, first_rows
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Pairs: JSONL rows with `prompt`, `chosen`, `rejected` (lists of messages, or texts)."""

    train_file: InputPath
    validation_file: InputPath | None = None
    max_length: int = Field(1024, ge=16, description="Pairs with a longer answer are left out, and counted.")
    use_margin: bool = Field(False, description="Subtract the rows' `margin` (how much better) in the loss.")


class Recipe(StageRecipe):
    """Reward modelling."""

    stage: Literal["reward"] = "reward"
    model: Model
    adapter: Lora = Field(default_factory=Lora)
    data: Data
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row is not a pair."""
        files = first_rows.files_of(self.data)
        return first_rows.faults(files, preference)


def run(recipe: Recipe) -> None:
    """Train on pairs; write an adapter with its score head."""
    from transformers import set_seed

    from finetune import models, quantization
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = models.tokenizer_of(recipe.model)
        left_out: Counter[str] = Counter()
        train = pairs(recipe.data, tokenizer, recipe.data.train_file, left_out)
        validation = pairs(recipe.data, tokenizer, recipe.data.validation_file, left_out)
        loaded = models.load_reward_base(
            recipe.model.model_name_or_path,
            recipe.adapter,
            dtype=recipe.model.dtype,
            attn_implementation=recipe.model.attn_implementation,
            quantize=quantization.settings(recipe.model),
        )
        work.metrics["train_pairs"] = len(train)
        work.metrics["left_out"] = dict(left_out)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            train,
            validation,
            loss=pair_loss,
            collate=collate_pairs,
            work=work,
            seed=recipe.seed,
            name="reward",
            processes=recipe.launch.num_processes,
            by_length=True,
        )
        work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)


def pair_loss(model: Any, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Summed Bradley-Terry loss of a batch from `collate_pairs`, and how many pairs are ordered rightly."""
    from finetune.losses import bradley_terry_loss

    scores = score(model, batch["input_ids"], batch["last"])
    chosen, rejected = scores.chunk(2)
    loss = bradley_terry_loss(chosen, rejected, batch["margin"], batch["agreement"])
    return loss, {"accuracy": (chosen > rejected).sum(), "margin": (chosen - rejected).sum()}


def score(model: Any, ids: Any, last: Any) -> Any:
    """Return rewards (2B,) at each row's last token.

    The whole classifier is called, not its trunk, so that data parallelism sees the forward pass; each row's position
    is then picked from the per-token scores. (transformers would pick it from the pad id, which may also be EOS.)
    """
    import torch

    inner = model.module if hasattr(model, "module") else model
    classifier = inner.get_base_model() if hasattr(inner, "get_base_model") else inner
    kept: list[Any] = []
    hook = classifier.score.register_forward_hook(lambda module, inputs, output: kept.append(output))
    try:
        # An all-ones mask lets the classifier's own pooling pass; causal attention does not look at the padding.
        model(input_ids=ids, use_cache=False, attention_mask=torch.ones_like(ids))
    finally:
        hook.remove()
    return kept[0][torch.arange(len(last), device=ids.device), last, 0].float()


def samples(recipe: Any, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and a mask of the answer for both sides of each pair, for `tuneloop show`."""
    found = []
    for number, pair in enumerate(pairs(recipe.data, tokenizer, recipe.data.train_file, left_out), 1):
        for side in ("chosen", "rejected"):
            start, length = pair["prompt_length"], pair[f"{side}_length"]
            found.append((f"pair {number}, {side}", pair[side][:length], [0] * start + [1] * (length - start)))
    return found


def pairs(data: Any, tokenizer: Any, path: InputPath | None, left_out: Counter[str]) -> list[dict[str, Any]]:
    """Render a file's pairs to rows of chosen and rejected ids with masks; count in `left_out` what is not used."""
    from data_prep.records import numbered_rows

    found = []
    for number, row in numbered_rows(path) if path else ():
        prompt, chosen, rejected = preference(row, f"{path}:{number}")
        better, worse = (chat.render(tokenizer, prompt + answer) for answer in (chosen, rejected))
        start = len(chat.prompt_ids(tokenizer, prompt))
        if better.input_ids == worse.input_ids:
            left_out["chosen equals rejected"] += 1
        elif max(len(better.input_ids), len(worse.input_ids)) > data.max_length:
            left_out["longer than max_length"] += 1
        else:
            found.append(
                {
                    # `input_ids` is what rows are sorted by length on; both answers are kept apart.
                    "input_ids": better.input_ids if len(better.input_ids) > len(worse.input_ids) else worse.input_ids,
                    "chosen": better.input_ids,
                    "rejected": worse.input_ids,
                    "prompt_length": start,
                    "chosen_length": end_of_answer(better.mask),
                    "rejected_length": end_of_answer(worse.mask),
                    "margin": float(row.get("margin", 1.0)) if getattr(data, "use_margin", False) else 0.0,
                    "agreement": float(row.get("agreement", 1.0)),
                }
            )
    return found


def end_of_answer(mask: list[int]) -> int:
    """Return the length up to the last learned token: white space that a template writes behind it is left out."""
    return len(mask) - mask[::-1].index(1)


def preference(row: dict[str, Any], where: str) -> tuple[list[Any], list[Any], list[Any]]:
    """Return prompt, chosen and rejected of one row as lists of messages.

    Raises:
        UserError: a column is missing or has another shape.
    """
    from recipes.errors import UserError

    prompt, chosen, rejected = (
        chat.turns(row.get(name), role)
        for name, role in (("prompt", "user"), ("chosen", "assistant"), ("rejected", "assistant"))
    )
    if not prompt or not chosen or not rejected or {chosen[-1]["role"], rejected[-1]["role"]} != {"assistant"}:
        raise UserError(
            where,
            f"not a preference pair; the columns are {', '.join(row)}",
            'write rows like {"prompt": [messages], "chosen": [messages], "rejected": [messages]}',
        )
    for name, low, high in (("agreement", 0.0, 1.0), ("margin", -1e6, 1e6)):
        value = row.get(name, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise UserError(where, f"{name} is {value!r}", f"write a number from {low:g} to {high:g}, or leave it out")
    return prompt, chosen, rejected


def collate_pairs(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return ids (2B, T) of the chosen answers, then the rejected; labels with -100 outside the answers; last (2B,);
    margin, agreement and (where precomputed) reference log-probs; count = B pairs."""
    import torch

    sides = [
        (row[side], row["prompt_length"], row[f"{side}_length"]) for side in ("chosen", "rejected") for row in rows
    ]
    width = max(length for _, _, length in sides)
    ids = torch.zeros(len(sides), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    for index, (tokens, start, length) in enumerate(sides):
        ids[index, :length] = torch.tensor(tokens[:length])
        labels[index, start:length] = ids[index, start:length]
    batch = {
        "input_ids": ids,
        "labels": labels,
        "last": torch.tensor([length - 1 for _, _, length in sides]),
        "margin": torch.tensor([row["margin"] for row in rows]),
        "agreement": torch.tensor([row["agreement"] for row in rows]),
        "count": torch.tensor(len(rows)),
    }
    if "reference" in rows[0]:
        batch["reference"] = torch.tensor([row["reference"] for row in rows]).T.contiguous()
    return batch
