"""Near-duplicates against the exact Jaccard index of all pairs: `stage: corpus`, datatrove, datasketch and rensa.

    python benchmarks/near_duplicates.py TEXTS.jsonl.gz ... --truth FOLDER
        [--datatrove-python VENV/bin/python] [--library-python VENV/bin/python]

TEXTS are rows with `id` and `answer` (or `text`). FOLDER has the truth, from a sparse product over all word 5-shingles:
`*_universe` (id), `*_pairs` (a, b, jaccard; all pairs of at least 0.7), `*_clusters_0.8` (ids) and `*_leaked_eval` (id,
train_id, jaccard: held-out texts that are alike to one for training). datatrove and the libraries (`pip install
datasketch rensa`) run in their own interpreters.

Each tool removes copies at 0.8 its own way, and is judged by what it leaves and what it takes:
- recall by pairs: of the pairs at 0.8 and above, the share of which at most one text is left;
- recall by clusters: the mean of that over the clusters of the truth, as two clusters of boilerplate hold most pairs;
  and the share of clusters of which no such pair is left;
- precision: of the texts taken away, the share that is at least 0.8 alike to a text that is left.
Leaks: `stage: corpus` with the held-out texts to decontaminate against; of the leaked ones, for how many the training
text goes, and how many are named in the report; and the same for others (any run of 13 words counts, so that most of
these are rightly found).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from usage import measured

THRESHOLD, SHINGLE, PERMUTATIONS = 0.8, 5, 128

RECIPE = """\
stage: corpus
output_dir: {output}
inputs: [{{path: {data}, name: data}}]
deduplicate: {deduplicate}
{decontaminate}
split: {{validation: 0, test: 0}}
engine: {{workers: 1, shard_bytes: 2097152}}
"""


@dataclass
class Truth:
    """Which texts are alike."""

    universe: list[str]
    near: dict[str, set[str]]  # of each text, those at least 0.8 alike
    pairs: list[tuple[str, str]]
    clusters: list[set[str]]
    leaked: dict[str, str] = field(default_factory=dict)  # held-out text -> the training text it is most alike to


def truth_in(folder: Path) -> Truth:
    """Read the truth."""
    (pairs_file,) = folder.glob("*_pairs.jsonl.gz")
    (universe,) = folder.glob("*_universe.jsonl.gz")
    (clusters,) = folder.glob("*_clusters_0.8.jsonl.gz")
    (leaked,) = folder.glob("*_leaked_eval.jsonl.gz")
    pairs = [(row["a"], row["b"]) for row in rows(pairs_file) if row["jaccard"] >= THRESHOLD]
    near: dict[str, set[str]] = defaultdict(set)
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    return Truth(
        [row["id"] for row in rows(universe)], near, pairs, [set(row["ids"]) for row in rows(clusters)],
        {row["id"]: row["train_id"] for row in rows(leaked)},
    )  # fmt: skip


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        yield from map(json.loads, file)


def judged(truth: Truth, kept: set[str]) -> str:
    """Return recall and precision of what a tool left."""
    missed = [(a, b) for a, b in truth.pairs if a in kept and b in kept]
    in_cluster = {identity: index for index, ids in enumerate(truth.clusters) for identity in ids}
    all_pairs, missed_pairs = [0] * len(truth.clusters), [0] * len(truth.clusters)
    for a, _ in truth.pairs:
        all_pairs[in_cluster[a]] += 1
    for a, _ in missed:
        missed_pairs[in_cluster[a]] += 1
    clusters = [1 - gone / count for gone, count in zip(missed_pairs, all_pairs, strict=True)]
    taken = [identity for identity in truth.universe if identity not in kept]
    right = sum(1 for identity in taken if truth.near[identity] & kept)
    return (
        f"pairs {1 - len(missed) / len(truth.pairs):.4f}  clusters {sum(clusters) / len(clusters):.4f}"
        f"  whole clusters {clusters.count(1.0) / len(clusters):.4f}  precision {right / max(1, len(taken)):.4f}"
        f"  taken {len(taken)}"
    )


def corpus_stage(data: Path, work: Path, decontaminate: Path | None = None) -> tuple[Path, float]:
    """Run `stage: corpus`; return its folder and CPU seconds."""
    work.mkdir()
    deduplicate = "null" if decontaminate else f"{{threshold: {THRESHOLD}, permutations: {PERMUTATIONS}}}"
    against = f"decontaminate: [{decontaminate}]" if decontaminate else ""
    text = RECIPE.format(output=work / "out", data=data, deduplicate=deduplicate, decontaminate=against)
    (work / "recipe.yaml").write_text(text)
    used = measured([[sys.executable, "-m", "data_prep", str(work / "recipe.yaml")]])
    return work / "out", used.cpu


def datatrove(data: str, output: str) -> None:
    """Remove copies with datatrove as it comes: 14 bands of 8; called in its own interpreter."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    minhash = MinhashConfig(n_grams=SHINGLE)
    for steps, tasks in (
        ([JsonlReader(data), MinhashDedupSignature(f"{output}/signatures", minhash)], 1),
        ([MinhashDedupBuckets(f"{output}/signatures", f"{output}/buckets", config=minhash)], minhash.num_buckets),
        ([MinhashDedupCluster(f"{output}/buckets", f"{output}/remove", config=minhash)], 1),
        ([JsonlReader(data), MinhashDedupFilter(f"{output}/remove"),
          JsonlWriter(f"{output}/kept", compression=None)], 1),
    ):  # fmt: skip
        LocalPipelineExecutor(steps, tasks, logging_dir=tempfile.mkdtemp(dir=Path(output).parent)).run()


