"""Sequence to sequence: translation, summaries, data to text, with an encoder-decoder (T5- or BART-like) or a decoder.

An encoder-decoder reads `source_prefix` and the source, and learns to write the target. A decoder learns the same as a
conversation through its chat template (`model.chat_template` names one). Each validation measures the loss, and
metrics of eval/metrics on targets that the model writes itself; a source's several targets are all references.
Sources that are too long are cut and counted; targets that are too long are left out and counted. Leaves out: models
that are told languages by codes (mBART, NLLB), minimum Bayes risk decoding.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

from pydantic import Field

from finetune import documents, families, first_rows, reported, seq2seq
from recipes.sections import Fault, InputPath, Launch, Lora, Model, Section, StageRecipe, Training

WRITTEN = "written.jsonl"


class Data(Section):
    """JSONL rows with `source` and `target`."""

    train_file: InputPath
    validation_file: InputPath | None = None
    source_prefix: str = Field("", description="Put before each source, as in `summarize: `.")
    max_source_length: int = Field(512, ge=8, description="Longer sources are cut at their end, and counted.")
    max_target_length: int = Field(128, ge=4, description="Pairs with longer targets are left out, and counted.")

    @property
    def max_length(self) -> int:
        """Return the most tokens of a row, for estimates."""
        return self.max_source_length + self.max_target_length


class Writing(Section):
    """How targets are written in a validation; the names are those of transformers' `GenerationConfig`."""

    metrics: list[str] = Field(["bleu"], description="Names of eval/metrics that compare texts.")
    samples: int = Field(200, ge=0, description="So many validation sources are written; 0: only the loss is measured.")
    num_beams: int = Field(1, ge=1)
    length_penalty: float = 1.0
    no_repeat_ngram_size: int = Field(0, ge=0)


class Recipe(StageRecipe):
    """Learning to write targets for sources."""

    stage: Literal["seq2seq"] = "seq2seq"
    model: Model
    adapter: Lora | None = None
    data: Data
    generation: Writing = Field(default_factory=Writing)
    training: Training
    launch: Launch = Field(default_factory=Launch)

    def faults(self) -> list[Fault]:
        """Refuse files without pairs, encoders, beams for decoders, metrics that compare no texts."""
        files = first_rows.files_of(self.data)
        model = self.model.model_name_or_path
        return [
            *first_rows.faults(files, seq2seq.pair),
            *families.faults(
                ("model", "model_name_or_path"), model, ("encoder_decoder", "decoder"), "an encoder writes nothing",
                "name an encoder-decoder or a decoder",
            ),
            *families.head_faults(model),
            *documents.context_faults(("data", "max_source_length"), self.data.max_source_length, model),
            *self._room_faults(),
            *self._writing_faults(),
            *reported.faults(
                self.training, ["loss", "accuracy", *(self.generation.metrics if self.generation.samples else ())]
            ),
        ]  # fmt: skip

    def _room_faults(self) -> list[Fault]:
        """Refuse lengths that a decoder, which reads source and target in a row, has no room for together."""
        config = families.config_of(self.model.model_name_or_path)
        context = families.context_of(config) if config else None
        source, target = self.data.max_source_length, self.data.max_target_length
        if config is None or context is None or families.family_of(config) != "decoder" or source > context:
            return []  # unknown, apart, or told already
        if source + target <= context:
            return []
        what = f"{source} and max_target_length {target} are more than the model's context of {context} tokens"
        return [Fault(("data", "max_source_length"), what, f"at most {context} in all, and a few for the template")]

    def _writing_faults(self) -> list[Fault]:
        from finetune.training import selection

        how, config = self.generation, families.config_of(self.model.model_name_or_path)
        found = selection.faults(("generation", "metrics"), how.metrics)
        known = [name for name in how.metrics if selection.is_metric(name)]
        if odd := [name for name in known if not selection.compares_texts(name)]:
            write = "write bleu, token_f1 or another metric of texts"
            found.append(Fault(("generation", "metrics"), f"{', '.join(odd)} compares no texts", write))
        if config is not None and families.family_of(config) == "decoder":
            own = [
                name for name in ("num_beams", "length_penalty", "no_repeat_ngram_size") if name in how.model_fields_set
            ]
            what = "a decoder writes its first choice at each step"
            found += [Fault(("generation", name), what, "leave it out") for name in own]
        return found


def run(recipe: Recipe) -> None:
    """Train on pairs; write a whole model, or an adapter."""
    from transformers import set_seed

    from finetune import chat, models
    from finetune.classification.preparing import family_from
    from finetune.training.loop import fit
    from recipes import artifact

    with artifact.writing(recipe) as work:
        set_seed(recipe.seed)
        left_out: Counter[str] = Counter()
        family = family_from(recipe.model)
        encoder = seq2seq.Encoder(models.tokenizer_of(recipe.model), family, recipe.data)
        if family == "decoder":
            chat.require_end(encoder.tokenizer)
        train = encoder.rows(seq2seq.read(recipe.data.train_file, left_out), left_out)
        pairs = seq2seq.read(recipe.data.validation_file, left_out)
        validation = encoder.rows(pairs, left_out)
        loaded = models.load_for(
            recipe.model, "seq2seq" if family == "encoder_decoder" else "causal", adapter=recipe.adapter
        )
        models.add_adapter(loaded, recipe.adapter)
        work.metrics |= {"train_pairs": len(train), "left_out": dict(left_out), "truncated": dict(encoder.cut)}
        check = seq2seq.Validation.of(pairs, encoder, recipe.generation, recipe.training.per_device_eval_batch_size)
        collate, loss = seq2seq.learning(loaded.model, loaded.tokenizer, family)
        work.metrics |= fit(
            loaded.model,
            recipe.training,
            train,
            validation,
            loss=loss,
            collate=collate,
            work=work,
            seed=recipe.seed,
            name="seq2seq",
            processes=recipe.launch.num_processes,
            by_length=True,
            score=check.score if check.targets else None,
        )
        if check.targets and (recipe.training.load_best_model_at_end or not check.written):
            check.score(loaded.model)  # the weights are not those of the last validation
        if recipe.adapter:
            work.notes["base"] = models.base_note(loaded.base, recipe.output_dir)
        if work.main:
            models.save(loaded.model, loaded.tokenizer, work.path)
            if family == "decoder":
                chat.save_ends(loaded.model, loaded.tokenizer, work.path)
            if check.targets:
                from data_prep.records import write_rows

                write_rows(work.path / WRITTEN, check.rows())


def samples(recipe: Recipe, tokenizer: Any, left_out: Counter[str]) -> list[tuple[str, list[int], list[int]]]:
    """Return title, ids and a mask of what is learned of each training row, for `tuneloop show`."""
    from finetune.classification.preparing import family_from

    encoder = seq2seq.Encoder(tokenizer, family_from(recipe.model), recipe.data)
    found = []
    for number, row in enumerate(encoder.rows(seq2seq.read(recipe.data.train_file, left_out), left_out), 1):
        if "mask" in row:
            found.append((f"pair {number}", row["input_ids"], row["mask"]))
        else:
            found.append((f"pair {number}, source", row["input_ids"], [0] * len(row["input_ids"])))
            found.append((f"pair {number}, target", row["labels"], [1] * len(row["labels"])))
    return found
