"""How many processes work on a stage, which one this is, and the guard against a world smaller than asked for."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

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


def _asked_of_accelerate() -> int:
    """Return the --num_processes of the `accelerate launch` that started this process, or 1.

    It is nowhere in the environment when accelerate decides for one process, so its command line is read (Linux).
    """
    line = Path(f"/proc/{os.getppid()}/cmdline")
    words = line.read_bytes().decode(errors="replace").split("\0") if line.exists() else []
    start = next((at for at, word in enumerate(words) if LAUNCHER.search(word)), None)
    words = words[start + 1 :] if start is not None else []
    for flag, value in itertools.pairwise([*words, ""]):
        name, _, joined = flag.partition("=")
        if name in ("--num_processes", "--num-processes") and (joined or value).isdigit():
            return int(joined or value)
        if name == "-m":
            break
    return 1
