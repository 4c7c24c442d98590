"""Training on one GPU against TRL 1.16: Llama-3.2-1B- and Llama-3.1-8B-shaped models with random weights, packed rows.

    python benchmarks/training/gpu.py [--cases lora-1b qlora-8b ...] [--lengths 2048 4096 8192] [--tokens 16384]
        [--steps 10] [--rounds 3] [--weights FOLDER]
    python benchmarks/training/gpu.py --checklist    what to look at first on a new GPU (gpu_checklist.py)
    python benchmarks/training/gpu.py --tiny         the whole way on a CPU with tiny shapes; its numbers mean nothing

Columns, each run a process of its own, in turns: ours; TRL at its defaults with packing; TRL tuned by hand (weights in
bf16, no checkpointing, liger where installed); TRL tuned with our attention. The same rows: documents of random lengths
that fill each row, all tokens learned; LoRA r 16 on all linear layers, or all weights; the same AdamW. A side that runs
out of memory is run again with half the tokens in a micro-batch and twice the accumulation, down to one row, and then
with checkpointing; the table says so. Three steps warm up.

Reported: tokens a second (median of rounds, range), MFU by the operations that LoRA really takes
(finetune/throughput.py, of the maker's peak and of a matrix product measured here), peak memory, and the roofline: the
tokens a second that the measured product would allow. Losses of all sides must agree within 1 %.

It needs, besides torch with CUDA, these packages of PyPI: transformers, peft, accelerate, safetensors, tokenizers,
pydantic, pyyaml, numpy for ours; trl==1.16.0, datasets, dill, multiprocess, xxhash, pyarrow, pandas for TRL;
bitsandbytes for QLoRA; liger-kernel where wanted. On a machine without network carry their wheels
(`pip download --only-binary=:all: -d wheels ...` for its Python, then `pip install --no-index --find-links wheels`).
TRL with flash-attn or hub kernels is not measured: neither comes with a plain `pip install`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gpu_models import SHAPES, documents, make_model

ROOT = Path(__file__).parents[2]
WARM_UP = 3
CASES = ("lora-1b", "qlora-1b", "full-1b", "lora-8b", "qlora-8b")
SIDES = ("ours", "TRL defaults", "TRL tuned", "TRL tuned, our attention")
OUT_OF_MEMORY = 42
Job = dict[str, Any]


def lengths_of(job: Job) -> list[int]:
    """Return the lengths of all documents that the counted steps train on."""
    rows = documents(job["rows_a_step"] * job["steps"], job["length"], job["vocabulary"])
    return [len(document) for row in rows[job["rows_a_step"] * WARM_UP :] for document in row]


class Marks:
    """When each optimiser step ended: CUDA events, which no step waits for, or the clock on a CPU."""

    def __init__(self) -> None:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.marks: list[Any] = []
        register_optimizer_step_post_hook(lambda *_: self.marks.append(self._now()))

    def _now(self) -> Any:
        import torch

        if not torch.cuda.is_available():
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> float:
        """Return how long the steps after warm-up took."""
        import torch

        first, last = self.marks[WARM_UP - 1], self.marks[-1]
        if not torch.cuda.is_available():
            return float(last - first)
        torch.cuda.synchronize()
        return float(first.elapsed_time(last)) / 1000


def ours(job: Job, folder: Path) -> tuple[list[float], Any]:
    """Train with the loop of our stages; return the losses and the model."""
    from finetune import models, packing
    from finetune.stages.sft import answer_loss
    from finetune.training.loop import fit
    from recipes.sections import Lora, Model, Training

    quantization = {"quantization": "nf4"} if job["kind"] == "qlora" else {}
    loaded = models.load_for(Model(model_name_or_path=job["model"], **quantization))
    models.add_adapter(loaded, None if job["kind"] == "full" else Lora(r=16, lora_alpha=32))
    rows = [
        {"input_ids": ids, "mask": [1] * len(ids)}
        for row in documents(job["rows_a_step"] * job["steps"], job["length"], job["vocabulary"])
        for ids in row
    ]
    packed = packing.pack_conversations(rows, job["length"])
    training = Training(
        learning_rate=job["learning_rate"], max_steps=job["steps"], lr_scheduler_type="constant", warmup_ratio=0,
        per_device_train_batch_size=job["rows"], gradient_accumulation_steps=job["rows_a_step"] // job["rows"],
        gradient_checkpointing=job["checkpointing"], logging_steps=1, save_steps=10_000, report_to=[], adam_beta2=0.999,
    )  # fmt: skip
    work: Any = SimpleNamespace(path=folder, scratch=folder, metrics={}, notes={}, volatile=set(), main=True)
    collate = packing.collate_for(loaded.model)
    fit(loaded.model, training, packed, [], loss=answer_loss, collate=collate, work=work, seed=0, name="sft")
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in log if "loss" in row], loaded.model


def trl(job: Job, folder: Path) -> tuple[list[float], Any]:
    """Train with TRL's SFTTrainer in one of the three settings."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    on_cpu = not torch.cuda.is_available()
    keys: Job = {"use_cpu": True, "bf16": False} if on_cpu else {}
    if job["side"] != "TRL defaults":
        keys["activation_checkpointing"] = job["checkpointing"]
        keys["model_init_kwargs"] = {"dtype": "float32" if on_cpu else "bfloat16"}
        keys["use_liger_kernel"] = _has_liger() and not on_cpu
    if job["side"].endswith("our attention"):
        from finetune import document_attention

        document_attention.register()
        keys["model_init_kwargs"]["attn_implementation"] = document_attention.NAME
    extra: Job = {}
    if job["kind"] != "full":
        extra["peft_config"] = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    if job["kind"] == "qlora":
        extra["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )  # fmt: skip
    rows = [
        {"input_ids": ids, "labels": ids}
        for row in documents(job["rows_a_step"] * job["steps"], job["length"], job["vocabulary"])
        for ids in row
    ]
    trainer = SFTTrainer(
        model=job["model"],
        args=SFTConfig(
            output_dir=str(folder), packing=True, max_length=job["length"], per_device_train_batch_size=job["rows"],
            gradient_accumulation_steps=job["rows_a_step"] // job["rows"], max_steps=job["steps"], logging_steps=1,
            learning_rate=job["learning_rate"], lr_scheduler_type="constant", save_strategy="no", report_to="none",
            disable_tqdm=True, **keys,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job["model"]),
        **extra,
    )  # fmt: skip
    trainer.train()
    return [float(row["loss"]) for row in trainer.state.log_history if "loss" in row], trainer.model


def _has_liger() -> bool:
    import importlib.util

    return importlib.util.find_spec("liger_kernel") is not None


def side(job: Job) -> None:
    """Run one side in this process and print its result; leave with OUT_OF_MEMORY where memory did not do."""
    import torch

    from finetune import throughput

    marks = Marks()
    with tempfile.TemporaryDirectory() as name:
        try:
            losses, model = (ours if job["side"] == "ours" else trl)(job, Path(name))
        except torch.OutOfMemoryError:
            sys.exit(OUT_OF_MEMORY)
        except Exception as error:
            if "out of memory" in str(error).lower():
                sys.exit(OUT_OF_MEMORY)
            raise
    peak = torch.cuda.max_memory_reserved() / 2**30 if torch.cuda.is_available() else 0.0
    flops = throughput.flops_per_token(model, throughput.weighted_length(lengths_of(job)))
    print(json.dumps({"seconds": marks.seconds(), "peak": peak, "flops": flops, "losses": losses}))


def run(job: Job) -> Job | None:
    """Run one side in a process of its own; with less memory until it fits; None where nothing does."""
    tries = [(rows, False) for rows in _halves(job["rows_a_step"])] + [(1, True)]
    for rows, checkpointing in tries:
        whole = job | {"rows": rows, "checkpointing": checkpointing}
        command = [sys.executable, __file__, "--job", json.dumps(whole)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
        if done.returncode == OUT_OF_MEMORY:
            continue
        if done.returncode:
            sys.exit(f"{job['side']} ({job['kind']}, {job['length']}):\n{done.stderr[-3000:]}")
        found: Job = json.loads(done.stdout.splitlines()[-1])
        assert all(loss == loss and loss < 1e4 for loss in found["losses"]), "a loss is no number"
        tokens = job["length"] * job["rows_a_step"] * (job["steps"] - WARM_UP)
        said = f"{rows} row(s) a micro-batch" + (", checkpointing" if checkpointing else "")
        return found | {"speed": tokens / found["seconds"], "said": said}
    return None


def _halves(rows: int) -> list[int]:
    found = [rows]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def measured_peak() -> float:
    """Return the operations a second of a large product in bf16 here; on a CPU of a small one."""
    import torch

    size, device = (8192, "cuda") if torch.cuda.is_available() else (512, "cpu")
    one, other = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    for repeats in (3, 20):
        began = time.perf_counter()
        for _ in range(repeats):
            one @ other
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - began
    return 2 * size**3 * 20 / seconds


def report(case: str, length: int, runs: dict[str, list[Job | None]], peak: float, maker: float | None) -> None:
    """Print the table of one case."""
    flops = next(one["flops"] for found in runs.values() for one in found if one)
    print(f"\n{case}, rows of {length}: {flops / 1e9:.2f} GFLOP a token, roofline {peak / flops:,.0f} tokens/s")
    print(f"{'':26}{'tokens/s':>10}{'range':>20}{'ours is':>9}{'MFU':>7}{'of maker':>9}{'peak GiB':>9}{'loss':>8}")
    whole = {name: [one for one in found if one] for name, found in runs.items()}
    speed = {name: statistics.median(one["speed"] for one in found) for name, found in whole.items() if found}
    for name, found in whole.items():
        if not found:
            print(f"{name:26} does not fit, also with checkpointing")
            continue
        rates = sorted(one["speed"] for one in found)
        spread = f"{rates[0]:,.0f} to {rates[-1]:,.0f}"
        faster = f"{speed.get('ours', 0) / speed[name]:.2f}x"
        share, nominal = speed[name] * flops / peak, f"{speed[name] * flops / maker:.1%}" if maker else ""
        loss = statistics.mean(found[0]["losses"])
        print(
            f"{name:26}{speed[name]:10,.0f}{spread:>20}{faster:>9}{share:7.1%}{nominal:>9}"
            f"{max(one['peak'] for one in found):9.1f}{loss:8.3f}  {found[0]['said']}"
        )
    # Random tokens in another order: each side's first step, before anything is learned, has the same mean loss.
    first = [found[0]["losses"][0] for found in whole.values() if found]
    assert max(first) / min(first) < 1.01, f"the sides do not compute the same loss: {first}"


def main() -> None:
    """Run all cases, or the checklist, or one side."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--cases", nargs="+", default=CASES, choices=[*CASES, "lora-tiny", "qlora-tiny", "full-tiny"])
    command.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    command.add_argument("--lengths", nargs="+", type=int, default=[2048, 4096, 8192])
    command.add_argument("--tokens", type=int, default=16384, help="tokens of an optimiser step")
    command.add_argument("--steps", type=int, default=10)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--weights", help="where the models are written, and found again (16 GB for 8b)")
    command.add_argument("--checklist", action="store_true")
    command.add_argument("--tiny", action="store_true")
    command.add_argument("--job", type=json.loads, help=argparse.SUPPRESS)
    options = command.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.tiny:
        options.cases, options.lengths, options.tokens = ["lora-tiny", "qlora-tiny", "full-tiny"], [128], 256
        options.steps, options.rounds = 2, 1
    if options.job:
        side(options.job)
    elif options.checklist:
        import gpu_checklist

        gpu_checklist.main(tiny=options.tiny)
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Write the models, run every case's sides in turns, print a table for each."""
    import torch

    from finetune import throughput

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU (a dry run: the numbers mean nothing)"
    peak, maker = measured_peak(), throughput.peak_flops("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{name}; torch {torch.__version__}; 8192 x 8192 x 8192 in bf16: {peak / 1e12:.1f} TFLOP/s")
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(options.weights or temporary)
        for case in options.cases:
            kind, shape = case.split("-")
            make_model(shape, weights / shape)
            for length in options.lengths:
                job = {
                    "kind": kind, "model": str(weights / shape), "length": length, "steps": options.steps + WARM_UP,
                    "vocabulary": SHAPES[shape]["vocab_size"], "rows_a_step": max(1, options.tokens // length),
                    "learning_rate": 1e-5 if kind == "full" else 1e-4,
                }  # fmt: skip
                runs: dict[str, list[Job | None]] = {one: [] for one in options.sides}
                for turn in range(options.rounds):
                    for one in list(runs)[:: -1 if turn % 2 else 1]:
                        runs[one].append(run(job | {"side": one}))
                report(case, length, runs, peak, maker)


if __name__ == "__main__":
    main()
