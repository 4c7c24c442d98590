"""`stage: tokenizer`: a new byte-level BPE tokenizer, or an existing one with domain tokens added.

With `extend`, the vocabulary of a model grows by the tokens that save most on the domain's texts
(data_prep/tokens/vocabulary.py); ids, special tokens and chat template stay. `stage: cpt` takes the result as its
`tokenizer:` and makes the new embeddings. Without it, a tokenizer is learned from the texts (Sennrich et al. 2016,
https://arxiv.org/abs/1508.07909, on bytes, as GPT-2 does), for a base that is trained from scratch.

Into `output_dir`: tokenizer.json, tokenizer_config.json and what lies beside them; `new_tokens.json` when extending;
`fertility.json`: tokens a word, bytes a token, unknown tokens, before and after, on the texts learned from and on texts
held out. Left out: Unigram and WordPiece models.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from data_prep.tokens import mixing
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.tokens.vocabulary import NewToken

# As the embedded base has them.
SPECIAL_TOKENS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "added_tokens.json")
ONLY_NEW = ("vocab_size", "special_tokens", "eos_token", "pad_token", "chat_template")
ONLY_EXTENDING = ("new_tokens", "min_count")


class Recipe(StageRecipe):
    """What to learn from, and what to make of it."""

    stage: Literal["tokenizer"] = "tokenizer"
    inputs: list[InputPath] = Field(
        min_length=1, description="JSON lines, or folders with them; of a corpus its training side."
    )
    held_out: InputPath | None = Field(None, description="Texts to measure on that nothing is learned from.")
    text_column: str = "text"
    sample_letters: int = Field(
        500_000_000, ge=1000, description="Learn from about as many letters, taken evenly by a hash of the texts."
    )
    extend: InputPath | None = Field(None, description="The tokenizer to add tokens to; absent: a new one is learned.")
    new_tokens: int = Field(1000, ge=1, description="At most as many are added.")
    min_count: int = Field(50, ge=2, description="A token that saves less than this is not worth an embedding.")
    vocab_size: int = Field(32_000, ge=300)
    special_tokens: list[str] = Field(default_factory=lambda: list(SPECIAL_TOKENS))
    eos_token: str = "<|end|>"
    pad_token: str = "<|pad|>"
    chat_template: InputPath | None = Field(None, description="A Jinja file, for a new tokenizer.")

    def faults(self) -> list[Fault]:
        """Refuse keys of the other way, special tokens that are not there, and what cannot be read or extended."""
        from data_prep.tokens import row_ranges, tokenization

        others = ONLY_NEW if self.extend else ONLY_EXTENDING
        way = "a tokenizer that is extended keeps its own" if self.extend else "only `extend` adds tokens"
        found = [Fault((key,), f"{key} has no meaning here: {way}", "leave it out")
                 for key in others if key in self.model_fields_set]  # fmt: skip
        if self.extend:
            wrong = tokenization.faults(("extend",), self.extend, needs_eos=False)
            found += wrong or _not_bpe(self.extend)
        else:
            for key in ("eos_token", "pad_token"):
                if getattr(self, key) not in self.special_tokens:
                    found.append(
                        Fault((key,), f"{getattr(self, key)!r} is none of special_tokens", "name it there too")
                    )
        for index, path in enumerate(self.inputs):
            wrong = row_ranges.faults(("inputs", index), path)
            found += wrong or row_ranges.first_row_faults(("inputs", index), path, self.text_column)
        return found


def _not_bpe(path: str) -> list[Fault]:
    from data_prep.tokens import tokenization

    if not shipped(path).exists():
        return []
    model = json.loads(tokenization.file_of(path).read_text(encoding="utf-8"))["model"]
    kind = model.get("type")
    if kind != "BPE" or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        marked = " with marks inside its pieces" if kind == "BPE" else ""
        what = f"{path} is a {kind} tokenizer{marked}; only plain byte-pair vocabularies can be extended"
        return [Fault(("extend",), what, "leave `extend` out to learn a new one")]
    return []


def run(recipe: Recipe) -> None:
    """Learn or extend, and measure."""
    from recipes import artifact

    with artifact.writing(recipe) as work:
        share = _share(recipe)
        work.metrics["share_learned_from"] = round(share, 6)
        if recipe.extend:
            tokenizer = _extend(recipe, recipe.extend, work, share)
        else:
            tokenizer = _learn(recipe, work.path, share)
        _measure(recipe, tokenizer, work, share)


def _learn(recipe: Recipe, folder: Path, share: float) -> Any:
    """Write and return a new tokenizer; digits stand alone, as in the embedded base."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.vocab_size,
        special_tokens=recipe.special_tokens,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(recipe, share), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = [token for token in recipe.special_tokens if token not in (recipe.eos_token, recipe.pad_token)]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": recipe.eos_token,
        "pad_token": recipe.pad_token,
        "additional_special_tokens": roles,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    if recipe.chat_template:
        shutil.copyfile(shipped(recipe.chat_template), folder / "chat_template.jinja")
    return tokenizer


