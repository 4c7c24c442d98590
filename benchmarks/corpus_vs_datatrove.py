"""`stage: corpus` against datatrove: the same documents, filters, MinHash parameters and tokenizer, in one run.

    python benchmarks/corpus_vs_datatrove.py DOCUMENTS.jsonl ... --datatrove-python VENV/bin/python
        [--megabytes 10] [--workers 1 2] [--tokenizer 16000] [--rounds 3]

DOCUMENTS are JSON lines (.gz too) with `text`; of all of them together a sample of `--megabytes` is taken and divided
into four files. Both sides read these, apply Gopher's quality and repetition rules, C4's and FineWeb's, replace e-mail
and IP addresses, remove duplicates (word 5-shingles, 14 bands of 8) and write what is left. With `--tokenizer N` a
byte-level BPE of N tokens is trained first, and each side then also writes token ids with an end after each document.

datatrove runs as its examples do it, in the interpreter named (`pip install "datatrove[processing,multilingual]"`):
filters and signatures in one reading, buckets, clusters, and the last filter, tokenizer included, in a second reading.
Ours are the recipes below, `stage: corpus` and `stage: tokens`.

Whole processes are measured, imports included: user and system seconds of all of them, the largest process's peak
memory, and the peak of all together (sum of proportional set sizes, looked at 10 times a second). Sides alternate;
medians, with the smallest and largest value. Then: documents kept, and the share of documents of which both sides
decide alike, by itself and with either of two copies counted as the kept one. datatrove takes two texts that share
a band for copies, without comparing them, and leaves any one of a chain. Ours compares; its threshold is set to 0.6,
where these bands find one pair in five. `--control` runs datatrove once more with other hash
functions and compares it with itself: no two programs can agree more often than that.

Blanks at the ends of lines are removed from the sample: datatrove takes lines of blanks for repeated lines.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from usage import Usage, measured

FILES = 4
SHINGLE, BANDS, ROWS, THRESHOLD = 5, 14, 8, 0.6
BLANKS = re.compile(r"[ \t\r\f\v]+$", re.MULTILINE)

RECIPE = """\
stage: corpus
output_dir: {output}/corpus
inputs: [{{path: {data}, name: documents}}]
filters:
  length: {{}}
  gopher_quality: {{words: tokens}}
  gopher_repetition: {{words: tokens}}
  c4_quality: {{}}
  fineweb_quality: {{char_duplicates_ratio: 0.01}}
  personal_data: {{kinds: [EMAIL, IP]}}
deduplicate: {{threshold: {threshold}, shingle: {shingle}, permutations: {permutations}, bands: {bands}, keep: first}}
split: {{validation: 0, test: 0}}
engine: {{workers: {workers}, shard_bytes: {shard_bytes}}}
"""

TOKENS = """\
stage: tokens
output_dir: {output}/tokens
inputs: [{output}/corpus/train.jsonl]
tokenizer: {tokenizer}
eos_token: <|endoftext|>
engine: {{workers: {workers}, shard_bytes: {shard_bytes}}}
"""


def ours(data: Path, output: Path, workers: int, tokenizer: Path | None, bytes_in: int) -> list[list[str]]:
    """Write the recipes; return the commands that run them."""
    values = {
        "data": data, "output": output, "workers": workers, "tokenizer": tokenizer, "threshold": THRESHOLD,
        "shingle": SHINGLE, "permutations": BANDS * ROWS, "bands": BANDS, "shard_bytes": max(2**16, bytes_in // FILES),
    }  # fmt: skip
    (output / "corpus.yaml").write_text(RECIPE.format(**values))
    (output / "tokens.yaml").write_text(TOKENS.format(**values))
    recipes = ["corpus.yaml", "tokens.yaml"] if tokenizer else ["corpus.yaml"]
    return [[sys.executable, "-m", "data_prep", str(output / name)] for name in recipes]


def datatrove(data: str, output: str, workers: int, tokenizer: str, seed: int) -> None:
    """Run datatrove's chain; called in its own interpreter."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.tokens import DocumentTokenizer
    from datatrove.pipeline.writers import JsonlWriter

    minhash = MinhashConfig(n_grams=SHINGLE, num_buckets=BANDS, hashes_per_bucket=ROWS, seed=seed)

    def run(steps: list[object], tasks: int) -> None:
        LocalPipelineExecutor(
            steps, tasks, min(workers, tasks), logging_dir=tempfile.mkdtemp(dir=Path(output).parent)
        ).run()

    first = [
        JsonlReader(data), GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter(),
        PIIFormatter(), JsonlWriter(f"{output}/filtered", compression=None),
        MinhashDedupSignature(f"{output}/signatures", minhash),
    ]  # fmt: skip
    run(first, FILES)
    run([MinhashDedupBuckets(f"{output}/signatures", f"{output}/buckets", config=minhash)], BANDS)
    run([MinhashDedupCluster(f"{output}/buckets", f"{output}/remove", config=minhash)], 1)
    last = [JsonlReader(f"{output}/filtered"), MinhashDedupFilter(f"{output}/remove"),
            JsonlWriter(f"{output}/kept", compression=None)]  # fmt: skip
    if tokenizer:
        last.append(DocumentTokenizer(f"{output}/tokens", f"{tokenizer}/tokenizer.json", eos_token="<|endoftext|>",
                                      shuffle_documents=False))  # fmt: skip
    run(last, FILES)


