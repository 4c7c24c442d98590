"""LoRA fine-tuning on conversations of mixed lengths, on a CPU: ours against TRL, LLaMA-Factory and torchtune.

    python benchmarks/training/sft_vs_peers.py [MODEL] [--data QA.jsonl.gz] [--llamafactory-python PATH]
        [--torchtune-python PATH] [--steps 20] [--rounds 3] [--sides ours "TRL tuned" ...]

MODEL is a folder (default: the embedded base), or `random`: a Llama of 4 layers and hidden size 384, random weights.
All sides train LoRA r 16 on all linear layers, on the same tokens in the same steps (rows in file order), with the same
AdamW, constant learning rate and clipping. Each run is a process of its own with one thread; sides take turns, every
other round in reverse. Three steps warm up and are not counted. The columns:

- useful tokens (without padding) per CPU second, median and range; the same per second on the clock;
- how many times the first side (ours) is faster, by medians of CPU seconds of the same steps;
- peak resident memory of the whole process, imports included; share of padding among the tokens computed;
- the largest difference of a step's loss from TRL tuned by hand (fp32, no checkpointing). Over 1 % is an error: sides
  that learn something else are not compared. Packed sides see other rows in each step: only their speed counts.

Where the CPU has bfloat16 units, `--isa AVX512_CORE_VNNI` keeps oneDNN from using them: TRL's default is bfloat16, and
on CPUs without such units that is its largest cost. Without `--data` the answers' lengths are log-normal, chosen so
that 64 % of a random batch of 16 is padding; with it they are real ones (`question` and `answer` in each row).

The peers need environments of their own: `pip install llamafactory` (its torchvision and torchaudio do not load beside
a CPU torch: remove the former, put an empty torchaudio.py in place of the latter) and `pip install torchtune
torchao==0.17.0` (0.18 took away what torchtune 0.6.1 imports).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import conversations

WARM_UP, BATCH, ROW = 3, 16, 1024
BASE = "recipes/base/tuneloop-base-4m"
REFERENCE = "TRL tuned"
TUNED = {"bf16": False, "activation_checkpointing": False}


@dataclass(frozen=True)
class Side:
    """One column: which function runs it in which environment, and whether its steps hold the same rows as ours."""

    function: str
    interpreter: str = sys.executable
    keys: dict[str, Any] = field(default_factory=dict)
    packed: bool = False
    padded: bool = True


def sides(options: argparse.Namespace, longest: int) -> dict[str, Side]:
    """Return the sides that can run here, ours first."""
    row = max(ROW, longest)
    found = {
        "ours": Side("ours", padded=False),
        "ours, float32": Side("ours", keys={"dtype": "float32"}, padded=False),
        REFERENCE: Side("trl", keys=TUNED),
        "TRL tuned, padding-free": Side("trl", keys=TUNED | {"padding_free": True, "max_length": None}, padded=False),
        "TRL tuned, packing": Side("trl", keys=TUNED | {"packing": True, "max_length": row}, packed=True, padded=False),
        "TRL defaults": Side("trl"),
    }
    if options.llamafactory_python:
        own = Side("llamafactory", options.llamafactory_python)
        found["LLaMA-Factory"] = own
        found["LLaMA-Factory tuned"] = Side(own.function, own.interpreter, {"disable_gradient_checkpointing": True})
    if options.torchtune_python:
        found["torchtune"] = Side("torchtune", options.torchtune_python)
        found["torchtune, packed"] = Side("torchtune", options.torchtune_python, packed=True, padded=False)
    return {name: side for name, side in found.items() if not options.sides or name in options.sides}


def run(side: Side, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run one side once."""
    job = job | {"keys": side.keys, "packed": side.packed}
    if side.packed:  # rows of 1,024 tokens: as many of them as hold a step's tokens
        job["batch"] = max(1, round(job["tokens_a_step"] / ROW))
        job["steps"] = min(job["steps"], max(WARM_UP + 1, job["tokens_in_all"] // (ROW * job["batch"]) - 1))
    file = folder / "job.json"
    file.write_text(json.dumps(job))
    here = Path(__file__).parent
    # torchtune has a package `recipes` of its own.
    path = [str(here), str(here.parents[1])] if side.interpreter == sys.executable else [str(here)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(job["threads"]), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": os.pathsep.join(path), "TRANSFORMERS_VERBOSITY": "error", "DISABLE_VERSION_CHECK": "1",
    }  # fmt: skip
    if job["isa"]:
        environment["ONEDNN_MAX_CPU_ISA"] = job["isa"]
    command = [side.interpreter, str(here / "peer_sides.py"), side.function, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    tokens = sum(job["lengths"][WARM_UP * job["batch"] : job["steps"] * job["batch"]])
    found["tokens"] = (job["steps"] - WARM_UP) * job["batch"] * ROW if side.packed else tokens
    return found


def padding_share(lengths: list[int], batch: int) -> float:
    """Return the share of padding when rows of these lengths are batched in their order."""
    batches = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
    return 1 - sum(lengths) / sum(max(rows) * len(rows) for rows in batches)


def difference(losses: list[float], reference: list[float]) -> float:
    """Return the largest relative difference between the losses of the same steps."""
    return max(abs(one - other) / abs(other) for one, other in zip(losses, reference, strict=True))


def prepare(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write model and data; return the job that all sides share."""
    steps = WARM_UP + options.steps
    if options.model == "random":
        conversations.random_llama(folder / "model", BASE)
    model = str((folder / "model") if options.model == "random" else Path(options.model).resolve())
    if options.data:
        rows = conversations.read(options.data, steps * BATCH, longest=1500)
    else:
        rows = conversations.made(steps * BATCH, mean_words=32, spread=0.9, longest=500)
    tokens = conversations.tokenised(rows, model)
    conversations.write(rows, folder / "conversations.jsonl")
    conversations.write(tokens, folder / "tokens.jsonl")
    lengths = [len(row["input_ids"]) for row in tokens]
    return {
        "model": model, "conversations": str(folder / "conversations.jsonl"), "tokens": str(folder / "tokens.jsonl"),
        "steps": steps, "batch": BATCH, "warm_up": WARM_UP, "threads": options.threads, "isa": options.isa,
        "lengths": lengths, "tokens_a_step": sum(lengths) / steps, "tokens_in_all": sum(lengths),
    }  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("model", nargs="?", default=BASE)
    command.add_argument("--data", help="questions and answers, JSON lines, gzip")
    command.add_argument("--steps", type=int, default=20)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--sides", nargs="*", default=[])
    command.add_argument("--isa", help="oneDNN's ONEDNN_MAX_CPU_ISA for all sides")
    command.add_argument("--llamafactory-python")
    command.add_argument("--torchtune-python")
    return command


def main() -> None:
    """Run all sides in turns and print the table."""
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = prepare(options, folder)
        columns = sides(options, max(job["lengths"]))
        runs: dict[str, list[dict[str, Any]]] = {column: [] for column in columns}
        for turn in range(options.rounds):
            for column in list(columns)[:: -1 if turn % 2 else 1]:
                runs[column].append(run(columns[column], job, folder))
                print(f"  round {turn + 1}: {column}: {runs[column][-1]['cpu']:.1f} CPU s", file=sys.stderr, flush=True)
    report(job, columns, runs)


def report(job: dict[str, Any], columns: dict[str, Side], runs: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table; end in an error where losses differ."""
    share = padding_share(job["lengths"], job["batch"])
    print(f"{len(job['lengths'])} conversations, {job['tokens_in_all']} tokens, longest {max(job['lengths'])};")
    print(f"batch {job['batch']}, {job['steps'] - WARM_UP} steps counted, {job['threads']} thread(s)")
    print(
        f"{'':26}{'tok/CPU s':>10}{'range':>14}{'tok/s':>8}{'ours is':>9}{'peak MB':>9}{'padding':>9}{'loss diff':>11}"
    )
    reference = runs[REFERENCE][0]["losses"] if REFERENCE in runs else None
    speed = {name: statistics.median(one["tokens"] / one["cpu"] for one in found) for name, found in runs.items()}
    wrong = []
    for name, found in runs.items():
        rates = sorted(one["tokens"] / one["cpu"] for one in found)
        clock = statistics.median(one["tokens"] / one["wall"] for one in found)
        peak = statistics.median(one["peak"] for one in found)
        spread, faster = f"{rates[0]:.0f} to {rates[-1]:.0f}", speed[next(iter(speed))] / speed[name]
        padded = f"{share:.0%}" if columns[name].padded else "none"
        apart = None if columns[name].packed or reference is None else difference(found[0]["losses"], reference)
        if apart is not None and not apart < 0.01:
            wrong.append(f"{name}: a loss differs by {apart:.1%}")
        said = "other rows" if apart is None else f"{apart:.2%}"
        print(f"{name:26}{speed[name]:10.0f}{spread:>14}{clock:8.0f}{faster:8.2f}x{peak:9.0f}{padded:>9}{said:>11}")
    if wrong:
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
