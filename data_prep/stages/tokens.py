"""`stage: tokens`: documents -> token ids on disk, once for every length that training may want.

Shards are pieces of the input files (`engine.shard_bytes`), so the same bytes come out of any number of workers, and a
run that was killed goes on at the first shard that is not whole. Training cuts its rows from the shards through memory
maps: `stage: cpt` takes this folder as `data.train_file`, whatever its `max_length` or `packing`.

Into `output_dir`: `shard-*.bin`, `.ends.npy`, `.documents.jsonl` and `tokens.json` (data_prep/tokens/token_shards.py).
Left out: conversations, whose loss mask comes with the chat template at training (finetune/chat.py).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, ClassVar, Literal

from pydantic import Field

from data_prep.engine.section import Engine
from data_prep.tokens.row_ranges import LONGEST_TEXT
from recipes.errors import UserError
from recipes.sections import Fault, InputPath, StageRecipe


class Recipe(StageRecipe):
    """What to tokenise, and with what."""

    # Not engine.shard_bytes, which says where one shard ends.
    cosmetic: ClassVar[frozenset[str]] = frozenset({"output_dir", "engine.workers", "engine.scheduler"})

    stage: Literal["tokens"] = "tokens"
    inputs: list[InputPath] = Field(
        min_length=1, description="JSON lines, or folders with them; of a corpus its training side."
    )
    tokenizer: InputPath = Field(
        description="A folder with tokenizer.json (a model, a `stage: tokenizer`), or the file."
    )
    eos_token: str | None = Field(None, description="Ends each document; by default the tokenizer's own.")
    text_column: str = "text"
    id_column: str = "id"
    max_document_length: int = Field(
        LONGEST_TEXT, ge=1, description="Letters; longer documents are left out, counted. 125 bytes of memory for each."
    )
    engine: Engine = Engine()

    def faults(self) -> list[Fault]:
        """Refuse a tokenizer without a file or an end, and files whose first row has no text."""
        from data_prep.tokens import row_ranges, tokenization

        found = tokenization.faults(("tokenizer",), self.tokenizer, self.eos_token)
        for index, path in enumerate(self.inputs):
            wrong = row_ranges.faults(("inputs", index), path)
            found += wrong or row_ranges.first_row_faults(("inputs", index), path, self.text_column)
        return found


def run(recipe: Recipe) -> None:
    """Tokenise."""
    from data_prep.engine import phases, workers
    from data_prep.engine.progress import Progress
    from data_prep.tokens import row_ranges, token_shards, tokenization
    from recipes import artifact

    with artifact.writing(recipe) as work:
        for left in work.path.glob(".*.partial"):  # by a run that was killed
            left.unlink()
        tokenizer = tokenization.load(recipe.tokenizer)
        eos_token, eos = tokenization.eos_of(tokenizer, recipe.tokenizer, recipe.eos_token)
        pieces = row_ranges.ranges(
            (file for path in recipe.inputs for file in row_ranges.files_of(path)), recipe.engine.shard_bytes
        )
        names = [f"shard-{index:05d}" for index in range(len(pieces))]
        file = str(tokenization.file_of(recipe.tokenizer).resolve())
        columns = (recipe.text_column, recipe.id_column, recipe.max_document_length)
        tasks = [
            phases.Task(name, token_shards.write_shard,
                        (piece, str(work.path / name), file, eos, *columns), piece.size)
            for name, piece in zip(names, pieces, strict=True)
        ]  # fmt: skip
        scratch = work.scratch / "tokens"
        with workers.opened(recipe.engine.workers, recipe.engine.scheduler, scratch) as opened:
            results = phases.Phases(scratch, opened, Progress()).run("tokenise", tasks, "tokenise")
        index = _index(tokenizer, eos_token, eos, names, results)
        if not index["documents"]:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in index["left_out"].items())
            raise UserError(", ".join(recipe.inputs), f"no document to tokenise ({reasons})", "files with texts")
        (work.path / token_shards.INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        work.metrics.update({name: value for name, value in index.items() if name not in NOT_METRICS})
        print(_said(index))


NOT_METRICS = ("format", "shards", "sources", "dtype", "fingerprint", "eos_token", "eos_id")
SHOWN = 10  # sources in the terminal


def _index(tokenizer: Any, eos_token: str, eos: int, names: list[str], results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what tokens.json says."""
    from data_prep.tokens import token_shards, tokenization

    total: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for result in results:
        total.update({name: value for name, value in result.items() if isinstance(value, int)})
        left_out.update(result["left_out"])
        sources.update(result["sources"])
    return {
        "format": token_shards.FORMAT,
        "dtype": tokenization.Encoder.of(tokenizer).dtype,
        "fingerprint": tokenization.fingerprint(tokenizer),
        "vocabulary": tokenizer.get_vocab_size(with_added_tokens=True),
        "eos_token": eos_token,
        "eos_id": eos,
        "documents": total["documents"],
        "tokens": total["tokens"],
        "eos_tokens": total["documents"],
        "unknown_tokens": total["unknown"],
        "words": total["words"],
        "bytes": total["bytes"],
        "tokens_per_word": round(total["tokens"] / max(1, total["words"]), 4),
        "bytes_per_token": round(total["bytes"] / max(1, total["tokens"]), 4),
        "left_out": dict(sorted(left_out.items())),
        "sources": dict(sorted(sources.items(), key=lambda pair: (-pair[1], pair[0]))),
        "shards": [
            {"name": name, "documents": result["documents"], "tokens": result["tokens"] + result["documents"]}
            for name, result in zip(names, results, strict=True)
        ],
    }


def _said(index: dict[str, Any]) -> str:
    text = (
        f"{index['documents']:,} documents, {index['tokens']:,} tokens and {index['eos_tokens']:,} ends of text "
        f"({index['tokens_per_word']:.2f} tokens a word, {index['bytes_per_token']:.2f} bytes a token)"
    )
    left = ", ".join(f"{count:,} x {reason}" for reason, count in index["left_out"].items())
    rows = [f"  {source or 'no source':<40} {tokens:>15,} tokens" for source, tokens in _largest(index["sources"])]
    return "\n".join([f"{text}; left out: {left or 'nothing'}", *rows])


def _largest(sources: dict[str, int]) -> list[tuple[str, int]]:
    """Return the sources to show, largest first; what is beyond `SHOWN` as one."""
    listed = list(sources.items())
    rest = sum(tokens for _, tokens in listed[SHOWN:])
    return listed[:SHOWN] + ([(f"{len(listed) - SHOWN} more", rest)] if rest else [])
