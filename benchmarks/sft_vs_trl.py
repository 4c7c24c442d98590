"""Our fine-tuning loop against TRL's SFTTrainer: the same weights, rows, batches and optimiser steps, on this machine.

    python benchmarks/sft_vs_trl.py [MODEL] [--steps 20] [--rounds 3]

Prints process CPU seconds of the training steps alone (imports, tokenising and the first two steps are left out), and
their ratio, for TRL tuned by hand (fp32, no checkpointing) and TRL at its defaults on a CPU (bf16, checkpointing).
Sides alternate; the median counts. The losses of both sides are printed: they must agree.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

LORA = {"r": 16, "lora_alpha": 32}
BATCH = 16


def rows(count: int) -> list[dict[str, Any]]:
    """Conversations of mixed lengths, the same every time."""
    words = "the red fern grows in rock house and wants water every second day when June comes".split()
    return [
        {
            "messages": [
                {"role": "user", "content": " ".join(words[i % 7 : i % 7 + 5]) + "?"},
                {
                    "role": "assistant",
                    "content": " ".join(words[(i * k) % len(words)] for k in range(3 + (i * 7) % 60)),
                },
            ]
        }
        for i in range(count)
    ]


class Clock:
    """A trainer callback that notes process CPU time after the second and after the last step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def callback(self) -> Any:
        """Return it as transformers' callback."""
        from transformers import TrainerCallback

        marks = self.marks

        class Marks(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                marks.append(time.process_time())

        return Marks()

    def seconds(self) -> float:
        """Return the CPU seconds from the second step to the last."""
        return self.marks[-1] - self.marks[1]


def ours(model: str, data: list[dict[str, Any]], steps: int) -> tuple[float, float]:
    """Train with our loop; return (CPU seconds, last loss)."""
    from finetune.stages import sft
    from finetune.training import loop as trainer

    clock = Clock()
    original = trainer.Marked
    trainer.Marked = clock.callback  # type: ignore[assignment, misc]
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "rows.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in data))
            sft.run(
                sft.Recipe(
                    output_dir=f"{folder}/out",
                    model={"model_name_or_path": model, "dtype": "float32"},
                    adapter=LORA,
                    data={"train_file": str(file)},
                    training={
                        "learning_rate": 1e-3,
                        "max_steps": steps,
                        "per_device_train_batch_size": BATCH,
                        "logging_steps": steps,
                        "save_steps": 10_000,
                        "optim": "adamw_torch",
                        "warmup_ratio": 0,
                    },
                )
            )
            log = [json.loads(row) for row in (Path(folder) / "out/log.jsonl").read_text().splitlines()]
    finally:
        trainer.Marked = original  # type: ignore[misc]
    return clock.seconds(), log[-1]["loss"]


def theirs(model: str, data: list[dict[str, Any]], steps: int, tuned: bool) -> tuple[float, float]:
    """Train with TRL; return (CPU seconds, mean loss)."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        keys: dict[str, Any] = {"bf16": False, "activation_checkpointing": False} if tuned else {}
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder, use_cpu=True, report_to="none", per_device_train_batch_size=BATCH, max_steps=steps,
                learning_rate=1e-3, logging_steps=steps, save_strategy="no", disable_tqdm=True,
                assistant_only_loss=True, train_sampling_strategy="group_by_length",
                lr_scheduler_type="cosine", optim="adamw_torch", **keys,
            ),
            train_dataset=Dataset.from_list(data),
            processing_class=AutoTokenizer.from_pretrained(model),
            peft_config=LoraConfig(**LORA, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[clock.callback()],
        )  # fmt: skip
        trainer.train()
        return clock.seconds(), next(row["loss"] for row in trainer.state.log_history if "loss" in row)


def main() -> None:
    """Run the sides in turn and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="recipes/base/tuneloop-base-4m")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    data = rows(400)
    sides = {
        "ours": lambda: ours(options.model, data, options.steps),
        "TRL tuned": lambda: theirs(options.model, data, options.steps, True),
        "TRL defaults": lambda: theirs(options.model, data, options.steps, False),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            found[name].append(side())
    median = {name: statistics.median(seconds for seconds, _ in runs) for name, runs in found.items()}
    print(f"{'':14}{'CPU s':>8}{'spread':>16}{'/ ours':>8}{'loss':>9}")
    for name, runs in found.items():
        times = sorted(seconds for seconds, _ in runs)
        spread = f"{times[0]:.2f} to {times[-1]:.2f}"
        print(f"{name:14}{median[name]:8.2f}{spread:>16}{median[name] / median['ours']:8.2f}{runs[0][1]:9.3f}")


if __name__ == "__main__":
    main()
