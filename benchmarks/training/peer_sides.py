"""One side of sft_vs_peers.py in a process of its own: `python peer_sides.py SIDE JOB.json` prints what it took.

Every side trains LoRA of the same rank on all linear layers, on the same rows in the same order, with the same
optimiser, learning rate and clipping, in one thread. What is timed is the same for all: a hook of torch's optimisers
notes the clocks after each step. Only the standard library is imported here, since each peer has its own environment.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

RANK, ALPHA, LEARNING_RATE, CLIP = 16, 32, 1e-3, 1.0
ADAMW = {"adam_beta1": 0.9, "adam_beta2": 0.999, "weight_decay": 0.0, "max_grad_norm": CLIP}
Job = dict[str, Any]


def watched(marks: list[tuple[float, float]]) -> None:
    """Note CPU seconds and wall clock after each step of any optimiser of torch."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    register_optimizer_step_post_hook(lambda *_: marks.append((time.process_time(), time.perf_counter())))


def shared(job: Job, folder: str) -> dict[str, Any]:
    """Return the arguments that all trainers built on transformers are given alike."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": job["batch"],
        "max_steps": job["steps"],
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        **ADAMW,
    }


def ours(job: Job) -> list[float]:
    """Train with `stage: sft`; the job's `keys` go to its model section."""
    from finetune.stages import sft

    with tempfile.TemporaryDirectory() as folder:
        sft.run(
            sft.Recipe(
                output_dir=f"{folder}/out",
                model={"model_name_or_path": job["model"], **job["keys"]},
                adapter={"r": RANK, "lora_alpha": ALPHA},
                data={"train_file": job["conversations"]},
                training={
                    "learning_rate": LEARNING_RATE,
                    "max_steps": job["steps"],
                    "per_device_train_batch_size": job["batch"],
                    "lr_scheduler_type": "constant",
                    "warmup_ratio": 0,
                    "adam_beta2": ADAMW["adam_beta2"],
                    "logging_steps": 1,
                    "save_steps": 10_000,
                    # The same rows in each step as the peers, so that losses can be compared.
                    "extra": {"train_sampling_strategy": "sequential"},
                },
            )
        )
        log = [json.loads(line) for line in Path(f"{folder}/out/log.jsonl").read_text().splitlines()]
    return [row["loss"] for row in log if "loss" in row]


def trl(job: Job) -> list[float]:
    """Train with TRL's SFTTrainer; the job's `keys` go to its SFTConfig."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    with tempfile.TemporaryDirectory() as folder:
        keys = {"train_sampling_strategy": "sequential", **shared(job, folder), **job["keys"]}
        trainer = SFTTrainer(
            model=job["model"],
            args=SFTConfig(**keys),
            train_dataset=Dataset.from_list(_rows(job)),
            processing_class=AutoTokenizer.from_pretrained(job["model"]),
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        trainer.train()
        return [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]


def llamafactory(job: Job) -> list[float]:
    """Train with LLaMA-Factory, on tokens prepared beforehand (its `tokenized_path`)."""
    from datasets import Dataset, DatasetDict
    from llamafactory.train.tuner import run_exp

    with tempfile.TemporaryDirectory() as folder:
        rows = [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in _rows(job)]
        DatasetDict({"train": Dataset.from_list(rows)}).save_to_disk(f"{folder}/tokens")
        run_exp(
            {
                **shared(job, f"{folder}/out"),
                "model_name_or_path": job["model"],
                "stage": "sft",
                "do_train": True,
                "finetuning_type": "lora",
                "lora_rank": RANK,
                "lora_alpha": ALPHA,
                "lora_dropout": 0.0,
                "lora_target": "all",
                "template": "empty",
                "dataset": "none",
                "tokenized_path": f"{folder}/tokens",
                "disable_shuffling": True,
                **job["keys"],
            }
        )
        state = json.loads(Path(f"{folder}/out/trainer_state.json").read_text())
    return [row["loss"] for row in state["log_history"] if "loss" in row]


def torchtune(job: Job) -> list[float]:
    """Train with torchtune's recipe lora_finetune_single_device; nothing is saved."""
    from omegaconf import OmegaConf

    spec = importlib.util.find_spec("recipes")
    assert spec and spec.submodule_search_locations
    file = Path(spec.submodule_search_locations[0]) / "lora_finetune_single_device.py"
    loaded = importlib.util.spec_from_file_location("lora_finetune_single_device", file)
    assert loaded and loaded.loader
    module = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as folder:
        config = OmegaConf.create(_torchtune_config(job, folder))
        recipe = module.LoRAFinetuneRecipeSingleDevice(config)
        recipe.setup(cfg=config)
        recipe.save_checkpoint = lambda epoch: None
        recipe.train()
        recipe.cleanup()
        lines = next(Path(folder, "logs").glob("*.txt")).read_text().splitlines()
    return [float(line.split("loss:")[1].split()[0]) for line in lines if "loss:" in line]


