"""How many processes work on a stage, which one this is, and the guard against a world smaller than asked for."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from recipes import launching
from recipes.errors import UserError

ASKED = "TUNELOOP_NUM_PROCESSES"
RUN = "TUNELOOP_RUN"
LAUNCHER = re.compile(r"(^|accelerate[-./]|commands[./])launch(\.py)?$")  # the three ways to start accelerate's


def rank() -> int:
    """Return this process's number in its run; the first is 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """Return how many processes the launcher says there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def run_name() -> str:
    """Return a name that all processes of one start share and no other start has."""
    if named := os.environ.get(RUN):
        return named
    if world() == 1:
        return str(os.getpid())
    # The processes on one machine are children of one launcher; across machines only the meeting point is common.
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    meeting = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
    return f"{meeting}:{os.getppid()}" if alone else meeting


def expect_world(actual: int, wanted: int = 1) -> None:
    """Refuse to go on with fewer processes than were asked for, by the recipe (`wanted`) or by the launcher.

    Call it with the `num_processes` of an Accelerator.

    Raises:
        UserError: `accelerate launch --cpu --num_processes 2` starts one process, and says nothing (accelerate 1.15).
    """
    asked = max(wanted, int(os.environ.get(ASKED, 1)), world(), _asked_of_accelerate())
    if actual < asked:
        raise UserError(
            "accelerate launch",
            f"{asked} processes were asked for, but this one works with {actual}",
            f"write: accelerate launch --multi_gpu --num_processes {asked} --num_machines 1 --mixed_precision no "
            "--dynamo_backend no -m finetune RECIPE (also without a GPU), or `launch.num_processes` in the recipe "
            "with `tuneloop run`",
        )


def expect_config(recipe_config: str | None = None) -> None:
    """Refuse a config of accelerate that cannot work here; hide the GPUs where it is one for CPUs.

    Call it before torch is imported. `recipe_config` is the recipe's `launch.config`.

    Raises:
        UserError: accelerate would go on with something else, and say nothing.
    """
    file = _accelerate_flag("config_file")
    config = launching.read(file) if file else None
    if config is not None and config.use_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    config = config or _config_of_environment()
    machines = int(_accelerate_flag("num_machines") or (config.num_machines if config else 1))
    if config is not None:
        for what, write in launching.refusals(config, world(), machines, launching.gpus()):
            raise UserError("accelerate launch", what, write)
    if recipe_config and (wanted := launching.read(recipe_config)).shards and wanted.kind != (config and config.kind):
        what = f"the recipe has launch.config: {recipe_config}, but this process was not started with it"
        raise UserError("launch.config", what, "write: tuneloop run RECIPE, or accelerate launch --config_file ...")


def shards() -> frozenset[str]:
    """Return what this run cuts into one share for each process: of weights, gradients, optimizer."""
    config = _config_of_environment()
    return config.shards if config else frozenset()


def _config_of_environment() -> launching.Config | None:
    """Return how accelerate was told to share the work by flags instead of a file, or None for plain DDP."""
    for kind in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{kind}", "").lower() == "true":
            stage = int(os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", 2))
            version = int(os.environ.get("FSDP_VERSION", 1))
            use_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
            return launching.Config(kind.lower(), kind, use_cpu, world(), 1, stage, version)
    return None


def _asked_of_accelerate() -> int:
    """Return the number of processes that the `accelerate launch` that started this process was to start, or 1.

    It is nowhere in the environment when accelerate decides for one process, so its command line is read (Linux).
    """
    if (flag := _accelerate_flag("num_processes")) and flag.isdigit():
        return int(flag)
    file = _accelerate_flag("config_file")
    return launching.read(file).num_processes if file else 1


def _accelerate_flag(name: str) -> str | None:
    """Return the value of a flag of the `accelerate launch` that is this process's parent, or None."""
    line = Path(f"/proc/{os.getppid()}/cmdline")
    words = line.read_bytes().decode(errors="replace").split("\0") if line.exists() else []
    start = next((at for at, word in enumerate(words) if LAUNCHER.search(word)), None)
    words = words[start + 1 :] if start is not None else []
    for flag, value in itertools.pairwise([*words, ""]):
        given, _, joined = flag.partition("=")
        if given in (f"--{name}", f"--{name.replace('_', '-')}"):
            return joined or value
        if flag in ("-m", "--module"):
            break
    return None