def library(name: str, data: str, output: str) -> None:
    """Leave each text unless the library's index finds an earlier one alike; called in its own interpreter."""
    import re

    texts = [(row["id"], row["text"]) for file in Path(data).iterdir() for row in rows(file)]
    shingles = []
    for identity, text in texts:
        words = re.findall(r"[^\W_]+", text.lower())
        pieces = {" ".join(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1))}
        shingles.append((identity, sorted(pieces)))
    started = time.process_time()
    kept = (_datasketch if name == "datasketch" else _rensa)(shingles)
    Path(output).write_text(json.dumps({"kept": kept, "cpu": time.process_time() - started}))


def _datasketch(shingles: Sequence[tuple[str, list[str]]]) -> list[str]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    kept = []
    for identity, pieces in shingles:
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([piece.encode() for piece in pieces])
        if not index.query(sketch):
            index.insert(identity, sketch)
            kept.append(identity)
    return kept


def _rensa(shingles: Sequence[tuple[str, list[str]]]) -> list[str]:
    from rensa import RMinHash, RMinHashDeduplicator

    index = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, True, 16)
    kept = []
    for identity, pieces in shingles:
        sketch = RMinHash(PERMUTATIONS, 42)
        sketch.update(pieces)
        if index.add(identity, sketch):
            kept.append(identity)
    return kept


def leaks(texts: dict[str, str], held_out: set[str], truth: Truth, work: Path) -> str:
    """Look for held-out texts among the others with `stage: corpus`; say how many leaks are found, and by what."""
    work.mkdir()
    order = sorted(held_out & set(texts))
    (work / "held_out.jsonl").write_text("".join(json.dumps({"text": texts[each]}) + "\n" for each in order))
    data = written({each: text for each, text in texts.items() if each not in held_out}, work / "data")
    out, cpu = corpus_stage(data, work / "run", work / "held_out.jsonl")
    training = [each for each in texts if each not in held_out]
    dropped = {training[int(row["id"].rpartition("#")[2]) - 1] for row in rows(out / "dropped.jsonl")}
    named = {order[int(row["evaluation"].rpartition(":")[2]) - 1] for row in rows(out / "contamination.jsonl")}
    leaked = truth.leaked.keys() & set(order)
    closed = sum(1 for each in leaked if truth.leaked[each] in dropped)
    return (
        f"leaks: of {len(leaked)}, the training text is dropped for {closed}, the held-out text named for "
        f"{len(named & leaked)}; {len(dropped):,} of {len(training):,} training texts dropped, "
        f"{len(named - leaked)} of the other {len(order) - len(leaked):,} held-out texts named; {cpu:.1f} CPU s"
    )


def written(texts: dict[str, str], folder: Path) -> Path:
    """Write texts as rows with id and text."""
    folder.mkdir()
    lines = (json.dumps({"id": identity, "text": text}) + "\n" for identity, text in texts.items())
    (folder / "data.jsonl").write_text("".join(lines))
    return folder


def main() -> None:
    """Judge every tool on the same texts."""
    if sys.argv[1:2] == ["--datatrove"]:
        datatrove(*sys.argv[2:])
        return
    if sys.argv[1:2] == ["--library"]:
        library(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--datatrove-python")
    parser.add_argument("--library-python")
    arguments = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=str(Path(__file__).parents[1]))
    truth = truth_in(arguments.truth)
    texts, held_out = {}, set()
    for path in arguments.texts:
        for row in rows(path):
            texts[row["id"]] = row.get("answer") or row["text"]
            if "train" not in path.name:
                held_out.add(row["id"])
    chosen = {identity: texts[identity] for identity in truth.universe}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = written(chosen, work / "data")
        out, cpu = corpus_stage(data, work / "ours")
        order = list(chosen)
        kept = {order[int(row["id"].rpartition("#")[2]) - 1] for row in rows(out / "train.jsonl")}
        print(f"{len(chosen):,} texts, {len(truth.pairs):,} pairs at {THRESHOLD}, {len(truth.clusters)} clusters")
        print(f"stage: corpus  {judged(truth, kept)}  {cpu:.1f} CPU s (all)", flush=True)
        if arguments.datatrove_python:
            used = measured([[arguments.datatrove_python, __file__, "--datatrove", str(data), str(work / "trove")]])
            kept = {row["id"] for file in (work / "trove" / "kept").iterdir() for row in rows(file)}
            print(f"datatrove      {judged(truth, kept)}  {used.cpu:.1f} CPU s (all)", flush=True)
        for tool in ("datasketch", "rensa") if arguments.library_python else ():
            command = [arguments.library_python, __file__, "--library", tool, str(data), str(work / tool)]
            subprocess.run(command, check=True)
            answer = json.loads((work / tool).read_text())
            print(
                f"{tool:14} {judged(truth, set(answer['kept']))}  {answer['cpu']:.1f} CPU s (from shingles)", flush=True
            )
        print(leaks(texts, held_out, truth, work / "leaks"))


if __name__ == "__main__":
    main()
