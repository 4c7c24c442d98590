"""How a stage is started in several processes: accelerate's config files, the command, and what a config needs.

The shipped configs lie in recipes/accelerate/. `refusals` says what cannot work on this machine before anything is
started, because accelerate itself goes on with something else and says nothing (facts of accelerate 1.15): FSDP on CPUs
becomes plain DDP, MULTI_CPU becomes one process, a GPU config without GPUs becomes independent runs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError

if TYPE_CHECKING:
    from recipes.sections import Launch

SHIPPED = Path(__file__).parent / "accelerate"
DEFAULT_PORT = 29500
KINDS = ("NO", "MULTI_GPU", "FSDP", "DEEPSPEED")


@dataclass(frozen=True)
class Config:
    """What a config file of accelerate says, as far as it matters here."""

    name: str
    kind: str
    use_cpu: bool
    num_processes: int
    num_machines: int
    zero_stage: int = 0
    fsdp_version: int = 1

    @property
    def alone(self) -> bool:
        """Return whether it starts one process."""
        return self.kind == "NO"

    @property
    def shards(self) -> frozenset[str]:
        """Return what is cut into one share for each process: of weights, gradients, optimizer."""
        if self.kind == "FSDP" or (self.kind == "DEEPSPEED" and self.zero_stage == 3):
            return frozenset({"weights", "gradients", "optimizer"})
        by_stage = {1: frozenset({"optimizer"}), 2: frozenset({"gradients", "optimizer"})}
        return by_stage.get(self.zero_stage, frozenset()) if self.kind == "DEEPSPEED" else frozenset()


def names() -> list[str]:
    """Return the names of the shipped configs."""
    return sorted(file.stem for file in SHIPPED.glob("*.yaml"))


def place(config: str) -> Path:
    """Return where a config lies, given a shipped one's name or a path."""
    from recipes.section_types import shipped

    return SHIPPED / f"{config}.yaml" if config in names() else shipped(config)


def read(config: str | Path) -> Config:
    """Read a config file of accelerate.

    Raises:
        UserError: it is not there, or is no config of accelerate.
    """
    import yaml

    file = place(str(config))
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _config(file.stem, values)
    except OSError as error:
        raise UserError(str(config), f"cannot be read ({error.strerror})", f"write {', '.join(names())}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError):
        write = f"write one of {', '.join(names())}, or a file that `accelerate config` wrote"
        raise UserError(str(config), "is no config file of accelerate", write) from None


def _config(name: str, values: dict[str, Any]) -> Config:
    return Config(
        name,
        str(values["distributed_type"]),
        bool(values.get("use_cpu", False)),
        int(values.get("num_processes") or 1),
        int(values.get("num_machines") or 1),
        int((values.get("deepspeed_config") or {}).get("zero_stage") or 0),
        int((values.get("fsdp_config") or {}).get("fsdp_version") or 1),
    )


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use, without importing torch."""
    there = [file for file in Path("/dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", file.name)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(there)
    chosen = [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return min(len(there), len(chosen)) if there else 0


def refusals(config: Config, processes: int, machines: int, gpu_count: int) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, what to write instead) of starting `processes` with this config on this machine."""
    if config.kind == "MULTI_CPU":
        yield (
            "distributed_type MULTI_CPU: accelerate would start one process and say nothing",
            "write distributed_type: MULTI_GPU with use_cpu: true, as the config cpu_ddp has it",
        )
    elif config.kind not in KINDS:
        yield f"distributed_type {config.kind} is not supported", f"write one of {', '.join(KINDS)}"
    if config.kind == "FSDP" and config.fsdp_version != 2:
        yield "FSDP version 1 is not supported", "write fsdp_version: 2, as the config fsdp2 has it"
    if config.kind == "FSDP" and (config.use_cpu or not gpu_count):
        yield (
            "FSDP needs GPUs: on CPUs accelerate would run plain DDP, every process with the whole model",
            "write config: cpu_ddp here, or use a machine with GPUs",
        )
    elif not config.use_cpu and not gpu_count and config.kind == "MULTI_GPU":
        yield f"the config {config.name} is for GPUs, and there is none", "write config: cpu_ddp"
    elif not config.use_cpu and not gpu_count and config.kind == "DEEPSPEED":
        yield f"the config {config.name} is for GPUs, and there is none", "write use_cpu: true in a copy of it"
    here = processes // machines
    if not config.use_cpu and not config.alone and 0 < gpu_count < here:
        many = "is 1 GPU" if gpu_count == 1 else f"are {gpu_count} GPUs"
        yield f"{here} processes on this machine, but there {many}", f"write num_processes: {gpu_count * machines}"
    if config.kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        yield "deepspeed is not installed", "pip install deepspeed, or write config: fsdp2"


def refuse(launch: Launch) -> None:
    """Refuse what cannot work on this machine.

    Raises:
        UserError: the first thing that is wrong.
    """
    if launch.config is None:
        return
    for what, write in refusals(read(launch.config), launch.num_processes, launch.num_machines, gpus()):
        raise UserError("launch.config", what, write)


def command(floor: str, path: str, overrides: list[str], launch: Launch) -> list[str]:
    """Return the command that starts a training stage in several processes.

    Without a config `--multi_gpu`, also where there is no GPU (accelerate then uses gloo): with `--cpu` it would start
    one process, silently.
    """
    start = [sys.executable, "-m", "accelerate.commands.launch"]
    if launch.config:
        start += ["--config_file", str(place(launch.config).resolve())]
    else:
        start += "--multi_gpu --mixed_precision no --dynamo_backend no".split()
    start += ["--num_processes", str(launch.num_processes), "--num_machines", str(launch.num_machines)]
    if launch.num_machines == 1:
        port = free_port()
    else:
        port = launch.main_process_port
        start += ["--machine_rank", str(launch.machine_rank), "--main_process_ip", str(launch.main_process_ip)]
        start += ["--same_network", "--rdzv_backend", "static"]
    return [*start, "--main_process_port", str(port), "-m", floor, path, *overrides]


def environment(launch: Launch) -> dict[str, str]:
    """Return what the processes' environment needs besides: a config for CPUs hides the GPUs."""
    return {"CUDA_VISIBLE_DEVICES": ""} if launch.config and read(launch.config).use_cpu else {}


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