def _torchtune_config(job: Job, folder: str) -> dict[str, Any]:
    shape = json.loads((Path(job["model"]) / "config.json").read_text())
    tied = bool(shape["tie_word_embeddings"])
    model = {
        "_component_": "torchtune.models.llama3_2.lora_llama3_2",
        "lora_attn_modules": ["q_proj", "k_proj", "v_proj", "output_proj"],
        "apply_lora_to_mlp": True,
        "vocab_size": shape["vocab_size"],
        "num_layers": shape["num_hidden_layers"],
        "num_heads": shape["num_attention_heads"],
        "num_kv_heads": shape["num_key_value_heads"],
        "embed_dim": shape["hidden_size"],
        "intermediate_dim": shape["intermediate_size"],
        "max_seq_len": shape["max_position_embeddings"],
        "norm_eps": shape["rms_norm_eps"],
        "rope_base": int(shape["rope_parameters"]["rope_theta"]),
        "scale_factor": 1,  # plain rotary positions
        "tie_word_embeddings": tied,
        "lora_rank": RANK,
        "lora_alpha": ALPHA,
    }
    return {
        "output_dir": folder,
        "model": model,
        "tokenizer": {"_component_": "peer_sides.NoTokenizer"},
        "dataset": {"_component_": "peer_sides.TorchtuneRows", "path": job["tokens"], "packed": job["packed"]},
        "checkpointer": {
            "_component_": "torchtune.training.FullModelHFCheckpointer",
            "checkpoint_dir": job["model"],
            "checkpoint_files": ["model.safetensors"],
            "output_dir": folder,
            "model_type": "LLAMA3_2" if tied else "LLAMA3",
        },
        "resume_from_checkpoint": False,
        "seed": 0,
        "shuffle": False,
        "batch_size": job["batch"],
        "epochs": 1,
        "max_steps_per_epoch": job["steps"],
        "gradient_accumulation_steps": 1,
        "clip_grad_norm": CLIP,
        "optimizer": {
            "_component_": "torch.optim.AdamW",
            "fused": True,
            "lr": LEARNING_RATE,
            "weight_decay": 0.0,
            "betas": [ADAMW["adam_beta1"], ADAMW["adam_beta2"]],
        },
        "lr_scheduler": {"_component_": "peer_sides.constant"},
        "loss": {"_component_": "torchtune.modules.loss.CEWithChunkedOutputLoss"},
        "compile": False,
        "metric_logger": {"_component_": "torchtune.training.metric_logging.DiskLogger", "log_dir": f"{folder}/logs"},
        "device": "cpu",
        "dtype": "fp32",
        "enable_activation_checkpointing": False,
    }


class NoTokenizer:
    """What torchtune asks of a tokenizer when rows are tokens already."""

    pad_id = 0
    max_seq_len = 1024


class TorchtuneRows:
    """The rows as torchtune's data set; packed by torchtune itself into rows of 1,024 where wanted."""

    def __new__(cls, tokenizer: Any, path: str, packed: bool = False) -> Any:
        rows = super().__new__(cls)
        rows.__init__(tokenizer, path)  # type: ignore[misc]
        if not packed:
            return rows
        from torchtune.datasets import PackedDataset

        return PackedDataset(rows, max_seq_len=tokenizer.max_seq_len, padding_idx=tokenizer.pad_id)

    def __init__(self, tokenizer: Any, path: str, packed: bool = False) -> None:
        self.rows = [json.loads(line) for line in Path(path).read_text().splitlines()]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"tokens": self.rows[index]["input_ids"], "labels": self.rows[index]["labels"]}

    def __iter__(self) -> Iterator[dict[str, list[int]]]:
        return (self[index] for index in range(len(self)))


def constant(optimizer: Any, num_training_steps: int, last_epoch: int = -1) -> Any:
    """Return a schedule that changes nothing."""
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda _: 1.0, last_epoch)


def _rows(job: Job) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(job["tokens"]).read_text().splitlines()]


def main() -> None:
    """Run the side; the last line on standard output is its result as JSON."""
    side, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    import torch

    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    marks: list[tuple[float, float]] = []
    watched(marks)
    with redirect_stdout(sys.stderr):
        losses = globals()[side](job)
    cpu, wall = (end - begin for begin, end in zip(marks[job["warm_up"] - 1], marks[job["steps"] - 1], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": cpu, "wall": wall, "peak": peak, "losses": losses, "modules": len(sys.modules)}))


if __name__ == "__main__":
    main()
