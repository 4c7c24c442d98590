"""Conversations to packed rows with labels: ours against TRL's tokenise-and-pack, CPU seconds of one thread.

    python benchmarks/training/data_path_vs_trl.py FILE.jsonl[.gz] ... [--rows 2000] [--rounds 3] [--max_length 1024]

Each FILE is measured by itself (of long and of short conversations, say) and has rows that `stage: sft` reads. Both
sides begin with the same JSON lines on disk and end with rows of at most max_length ids with labels. TRL's side is its
own preparation (`SFTTrainer._prepare_dataset`, assistant_only_loss, packing bfd) with one process and without its
cache. The sides alternate; medians. Every conversation's ids and labels are compared before packing. TRL's bfd cuts
what is longer than max_length, ours leaves it out: such rows are not given to either. `tokenise` leaves packing out on
both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ |= {
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}

Rows = list[tuple[list[int], list[int]]]  # ids, and labels (-100: does not count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--model", default="recipes/base/tuneloop-base-4m")
    parser.add_argument("--template", default="chatml")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max_length", type=int, default=1024)
    asked = parser.parse_args()
    tokenizer = tokenizer_of(asked.model, asked.template)
    for source in asked.files:
        compare(source, tokenizer, asked)


def compare(source: str, tokenizer: Any, asked: argparse.Namespace) -> None:
    """Print what both sides need for one file, tokenised alone and packed too."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.jsonl"
        count = prepare(source, file, tokenizer, asked.rows, asked.max_length)
        for packed in (False, True):
            sides = {
                "ours": ours(file, tokenizer, asked.max_length, packed),
                "trl": theirs(file, tokenizer, asked.max_length, packed, folder),
            }
            seconds, results = measure(sides, asked.rounds)
            tokens = sum(len(ids) for ids, _ in results["ours"])
            if not packed:
                same = sum(one == other for one, other in zip(results["ours"], results["trl"], strict=True))
                print(
                    f"{source}: {count} conversations, {tokens} tokens, load {os.getloadavg()[0]:.1f}; "
                    f"ids and labels equal in {same} of {count}",
                    flush=True,
                )
            name = "tokenise and pack" if packed else "tokenise"
            fill = {
                side: sum(len(ids) for ids, _ in rows) / len(rows) / asked.max_length for side, rows in results.items()
            }
            print(
                f"{name}: ours {seconds['ours']:.2f} CPU s, TRL {seconds['trl']:.2f} CPU s; "
                f"ratio {seconds['trl'] / seconds['ours']:.2f}; ours {tokens / seconds['ours']:.0f} tokens a CPU second"
                + (f"; fill {fill['ours']:.4f} and {fill['trl']:.4f}" if packed else "")
            )


def tokenizer_of(model: str, template: str) -> Any:
    """Return the tokenizer of a model, with the special tokens of a shipped template."""
    from finetune import chat_templates
    from finetune.models import load_tokenizer

    tokenizer = load_tokenizer(model)
    if missing := chat_templates.lacking(tokenizer, chat_templates.source(template)):
        tokenizer.add_special_tokens({"additional_special_tokens": missing})
    chat_templates.choose(tokenizer, template)
    return tokenizer


def prepare(source: str, target: Path, tokenizer: Any, most: int, max_length: int) -> int:
    """Write conversations that are short enough as messages; return how many."""
    from data_prep.records import numbered_rows
    from finetune import chat
    from finetune.conversations import conversation

    count = 0
    with target.open("w", encoding="utf-8") as stream:
        for number, row in numbered_rows(source):
            messages = conversation(row, f"{source}:{number}")
            if len(chat.render(tokenizer, messages).input_ids) <= max_length:
                stream.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
                count += 1
            if count == most:
                break
    return count


def ours(file: Path, tokenizer: Any, max_length: int, packed: bool) -> Callable[[], Any]:
    """Return our side."""
    from finetune import conversations, packing

    def side() -> Any:
        rows = conversations.rows(str(file), tokenizer, conversations.Settings(max_length))
        return packing.pack_conversations(rows, max_length) if packed else rows

    return side


def theirs(file: Path, tokenizer: Any, max_length: int, packed: bool, folder: str) -> Callable[[], Any]:
    """Return TRL's side: what its trainer does with a data set before it trains."""
    import datasets
    from trl import SFTConfig, SFTTrainer

    datasets.disable_progress_bars()
    datasets.disable_caching()
    args = SFTConfig(
        output_dir=folder, use_cpu=True, bf16=False, report_to="none", max_length=max_length, assistant_only_loss=True,
        packing=packed,
    )  # fmt: skip
    trainer = SFTTrainer.__new__(SFTTrainer)
    trainer.assistant_only_loss, trainer.completion_only_loss = True, False
    trainer.chat_template, trainer.padding_free = None, packed

    def side() -> Any:
        data = datasets.load_dataset(
            "json", data_files=str(file), split="train", cache_dir=tempfile.mkdtemp(dir=folder)
        )
        return trainer._prepare_dataset(data, tokenizer, args, packed, None, "train")

    return side


def measure(sides: dict[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], dict[str, Rows]]:
    """Return the median CPU seconds of each side, and what it makes."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    made: dict[str, Any] = {}
    for turn in range(rounds + 1):  # the first is not counted
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            made[name] = sides[name]()
            if turn:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}, {
        name: plain(rows) for name, rows in made.items()
    }


def plain(rows: Any) -> Rows:
    """Return ids and labels of rows as lists."""
    found = []
    for row in rows:
        ids = [int(token) for token in row["input_ids"]]
        labels = (
            row["labels"]
            if "labels" in row
            else [one if bit else -100 for one, bit in zip(ids, row["mask"], strict=True)]
        )
        found.append((ids, [int(label) for label in labels]))
    return found


if __name__ == "__main__":
    main()
