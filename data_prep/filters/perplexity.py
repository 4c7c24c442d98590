"""Drop documents that a named model finds too surprising, or too little so.

Wenzek et al. 2020, "CCNet: Extracting High Quality Monolingual Datasets from Web Crawl Data", section 4, with a model
of the user's choice: `scorer: module:function` is called with a text and `model`, and returns its perplexity. Two are
here:

- `data_prep.ngram_model:score` (the default): a byte n-gram model without torch; `model` is a file of good text like
  that to keep (.txt, .jsonl), or a model saved before. Perplexity per byte: about 4 for text like the
  reference, 7 to 12 for other English, 30 and more for another language or garbage.
- `finetune.perplexity_scorer:score`: a causal language model of transformers; `model` is its folder. Perplexity per
  token.

Perplexities of two models do not compare, so there is no published threshold: CCNet cuts at percentiles of its own
corpus. Run once without bounds: each document's `meta.perplexity` shows what is usual. A low perplexity is text that
repeats itself or is a template's; a short text's perplexity says little, so `min_characters` spares it.
"""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from data_prep import hooks
from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import InputPath, Section

ORDER = 75

KEY = "filters.perplexity.scorer"


class Settings(Section):
    """The model, and what is too much and too little."""

    model: InputPath = Field(description="What the scorer needs: a reference text or .npz; a model's folder.")
    scorer: hooks.Function = Field(
        default="data_prep.ngram_model:score", description="module:function of text and model; returns a perplexity."
    )
    min_perplexity: float | None = Field(default=None, gt=0)
    max_perplexity: float | None = Field(default=None, gt=0)
    min_characters: int = Field(default=100, ge=1, description="Shorter documents are measured, never dropped.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        low, high = self.min_perplexity, self.max_perplexity
        if low is not None and high is not None and low >= high:
            raise ValueError(f"min_perplexity {low:g} is not below max_perplexity {high:g}")
        return self


def build(settings: Settings) -> Check:
    """Return a check that notes each document's perplexity."""
    function = hooks.load(settings.scorer, KEY)
    model = str(settings.model)

    def check(document: Document) -> Drop | None:
        value = hooks.number(function, settings.scorer, KEY, document.text, model)
        if value == math.inf:
            return None  # too short for the model to say anything
        document.meta["perplexity"] = float(f"{value:.4g}")
        if len(document.text) < settings.min_characters:
            return None
        if settings.max_perplexity is not None and value > settings.max_perplexity:
            return Drop("high_perplexity", f"{value:.4g}, at most {settings.max_perplexity:g}")
        if settings.min_perplexity is not None and value < settings.min_perplexity:
            return Drop("low_perplexity", f"{value:.4g}, at least {settings.min_perplexity:g}")
        return None

    return check
