"""What `stage: tokens` adds to the tokenizers library's own batch encoding, in CPU seconds, on the same texts.

    python -m benchmarks.tokenise_vs_tokenizers FILE.jsonl [--tokenizer FOLDER] [--rounds 5]

The library's side gets texts that are in memory and does nothing with what it returns: `encode_batch` and, without
offsets, `encode_batch_fast`. Our side reads and parses the file, encodes, counts words, bytes and unknown tokens, and
writes ids, ends and names to disk. Sides alternate within a round; medians are compared. All in one thread.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from data_prep.tokens import row_ranges, token_shards, tokenization

BATCH = 512


def main() -> None:
    """Print medians, spread and ratios."""
    command = argparse.ArgumentParser()
    command.add_argument("file")
    command.add_argument("--tokenizer", default="recipes/base/tuneloop-base-4m")
    command.add_argument("--rounds", type=int, default=5)
    parsed = command.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "texts.jsonl"
        found = Path(parsed.file).read_bytes()
        plain.write_bytes(gzip.decompress(found) if parsed.file.endswith(".gz") else found)
        compare(plain, parsed.tokenizer, parsed.rounds, Path(folder))


def compare(plain: Path, tokenizer: str, rounds: int, folder: Path) -> None:
    """Time all sides in turn."""
    with plain.open(encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for line in stream]
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    loaded = tokenization.load(tokenizer)
    eos = tokenization.eos_of(loaded, tokenizer)[1]
    pieces = row_ranges.ranges([str(plain)])

    def library(encode: Callable[..., object]) -> None:
        for start in range(0, len(texts), BATCH):
            encode(texts[start : start + BATCH], add_special_tokens=False)

    def ours() -> None:
        for number, piece in enumerate(pieces):
            token_shards.write_shard(piece, str(folder / f"shard-{number}"), tokenizer, eos, "text", "id", 10**8)

    sides: dict[str, Callable[[], None]] = {
        "encode_batch": lambda: library(loaded.encode_batch),
        "encode_batch_fast": lambda: library(loaded.encode_batch_fast),
        "stage: tokens": ours,
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            started = time.process_time()
            side()
            if number:  # the first round warms up
                seconds[name].append(time.process_time() - started)
    print(f"{len(texts):,} documents, {megabytes:.1f} MB, {rounds} rounds after one to warm up; CPU seconds")
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        ratio = ", ".join(f"{medians[name] / medians[other]:.2f} x {other}" for other in sides if other != name)
        print(f"{name:18} {medians[name]:.2f} ({min(values):.2f} to {max(values):.2f}), "
              f"{megabytes / medians[name]:.2f} MB/s; {ratio}")  # fmt: skip


if __name__ == "__main__":
    main()
