"""Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290).

The reference is the model that training starts from. Its log-probs of all pairs are computed once, before the first
step, when policy and reference are still the same weights: no second model, no second forward in a step. Leaves out:
the other losses of the family.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, Literal

from pydantic import Field

from finetune import families, first_rows
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training


class Data(Section):
    """Pairs: JSONL rows with `prompt`, `chosen`, `rejected` (lists of messages, or texts)."""

    train_file: InputPath
    validation_file: InputPath | None = None
    max_length: int = Field(1024, ge=16, description="Pairs with a longer answer are left out, and counted.")


class Method(Section):
    """What is DPO's own."""

    beta: float = Field(0.1, gt=0, description="How strongly the policy is held to the reference.")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="Share of pairs assumed to be labelled wrongly.")
    sft_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of the chosen answers' own loss, against chosen answers losing likelihood (RPO, "
        "https://arxiv.org/abs/2404.19733).",
    )


class Recipe(StageRecipe):
    """Direct preference optimisation."""

    stage: Literal["dpo"] = "dpo"
    model: Model
    adapter: Lora | None = None
    data: Data
    method: Method = Field(default_factory=Method)
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files whose first row is not a pair, and models that do not talk."""
        from finetune.stages.reward import preference

        files = first_rows.files_of(self.data)
        return [*first_rows.faults(files, preference), *families.talking_faults(self.model.model_name_or_path)]


def run(recipe: Recipe) -> None:
    """Train on pairs; write an adapter, or a whole model."""
    from transformers import set_seed

    from finetune import models
    from finetune.stages.reward import collate_pairs, pairs
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        tokenizer = models.tokenizer_of(recipe.model)
        left_out: Counter[str] = Counter()
        train = pairs(recipe.data, tokenizer, recipe.data.train_file, left_out)
        validation = pairs(recipe.data, tokenizer, recipe.data.validation_file, left_out)
        loaded = models.load_for(recipe.model, adapter=recipe.adapter)
        models.add_adapter(loaded, recipe.adapter)
        add_reference(loaded.model, train + validation, recipe.training.per_device_eval_batch_size)
        work.metrics["train_pairs"] = len(train)
        work.metrics["left_out"] = dict(left_out)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            train,
            validation,
            loss=partial(preference_loss, method=recipe.method),
            collate=collate_pairs,
            work=work,
            seed=recipe.seed,
            name="dpo",
            processes=recipe.launch.num_processes,
            by_length=True,
        )
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)


def preference_loss(model: Any, batch: dict[str, Any], *, method: Method) -> tuple[Any, dict[str, Any]]:
    """Summed DPO loss of a batch from `collate_pairs`, and sums of accuracy, margin and log ratios over its pairs."""
    from finetune.losses import dpo_loss

    policy = log_probs(model, batch)
    agreement = batch["agreement"] * (1 - method.label_smoothing) + (1 - batch["agreement"]) * method.label_smoothing
    loss, margins = dpo_loss(policy, batch["reference"], method.beta, agreement)
    if method.sft_weight:
        chosen_tokens = batch["labels"].chunk(2)[0][:, 1:].ne(-100).sum(1)
        loss = loss - method.sft_weight * (policy[0] / chosen_tokens).sum()
    change = (policy - batch["reference"]).detach().sum(1)
    return loss, {
        "accuracy": (margins > 0).sum(),
        "margin": margins.detach().sum(),
        # Both can fall while the margin grows: likelihood displacement, a known failure of DPO.
        "chosen_log_ratio": change[0],
        "rejected_log_ratio": change[1],
    }


def log_probs(model: Any, batch: dict[str, Any]) -> Any:
    """Return log p (2, B) of the chosen (row 0) and rejected (row 1) answers."""
    import torch

    from finetune.losses import sequence_log_probs

    logits = model(input_ids=batch["input_ids"], use_cache=False).logits
    return torch.stack(sequence_log_probs(logits, batch["labels"]).chunk(2))


def add_reference(model: Any, rows: list[dict[str, Any]], batch_size: int) -> None:
    """Put each pair's log-probs under the untrained policy, which is the reference, into its row as `reference`."""
    import torch

    from finetune.stages.reward import collate_pairs

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]["input_ids"]))
    with torch.no_grad():
        for start in range(0, len(order), batch_size):
            chunk = [rows[index] for index in order[start : start + batch_size]]
            batch = {name: value.to(device) for name, value in collate_pairs(chunk).items()}
            for row, values in zip(chunk, log_probs(model, batch).T.tolist(), strict=True):
                row["reference"] = values
    model.train(was_training)


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and a mask of the answer for both sides of each pair, for `tuneloop show`."""
    from finetune.stages import reward

    return reward.samples(recipe, tokenizer, left_out)