def sample(paths: Sequence[str], folder: Path, megabytes: float) -> tuple[int, int]:
    """Write a sample of all documents in four files; return documents and bytes of text."""
    texts = [BLANKS.sub("", text) for path in paths for text in _texts(path)]
    random.Random(0).shuffle(texts)
    chosen, size = [], 0
    for text in texts:
        if size >= megabytes * 1e6:
            break
        chosen.append(text)
        size += len(text.encode("utf-8", "replace"))
    folder.mkdir()
    for number in range(FILES):
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as file:
            for index in range(number, len(chosen), FILES):
                file.write(json.dumps({"id": f"{index:07d}", "text": chosen[index]}, ensure_ascii=False) + "\n")
    return len(chosen), size


def _texts(path: str) -> Iterator[str]:
    with gzip.open(path, "rt") if path.endswith(".gz") else open(path) as file:
        for line in file:
            yield json.loads(line)["text"]


def trained(data: Path, folder: Path, vocabulary: int) -> Path:
    """Train a byte-level BPE on the documents; return its folder."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    texts = [text for file in sorted(data.iterdir()) for text in _texts(str(file))]
    tokenizer.train_from_iterator(texts, vocabulary, special_tokens=["<|endoftext|>"], show_progress=False)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def ids(files: Iterable[Path]) -> set[str]:
    """Return the ids of the documents in files of JSON lines; as they are written."""
    found = set()
    for file in files:
        with file.open(encoding="utf-8") as stream:
            found.update(json.loads(line)["id"] for line in stream)
    return found


def _row(identity: str) -> str:
    """Return the sample's id of a document by our id, which names file and row."""
    file, _, row = identity.rpartition("#")
    return f"{(int(row) - 1) * FILES + int(Path(file).stem):07d}"


@dataclass
class Outcome:
    """What one side kept, what passed its filters, and why each other document went (ours only)."""

    kept: set[str]
    filtered: set[str]
    reasons: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)  # a copy that went -> the one that stayed


