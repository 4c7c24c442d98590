"""Kill each stage of the quickstart with SIGKILL, give the same command again, compare with the run that never stopped.

    python benchmarks/kill_and_resume.py [--kills 2] [STAGE ...]

Needs a finished quickstart under runs/quickstart (its results are the inputs). Short runs: a few dozen steps. Equal
means equal content hashes: every byte of every file but reports and logs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from recipes import artifact

SHORT = {
    "garden": [],
    "corpus": [],
    "cpt": ["training.max_steps=24", "training.save_steps=4"],
    "sft": ["training.max_steps=40", "training.save_steps=5"],
    "reward": ["training.max_steps=24", "training.save_steps=4"],
    "dpo": ["training.max_steps=16", "training.save_steps=4"],
    "ppo": ["method.iterations=4", "training.save_steps=1", "data.validation_prompts=16"],
    "benchmark": [],
}


def command(stage: str, out: Path) -> list[str]:
    """Return the command that runs a stage into `out`."""
    recipe = f"recipes/quickstart/{stage}.yaml"
    run = "import sys; from recipes.run import main; sys.exit(main())"
    return [sys.executable, "-c", run, "run", recipe, f"output_dir={out}", *SHORT[stage]]


def killed(stage: str, out: Path, after: float) -> bool:
    """Start a stage and kill it and all its children after `after` seconds; tell whether it was still at work."""
    process = subprocess.Popen(
        command(stage, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def main() -> None:
    """Compare each stage's result with and without kills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", default=list(SHORT))
    parser.add_argument("--kills", type=int, default=2)
    options = parser.parse_args()
    root = Path("runs/kill")
    shutil.rmtree(root, ignore_errors=True)
    chooser = random.Random(0)
    for stage in options.stages:
        began = time.monotonic()
        subprocess.run(command(stage, root / f"{stage}-whole"), check=True, capture_output=True)
        seconds = time.monotonic() - began
        hits = sum(
            killed(stage, root / f"{stage}-cut", seconds * chooser.uniform(0.3, 0.95)) for _ in range(options.kills)
        )
        last = subprocess.run(command(stage, root / f"{stage}-cut"), check=True, capture_output=True, text=True)
        whole, cut = artifact.read(root / f"{stage}-whole"), artifact.read(root / f"{stage}-cut")
        assert whole and cut
        went_on = [line.strip() for line in last.stderr.splitlines() if "going on" in line]
        verdict = "equal" if whole.content == cut.content else "DIFFERENT"
        print(f"{stage:10} {seconds:5.0f} s  killed {hits} times  {verdict}  {' '.join(went_on)}", flush=True)


if __name__ == "__main__":
    main()
