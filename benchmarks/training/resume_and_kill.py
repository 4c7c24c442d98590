"""Kill training with SIGKILL, give the same command again, compare with the run that never stopped; every new stage.

    python benchmarks/training/resume_and_kill.py [--kills 2] [--seed 0] [CASE ...]

A case is a small recipe on tiny models made here: fine-tuning with rows apart and packed, classification, sequence to
sequence, and continued pretraining with each family's objective. A run is killed, with all its children, a random
moment after it has written a checkpoint: in the middle of a step, a validation or a checkpoint. Equal means equal
content hashes: every byte of every file but reports and logs. The whole loop's stages are in
benchmarks/kill_and_resume.py.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import conversations

ROOT = Path(__file__).parents[2]
BASE = str(ROOT / "recipes" / "base" / "tuneloop-base-4m")
STEPS = 14
TRAINING = {
    "learning_rate": 1e-3, "max_steps": STEPS, "per_device_train_batch_size": 4, "save_steps": 2, "eval_steps": 5,
    "logging_steps": 3, "report_to": [],
}  # fmt: skip
Recipe = dict[str, Any]


def write_world(root: Path) -> dict[str, Path]:
    """Write rows and tiny models; return where they are."""
    sys.path.insert(0, str(ROOT / "tests" / "finetune"))
    import tiny_families

    root.mkdir(parents=True)
    rows = conversations.made(60, mean_words=20, spread=0.6, longest=80)
    texts = [row["messages"][1]["content"] for row in rows]
    files = {
        "messages": rows,
        "texts": [{"text": text} for text in texts],
        "labels": [{"text": text, "label": "long" if len(text) > 90 else "short"} for text in texts],
        "pairs": [{"source": text, "target": " ".join(sorted(text.split())[:5])} for text in texts],
    }
    found = {}
    for name, values in files.items():
        found[name] = root / f"{name}.jsonl"
        conversations.write(values, found[name])
    words = texts * 3
    found["encoder"] = tiny_families.build_tiny_encoder(root / "encoder", words)
    found["encoder-decoder"] = tiny_families.build_tiny_encoder_decoder(root / "encoder-decoder", words)
    return found


def cases(world: dict[str, Path]) -> dict[str, Recipe]:
    """Return the recipes, without their output."""

    def recipe(stage: str, model: str, file: str, **sections: Any) -> Recipe:
        data = {"train_file": str(world[file]), "validation_file": str(world[file])} | sections.pop("data", {})
        where = BASE if model == "decoder" else str(world[model])
        whole = {"model": {"model_name_or_path": where}, "data": data, "training": TRAINING}
        return {"stage": stage, **whole, **sections}

    lora = {"adapter": {"r": 4, "lora_dropout": 0.1}}
    return {
        "sft": recipe("sft", "decoder", "messages", **lora),
        "sft packed": recipe("sft", "decoder", "messages", data={"packing": True, "max_length": 256}, **lora),
        "classify": recipe("classify", "encoder", "labels", data={"max_length": 64}),
        "classify lora": recipe("classify", "decoder", "labels", data={"max_length": 64}, **lora),
        "seq2seq": recipe("seq2seq", "encoder-decoder", "pairs", data={"max_source_length": 64}),
        "seq2seq decoder": recipe("seq2seq", "decoder", "pairs", data={"max_source_length": 64}, **lora),
        "cpt next token": recipe("cpt", "decoder", "texts", data={"max_length": 64}),
        "cpt masked": recipe("cpt", "encoder", "texts", data={"max_length": 64}),
        "cpt spans": recipe("cpt", "encoder-decoder", "texts", data={"max_length": 64}),
    }


def command(recipe: Recipe, out: Path) -> list[str]:
    """Write the recipe of a run into `out`; return what starts it."""
    file = out.parent / f"{out.name}.json"
    file.write_text(json.dumps(recipe | {"output_dir": str(out)}))
    return [sys.executable, "-m", "finetune", str(file)]


def checkpoints(out: Path) -> Iterator[Path]:
    """Yield the whole checkpoints of a run at work."""
    from finetune.training import saving

    for folder in out.parent.glob(f"{out.name}*"):
        yield from folder.rglob(f"{saving.WHOLE}*")


def killed(recipe: Recipe, out: Path, chooser: random.Random) -> bool:
    """Start a run and kill it a moment after it has written one more checkpoint; tell whether it was still at work."""
    before = {path.name for path in checkpoints(out)}
    process = subprocess.Popen(
        command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, cwd=ROOT
    )
    while process.poll() is None:
        if {path.name for path in checkpoints(out)} - before:
            time.sleep(chooser.uniform(0, 0.3))
            break
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def main() -> int:
    """Compare each case's result with and without kills; return 1 where one differs."""
    from recipes import artifact

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    root = Path("runs/kill").resolve()
    shutil.rmtree(root, ignore_errors=True)
    every = cases(write_world(root))
    chooser, different = random.Random(options.seed), 0
    for name in options.cases or every:
        whole, cut = (root / f"{name.replace(' ', '-')}-{kind}" for kind in ("whole", "cut"))
        subprocess.run(command(every[name], whole), check=True, capture_output=True, cwd=ROOT)
        hits = sum(killed(every[name], cut, chooser) for _ in range(options.kills))
        last = subprocess.run(command(every[name], cut), check=True, capture_output=True, text=True, cwd=ROOT)
        one, other = artifact.read(whole), artifact.read(cut)
        equal = bool(one and other and one.content == other.content)
        different += not equal
        went_on = [line.strip() for line in last.stderr.splitlines() if "going on" in line]
        print(f"{name:16} killed {hits} times  {'equal' if equal else 'DIFFERENT'}  {' '.join(went_on)}", flush=True)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