def _extend(recipe: Recipe, path: str, work: Any, share: float) -> Any:
    """Write and return the tokenizer with new tokens, and note what they are made of."""
    from tokenizers import Tokenizer

    from data_prep.tokens import tokenization, vocabulary

    old = tokenization.load(path)
    words = vocabulary.Words(old)
    tokens = sum(words.add(batch) for batch in _batches(_sample(recipe, share)))
    first = max(old.get_vocab(with_added_tokens=True).values()) + 1
    new = vocabulary.choose(words, recipe.new_tokens, recipe.min_count, first)
    if not new:
        what = f"no new token saves {recipe.min_count} of the {tokens:,} tokens of these texts"
        raise UserError("min_count", what, "a lower min_count, or more texts")
    file = tokenization.file_of(path)
    values = vocabulary.extended(json.loads(file.read_text(encoding="utf-8")), new)
    target = work.path / tokenization.TOKENIZER_FILE
    target.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for name in BESIDE:
        if file.with_name(name).is_file():
            shutil.copyfile(file.with_name(name), work.path / name)
    tokenizer = Tokenizer.from_file(str(target))
    _write_new(work.path, old, new)
    used = words.used()
    work.metrics |= {
        "new_tokens": len(new),
        "stepping_stones": sum(token.id not in used for token in new),
        "tokens_before": tokens,
        "tokens_saved": sum(token.saved for token in new),
    }
    return tokenizer


def _write_new(folder: Path, old: Any, new: list[NewToken]) -> None:
    from data_prep.tokens import tokenization, vocabulary

    rows = [
        {"token": token.token, "id": token.id, "pieces": token.pieces, "saved": token.saved,
         "was": [old.id_to_token(piece) for piece in token.pieces]}
        for token in new
    ]  # fmt: skip
    said = {"extends": tokenization.fingerprint(old), "tokens": rows}
    text = json.dumps(said, ensure_ascii=False, indent=1) + "\n"
    (folder / vocabulary.NEW_TOKENS).write_text(text, encoding="utf-8")


def _measure(recipe: Recipe, tokenizer: Any, work: Any, share: float) -> None:
    """Write fertility.json: the old tokenizer, if there is one, and the new one, on both sorts of texts."""
    from data_prep.tokens import fertility, tokenization

    sides: dict[str, Callable[[], Iterator[str]]] = {"inputs": lambda: _sample(recipe, share)}
    if held_out := recipe.held_out:
        sides["held_out"] = lambda: _texts([held_out], recipe.text_column)
    stages = {"after": tokenization.plain(tokenizer)}
    if recipe.extend:
        stages = {"before": tokenization.load(recipe.extend), **stages}
    said = {
        side: {when: fertility.measure(one, _batches(texts())) for when, one in stages.items()}
        for side, texts in sides.items()
    }
    (work.path / "fertility.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    work.metrics |= {"vocabulary": tokenizer.get_vocab_size(with_added_tokens=True), "fertility": said}
    for side, values in said.items():
        for when, counts in values.items():
            print(f"{side}, {when}: {counts['tokens_per_word']:.3f} tokens a word, "
                  f"{counts['bytes_per_token']:.3f} bytes a token, {counts['unknown_rate']:.4%} unknown")  # fmt: skip


def _texts(paths: Iterable[str], column: str) -> Iterator[str]:
    """Yield the texts of all files; rows without one, or with one too long for the library, are passed over."""
    from data_prep.tokens import row_ranges

    for piece in row_ranges.ranges(file for path in paths for file in row_ranges.files_of(path)):
        for _, row, _ in row_ranges.rows(piece):
            text = row.get(column) if row is not None else None
            if isinstance(text, str) and 0 < len(text) <= row_ranges.LONGEST_TEXT:
                yield text.encode("utf-8", "replace").decode()


def _share(recipe: Recipe) -> float:
    """Return which part of the texts to learn from.

    Raises:
        UserError: there is no text.
    """
    letters = sum(map(len, _texts(recipe.inputs, recipe.text_column)))
    if not letters:
        raise UserError(", ".join(recipe.inputs), "not one row with a text", "files with texts")
    return min(1.0, recipe.sample_letters / letters)


def _sample(recipe: Recipe, share: float) -> Iterator[str]:
    """Yield every text whose hash falls into the share."""
    for text in _texts(recipe.inputs, recipe.text_column):
        if share == 1.0 or mixing.key_of(recipe.seed, text) < share * 2**64:
            yield text


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    from data_prep.tokens import token_shards

    for batch in token_shards.batches((None, text) for text in texts):
        yield [text for _, text in batch]