def our_outcome(corpus: Path) -> Outcome:
    """Read what `stage: corpus` wrote."""
    rows = [json.loads(line) for line in (corpus / "dropped.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = {_row(identity) for identity in ids([corpus / "train.jsonl"])}
    copies = {_row(row["id"]): _row(row["detail"].partition(" is ")[0]) for row in rows if row["step"] == "deduplicate"}
    reasons = {_row(row["id"]): f"{row['step']} {row['reason']}" for row in rows}
    return Outcome(kept, kept | set(copies), reasons, copies)


def their_outcome(output: Path) -> Outcome:
    """Read what datatrove wrote."""
    return Outcome(ids((output / "kept").glob("*.jsonl")), ids((output / "filtered").glob("*.jsonl")))


def compared(documents: int, left: Outcome, right: Outcome) -> list[str]:
    """Say how often both decide alike, and where not, by what dropped the document."""
    differ = left.kept ^ right.kept
    swapped: set[str] = set()
    for gone in sorted(differ & right.kept):
        stayed = left.twins.get(gone, "")
        if stayed in left.kept - right.kept - swapped:
            swapped |= {gone, stayed}
    where = Counter(
        f"only the first drops: {left.reasons.get(identity, '')}" if identity in right.kept
        else "only the second drops: " + ("copy" if identity in right.filtered else "filters")
        for identity in differ - swapped
    )  # fmt: skip
    lines = [f"kept {len(left.kept):,} and {len(right.kept):,} of {documents:,}; filters decide alike for "
             f"{1 - len(left.filtered ^ right.filtered) / documents:.2%}, all for {1 - len(differ) / documents:.2%}, "
             f"{1 - len(differ - swapped) / documents:.2%} with either copy"]  # fmt: skip
    return lines + [f"  {count:5} {reason}" for reason, count in where.most_common()]


def report(name: str, ours: list[Usage], theirs: list[Usage], documents: int) -> str:
    """Return a line for each side and the ratios."""
    lines = [f"{name}: medians of {len(ours)} rounds (smallest to largest)"]
    for side, used in (("ours", ours), ("datatrove", theirs)):
        cpu = sorted(usage.cpu for usage in used)
        lines.append(
            f"  {side:10} {statistics.median(cpu):7.1f} CPU s ({cpu[0]:.1f} to {cpu[-1]:.1f})  "
            f"{documents / statistics.median(cpu):8.1f} documents a CPU s  "
            f"{statistics.median(usage.seconds for usage in used):6.1f} s  largest process "
            f"{max(usage.largest for usage in used):6.0f} MB  together {max(usage.together for usage in used):6.0f} MB"
        )
    ratios = [statistics.median(getattr(usage, name) for usage in theirs) / statistics.median(
        getattr(usage, name) for usage in ours) for name in ("cpu", "seconds", "largest", "together")]  # fmt: skip
    lines.append("  datatrove / ours: CPU {:.1f}, time {:.1f}, largest process {:.1f}, together {:.1f}".format(*ratios))
    return "\n".join(lines)


def alternated(folder: Path, commands: dict[str, list[list[str]]], rounds: int) -> dict[str, list[Usage]]:
    """Measure both sides in turns; each writes into a folder of its name, emptied before."""
    found: dict[str, list[Usage]] = {side: [] for side in commands}
    for number in range(rounds):
        for side in list(commands) if number % 2 == 0 else list(reversed(commands)):
            for left in (folder / side).iterdir():
                if left.is_dir():
                    shutil.rmtree(left)
            found[side].append(measured(commands[side]))
    return found


def both(folder: Path, python: str, workers: int, tokenizer: Path | None, size: int) -> dict[str, list[list[str]]]:
    """Return the commands of both sides."""
    data = folder / "data"
    for side in ("ours", "datatrove", "control"):
        (folder / side).mkdir(exist_ok=True)
    theirs = [python, __file__, "--datatrove", str(data), str(folder / "datatrove"), str(workers), str(tokenizer or "")]
    return {"ours": ours(data, folder / "ours", workers, tokenizer, size), "datatrove": [[*theirs, "1"]]}


def control(folder: Path, python: str, documents: int) -> str:
    """Return how often datatrove decides as datatrove does with other hash functions."""
    measured([[python, __file__, "--datatrove", str(folder / "data"), str(folder / "control"), "2", "", "2"]])
    outcomes = their_outcome(folder / "datatrove"), their_outcome(folder / "control")
    return "datatrove and datatrove with another seed: " + compared(documents, *outcomes)[0]


def main() -> None:
    """Prepare the input, then measure without and with tokenising."""
    if sys.argv[1:2] == ["--datatrove"]:
        data, output, workers, tokenizer, seed = sys.argv[2:]
        datatrove(data, output, int(workers), tokenizer, int(seed))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--datatrove-python", required=True)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--tokenizer", type=int, default=0, help="tokens in the vocabulary; 0: without tokenising")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--control", action="store_true", help="datatrove against itself with another seed")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", PYTHONPATH=str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "data")
        documents, size = sample(arguments.documents, data, arguments.megabytes)
        print(f"{documents:,} documents, {size / 1e6:.1f} MB of text", flush=True)
        tokenizer = trained(data, Path(name, "tokenizer"), arguments.tokenizer) if arguments.tokenizer else None
        for workers in arguments.workers:
            commands = both(Path(name), arguments.datatrove_python, workers, tokenizer, size)
            used = alternated(Path(name), commands, arguments.rounds)
            title = f"{workers} worker{'s' * (workers > 1)}{', tokenised' * bool(tokenizer)}"
            print(report(title, used["ours"], used["datatrove"], documents), flush=True)
        outcomes = our_outcome(Path(name, "ours", "corpus")), their_outcome(Path(name, "datatrove"))
        print("ours and datatrove: " + "\n".join(compared(documents, *outcomes)), flush=True)
        if arguments.control:
            print(control(Path(name), arguments.datatrove_python, documents))


if __name__ == "__main__":
    main()
