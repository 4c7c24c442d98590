"""From the command to the first optimiser step: `tuneloop run` against `trl sft` and LLaMA-Factory, in one run.

    python benchmarks/training/startup_vs_trl.py [MODEL] [--llamafactory-cli PATH] [--rounds 3]

The same model and the same 400 conversations of like length, read and tokenised anew each time; LoRA on all linear
layers. Each command runs as a user types it. A hook that Python itself imports (first_step/sitecustomize.py) notes the
clock after the first step of an optimiser and ends the process. Printed are seconds on the clock up to then, CPU
seconds of all processes that the command started, and modules imported. TRL is told to work on a CPU in fp32 without
checkpointing (at its defaults it ends in an error here). Target: at most half of each peer's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import conversations

sys.path.append(str(Path(__file__).parent.parent))
import usage

HERE = Path(__file__).parent
BASE = "recipes/base/tuneloop-base-4m"
STEP = {"per_device_train_batch_size": 16, "learning_rate": 1e-3, "max_steps": 1}
Side = tuple[str, list[str]]  # the recipe's text, and the command with the recipe's path as {}


def commands(folder: Path, model: str, llamafactory: str | None) -> dict[str, Side]:
    """Return what each side reads and what is typed; recipes are JSON, which is YAML."""
    scripts, rows = Path(sys.executable).parent, str(folder / "data" / "train.jsonl")
    out = str(folder / "out")
    ours = {
        "stage": "sft",
        "output_dir": out,
        "model": {"model_name_or_path": model},
        "adapter": {"r": 16, "lora_alpha": 32},
        "data": {"train_file": rows},
        "training": STEP,
    }
    trl = {
        "model_name_or_path": model, "dataset_name": str(folder / "data"), "output_dir": out, "use_peft": True,
        "lora_r": 16, "lora_alpha": 32, "lora_target_modules": "all-linear", "use_cpu": True, "bf16": False,
        "activation_checkpointing": False, "assistant_only_loss": True, "report_to": "none", **STEP,
    }  # fmt: skip
    theirs = {
        "model_name_or_path": model, "dataset": "rows", "dataset_dir": str(folder), "output_dir": out, "stage": "sft",
        "do_train": True, "finetuning_type": "lora", "lora_rank": 16, "lora_alpha": 32, "lora_target": "all",
        "use_cpu": True, "disable_gradient_checkpointing": True, "report_to": "none", "template": "default", **STEP,
    }  # fmt: skip
    found = {
        "tuneloop run": (json.dumps(ours), [str(scripts / "tuneloop"), "run", "{}"]),
        "trl sft --config": (json.dumps(trl), [str(scripts / "trl"), "sft", "--config", "{}"]),
    }
    if llamafactory:
        found["llamafactory-cli train"] = (json.dumps(theirs), [llamafactory, "train", "{}"])
    return found


def measure(side: Side, folder: Path) -> tuple[float, float, int]:
    """Return seconds to the first step, CPU seconds of all processes, and the modules of the one that trains."""
    text, command = side
    recipe, noted = folder / "recipe.yaml", folder / "first_step.txt"
    recipe.write_text(text)
    shutil.rmtree(folder / "out", ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)  # of `datasets`
    noted.unlink(missing_ok=True)
    os.environ |= {
        "FIRST_STEP": str(noted), "PYTHONPATH": str(HERE / "first_step"), "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(folder / "cache"), "DISABLE_VERSION_CHECK": "1",
    }  # fmt: skip
    began = time.time()
    used = usage.measured([[word.replace("{}", str(recipe)) for word in command]])
    if not noted.exists():
        sys.exit(f"{command[0]} took no optimiser step")
    when, _, modules = noted.read_text().split()
    return float(when) - began, used.cpu, int(modules)


def prepare(folder: Path) -> None:
    """Write 400 conversations, and what LLaMA-Factory needs to know of them."""
    (folder / "data").mkdir()
    # Of like length: the first step shall cost the same, whichever rows a side takes first.
    rows = conversations.made(400, mean_words=32, spread=0.05, longest=500)
    conversations.write(rows, folder / "data" / "train.jsonl")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    told: dict[str, Any] = {"file_name": "data/train.jsonl", "formatting": "sharegpt", "tags": tags}
    told["columns"] = {"messages": "messages"}
    (folder / "dataset_info.json").write_text(json.dumps({"rows": told}))


def main() -> None:
    """Run the commands in turns and print the table."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("model", nargs="?", default=BASE)
    command.add_argument("--llamafactory-cli")
    command.add_argument("--rounds", type=int, default=3)
    options = command.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        sides = commands(folder, str(Path(options.model).resolve()), options.llamafactory_cli)
        found: dict[str, list[tuple[float, float, int]]] = {side: [] for side in sides}
        for turn in range(options.rounds):
            for side in list(sides)[:: -1 if turn % 2 else 1]:
                found[side].append(measure(sides[side], folder))
    print(f"{'':26}{'seconds':>9}{'range':>14}{'CPU s':>8}{'range':>14}{'modules':>9}{'ours, share of CPU s':>22}")
    base = statistics.median(cpu for _, cpu, _ in found["tuneloop run"])
    for side, runs in found.items():
        text = f"{side:26}"
        for column in (0, 1):
            values = sorted(run[column] for run in runs)
            text += f"{statistics.median(values):{9 - column}.2f}{f'{values[0]:.2f} to {values[-1]:.2f}':>14}"
        cpu = statistics.median(run[1] for run in runs)
        print(f"{text}{runs[0][2]:9}{base / cpu:22.2f}")


if __name__ == "__main__":
    main()
