"""Merge: an adapter into its base, or several adapters or models into one.

One adapter is added to its base in float32, and the result is only published when its logits are those of the adapter
on its base (adapter.py). Several are combined as whole weights, tensor by tensor (streaming.py): adapters of one base
are each merged into it first, in the work folder, so that every kind of adapter can be combined with any other. What
comes out is one whole model with tokenizer, chat template, generation settings and a model card; no pickles, and the
base stays as it is. Leaves out: learned prompts (no weights could do what they do), and models of unequal shape.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from finetune import model_card
from finetune.model_card import Card
from recipes.sections import Fault, InputPath, ModelRef, Section, StageRecipe, shipped

TASK_VECTORS = ("task_arithmetic", "ties", "dare_linear", "dare_ties")
PRUNING = ("ties", "dare_linear", "dare_ties")
Method = Literal["linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def _size(value: str) -> str:
    """Refuse what is no size of a file."""
    from finetune.merging import checkpoint

    try:
        checkpoint.size_in_bytes(value)
    except ValueError as error:
        raise PydanticCustomError("mistake", "{what}", {"what": str(error), "write": "write 5GB, say"}) from None
    return value


ShardSize = Annotated[str, AfterValidator(_size)]


class Source(Section):
    """One model, and how much of it."""

    model_name_or_path: ModelRef
    weight: float | None = Field(None, ge=-10, le=10, description="Absent: equal shares, or 1 for task vectors.")


class Check(Section):
    """On which texts the result is compared, and how far it may differ."""

    file: InputPath | None = Field(None, description="JSONL with text, prompt or messages. Absent: a few sentences.")
    tolerance: float | None = Field(
        None, gt=0, le=1, description="Largest difference of stored logits, as a share of the largest logit."
    )


class Recipe(StageRecipe):
    """Merge adapters or models."""

    stage: Literal["merge"] = "merge"
    models: list[Source] = Field(min_length=1)
    method: Method | None = Field(None, description="For two or more models.")
    base_model_name_or_path: ModelRef | None = Field(None, description="What whole models have in common.")
    density: float | None = Field(None, gt=0, le=1, description="Share of each difference that TIES and DARE keep.")
    t: float | None = Field(None, ge=0, le=1, description="SLERP: 0 is the first model, 1 the second.")
    tokenizer: ModelRef | None = Field(None, description="Whose chat template the result has, where they differ.")
    dtype: Dtype = Field("auto", description="How the result is stored; auto: as the base is.")
    max_shard_size: ShardSize = "5GB"
    check: Check = Field(default_factory=Check)
    card: Card = Field(default_factory=Card)

    def faults(self) -> list[Fault]:
        """Refuse models that do not belong together, and keys that the method does not have."""
        from finetune.merging import sources

        named: list[Any] = [
            (("models", index, "model_name_or_path"), source.model_name_or_path)
            for index, source in enumerate(self.models)
        ]
        base = self.base_model_name_or_path
        based: Any = (("base_model_name_or_path",), base) if base and shipped(base).is_dir() else None
        adapters = [sources.is_adapter(ref) for _, ref in named if shipped(ref).is_dir()]
        return [
            *self._method_faults(),
            *self._base_faults(adapters),
            *self._weight_faults(bool(adapters) and all(adapters)),
            *sources.faults(named, based, one_tokenizer=self.tokenizer is None),
            *model_card.faults(self.card),
        ]

    def _method_faults(self) -> list[Fault]:
        several, found = len(self.models) > 1, []
        if several and self.method is None:
            write = "write method: linear, slerp, task_arithmetic, ties, dare_linear or dare_ties"
            found.append(Fault(("models",), f"{len(self.models)} models and no method to combine them", write))
        if not several and self.method is not None:
            what = f"{self.method} combines two or more models, and there is one"
            found.append(Fault(("method",), what, "add another model, or leave method out to merge one adapter"))
        if several and self.method == "slerp" and len(self.models) != 2:
            found.append(Fault(("models",), f"slerp with {len(self.models)} models", "write two models"))
        for key, methods in (("density", PRUNING), ("t", ("slerp",))):
            if getattr(self, key) is not None and self.method not in methods:
                write = f"leave it out, or write method: {methods[0]}"
                found.append(Fault((key,), f"{self.method or 'one adapter'} has no {key}", write))
        if self.method in PRUNING and self.density is None:
            found.append(Fault(("method",), f"{self.method} without density", "write density: 0.5, say"))
        return found

    def _base_faults(self, adapters: list[bool]) -> list[Fault]:
        key = ("base_model_name_or_path",)
        if any(adapters) and self.base_model_name_or_path:
            return [Fault(key, "adapters know their base", "leave it out")]
        if adapters == [False] and len(self.models) == 1:
            what = f"{self.models[0].model_name_or_path} is a whole model: there is no adapter to merge"
            return [Fault(("models", 0, "model_name_or_path"), what, "name an adapter, or use `stage: export`")]
        if adapters and not any(adapters):
            if self.method in TASK_VECTORS and not self.base_model_name_or_path:
                return [Fault(("method",), f"{self.method} of whole models without their base", f"write {key[0]}:")]
            if self.method in ("linear", "slerp") and self.base_model_name_or_path:
                return [Fault(key, f"{self.method} needs no base", "leave it out")]
        return []

    def _weight_faults(self, adapters: bool) -> list[Fault]:
        given = [source.weight for source in self.models]
        if not any(weight is not None for weight in given):
            return []
        if len(given) == 1 or self.method == "slerp":
            said = "slerp goes by t" if self.method == "slerp" else "one adapter is merged whole"
            return [Fault(("models", 0, "weight"), said, "leave weight out")]
        if None in given:
            what = "some models have a weight and some have none"
            return [Fault(("models", given.index(None)), what, "write weight for each, or for none")]
        total = sum(weight or 0.0 for weight in given)
        if self.method == "linear" and not adapters and abs(total - 1) > 1e-6:
            what = f"the weights of whole models sum to {total:g}"
            return [Fault(("models",), what, "write weights that sum to 1: the result is their average")]
        if not total > 0 and self.method != "linear":
            return [Fault(("models",), f"the weights sum to {total:g}", "write weights whose sum is positive")]
        return []

    def weights(self) -> list[float]:
        """Return how much of each model is taken."""
        share = 1 / len(self.models) if self.method == "linear" else 1.0
        return [share if source.weight is None else source.weight for source in self.models]


def run(recipe: Recipe) -> None:
    """Merge; write a whole model."""
    from finetune.merging import adapter, checkpoint, combination
    from recipes import artifact

    with artifact.writing(recipe) as work:
        limit = checkpoint.size_in_bytes(recipe.max_shard_size)
        if len(recipe.models) == 1:
            ref = recipe.models[0].model_name_or_path
            merged = adapter.merge(
                ref, work.path, dtype=recipe.dtype, limit=limit, texts=recipe.check.file,
                tolerance=recipe.check.tolerance,
            )  # fmt: skip
            work.metrics |= merged.metrics() | {"dtype": merged.dtype}
        else:
            work.metrics |= combination.run(recipe, work.path, work.scratch, limit)
        model_card.write(recipe, work)
