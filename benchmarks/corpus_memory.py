"""Peak memory of `stage: corpus` on two inputs that differ tenfold: it must not grow with the corpus.

    python benchmarks/corpus_memory.py [--megabytes 30 300] [--workers 1] [--shard-megabytes 8]

The text is made here: sentences of pseudo-words with the frequencies of English (Zipf), a template line in every
document, one in ten an exact copy of any earlier document and one in seven a near copy, e-mail addresses, and documents
that the filters drop. The recipe has a filter that must see the whole corpus (template lines), all judgements that need
no model, redaction, and both searches for duplicates, documents and paragraphs.

Printed: the largest process's peak resident memory and the peak of all processes together (sum of proportional set
sizes), with the CPU time; then the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from usage import Usage, measured

STOP_WORDS = ["the", "of", "and", "to", "a", "in", "that", "have", "with", "be"]
VOCABULARY = 60_000
TEMPLATE = "Sign up for our weekly letter and never miss a story."

RECIPE = """\
stage: corpus
output_dir: {output}
inputs: [{{path: {data}, name: data}}]
filters:
  encoding: {{}}
  unicode: {{}}
  whitespace: {{}}
  boilerplate: {{}}
  length: {{}}
  gopher_quality: {{}}
  gopher_repetition: {{}}
  fineweb_quality: {{}}
  personal_data: {{}}
deduplicate: {{paragraphs: {{}}}}
engine: {{workers: {workers}, shard_bytes: {shard_bytes}}}
"""


def vocabulary() -> tuple[list[str], np.ndarray]:
    """Return pseudo-words and the cumulated frequencies of Zipf's law."""
    chance = np.random.default_rng(1)
    letters = np.array(list("etaoinshrdlucmfwypvbg"))
    weights = 1 / np.arange(1, len(letters) + 1)
    words = ["".join(chance.choice(letters, size=chance.integers(3, 11), p=weights / weights.sum()))
             for _ in range(VOCABULARY)]  # fmt: skip
    shares = 1 / np.arange(1, VOCABULARY + len(STOP_WORDS) + 1)
    return STOP_WORDS + words, np.cumsum(shares / shares.sum())


def document(number: int, words: list[str], shares: np.ndarray) -> str:
    """Return the document of a number, without what was made before it: any document can be copied."""
    chance = np.random.default_rng(number)
    kind = chance.random()
    if number > 100 and kind < 0.10:
        return document(int(chance.integers(number)), words, shares)
    if number > 100 and kind < 0.24:
        pieces = document(int(chance.integers(number)), words, shares).split(" ")
        pieces[int(chance.integers(len(pieces)))] = words[int(chance.integers(len(words)))]
        return " ".join(pieces)
    paragraphs = [_paragraph(chance, words, shares) for _ in range(chance.integers(1, 12))]
    if kind > 0.97:
        paragraphs.append(f"Write to reader{number}@example.org for more of it.")
    if kind > 0.95:
        paragraphs = ["# # # # ... " * 10, *paragraphs[:1]]  # the filters drop it
    return "\n\n".join([*paragraphs, TEMPLATE])


def _paragraph(chance: np.random.Generator, words: list[str], shares: np.ndarray) -> str:
    found = []
    for _ in range(chance.integers(2, 8)):
        chosen = np.searchsorted(shares, chance.random(chance.integers(6, 25)))
        found.append(" ".join(words[index] for index in chosen).capitalize() + ".")
    return " ".join(found)


def write(folder: Path, megabytes: float) -> int:
    """Write so much text in files of 16 MB; return the number of documents."""
    words, shares = vocabulary()
    folder.mkdir(parents=True)
    number, left, file_number = 0, megabytes * 1e6, 0
    while left > 0:
        room = min(left, 16e6)
        with (folder / f"{file_number:05d}.jsonl").open("w") as file:
            while room > 0:
                room -= (size := file.write(json.dumps({"text": document(number, words, shares)}) + "\n"))
                left -= size
                number += 1
        file_number += 1
    return number


def made(folder: Path, megabytes: float, workers: int, shard_megabytes: float) -> tuple[Usage, dict[str, int]]:
    """Run the recipe; return its use of the machine and how many documents it read and kept."""
    write(folder / "data", megabytes)
    values = {"output": folder / "out", "data": folder / "data", "workers": workers,
              "shard_bytes": int(shard_megabytes * 2**20)}  # fmt: skip
    (folder / "recipe.yaml").write_text(RECIPE.format(**values))
    used = measured([[sys.executable, "-m", "data_prep", str(folder / "recipe.yaml")]])
    metrics = json.loads((folder / "out" / "manifest.json").read_text())["metrics"]
    return used, {name: metrics[name] for name in ("documents_read", "documents_kept")}


def main() -> None:
    """Measure each size, then say the ratios to the first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[30, 300])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shard-megabytes", type=float, default=8)
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(Path(__file__).parents[1]))
    found: list[Usage] = []
    with tempfile.TemporaryDirectory() as name:
        for megabytes in arguments.megabytes:
            folder = Path(name, f"{megabytes:g}")
            used, counts = made(folder, megabytes, arguments.workers, arguments.shard_megabytes)
            found.append(used)
            print(f"{megabytes:6g} MB: {counts['documents_read']:,} documents, {counts['documents_kept']:,} kept; "
                  f"largest process {used.largest:.0f} MB, together {used.together:.0f} MB; {used.cpu:.0f} CPU s, "
                  f"{megabytes / used.cpu:.2f} MB a CPU s", flush=True)  # fmt: skip
            ratio = used.largest / found[0].largest, used.together / found[0].together
            print(f"           {ratio[0]:.2f} and {ratio[1]:.2f} times the first", flush=True)


if __name__ == "__main__":
    main()
