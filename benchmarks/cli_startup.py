"""How long the command line takes to answer, as a ratio against `python -c pass` and `trl --help` in one run.

    python benchmarks/cli_startup.py [--repeats 7]

Each command is run in turn, so that other load on the machine falls on all alike; printed is the least wall and CPU
time of each, which other load can only raise. The limit that is meant to hold: help and a refused recipe within 0.3 s.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 0.3
REFUSED = "stage: sft\noutput_dir: runs/x\nmodel: {model_name_or_path: runs/nothing}\ntraining: {learnin_rate: 1e-4}\n"


def measure(command: list[str], folder: str) -> tuple[float, float]:
    """Return the wall and CPU seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=environment)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def commands(folder: str) -> dict[str, list[str]]:
    """Return what is measured; the peer only where it is installed."""
    (Path(folder) / "refused.yaml").write_text(REFUSED)
    scripts = Path(sys.executable).parent
    found = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "tuneloop --help": [str(scripts / "tuneloop"), "--help"],
        "tuneloop run REFUSED": [str(scripts / "tuneloop"), "run", "refused.yaml"],
        "trl --help": [str(scripts / "trl"), "--help"],
        "trl sft --help": [str(scripts / "trl"), "sft", "--help"],
    }
    return {name: command for name, command in found.items() if Path(command[0]).exists()}


def main() -> int:
    """Print the table; return 1 when one of ours is over the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands(folder)}
        for _ in range(repeats):
            for name, command in commands(folder).items():
                times[name].append(measure(command, folder))
    least = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}
    base = least["python -c pass"][0]
    print(f"{'command':24}{'wall s':>8}{'CPU s':>8}{'ratio':>8}")
    for name, (wall, cpu) in least.items():
        print(f"{name:24}{wall:8.3f}{cpu:8.3f}{wall / base:8.1f}")
    slow = [name for name, (wall, _) in least.items() if name.startswith("tuneloop") and wall > LIMIT]
    print(f"over {LIMIT} s: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
