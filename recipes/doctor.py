"""`tuneloop doctor`: what this machine has, and what of it would go wrong, each with what to do about it.

Versions come from the packages' metadata; only torch is imported, and only to see whether it loads and finds a GPU.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from recipes import launching, provenance
from recipes.surroundings import SETTINGS

# What the tests ran with. Others inside pyproject.toml's bounds should work; say so when something else is installed.
TESTED = {
    "torch": "2.13.0",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "trl": "1.16.0",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "datasets": "5.2.0",
    "evaluate": "0.4.6",
    "gradio": "6.31.0",
    "pydantic": "2.14.3",
    "tokenizers": "0.23.3",
    "safetensors": "0.8.0",
    "SQLAlchemy": "2.1.9",
}
FINE, LOOK, BROKEN = "ok", "look", "broken"
LITTLE_MEMORY, LITTLE_DISK = 4e9, 5e9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where it is not well."""

    what: str
    state: str
    said: str
    write: str = ""


def findings() -> Iterator[Finding]:
    """Look at everything, cheapest first."""
    yield _python()
    yield from _libraries()
    yield from _machine()
    yield _gpu()
    yield _bfloat16()
    yield from _configs()
    yield _hub()
    yield from _traps()


def _python() -> Finding:
    return Finding("python", FINE, platform.python_version())


def _libraries() -> Iterator[Finding]:
    for name, tested in TESTED.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield Finding(name, BROKEN, "not installed", "pip install -e . (or pip install tuneloop)")
            continue
        same = version.partition("+")[0] == tested
        yield Finding(name, FINE if same else LOOK, version, "" if same else f"tested with {tested}")


def _machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    too_many = threads is not None and threads.isdigit() and int(threads) > cores
    said = f"{cores}" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    yield Finding("cores", LOOK if too_many else FINE, said, f"set OMP_NUM_THREADS={cores}" if too_many else "")
    total, free = memory()
    if total:
        little = free < LITTLE_MEMORY
        said = f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
        yield Finding("memory", LOOK if little else FINE, said, "close other programs" if little else "")
    disk = shutil.disk_usage(Path.cwd()).free
    write = "free some space, or set output_dir to another disk" if disk < LITTLE_DISK else ""
    yield Finding("disk here", LOOK if write else FINE, f"{disk / 1e9:.1f} GB free", write)
    yield _writable(Path.cwd())


def memory() -> tuple[int, int]:
    """Return (total, available) bytes; a container's own limit counts where it is lower."""
    lines = Path("/proc/meminfo")
    if not lines.exists():
        return 0, 0
    values = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines.read_text().splitlines()}
    total, free = values["MemTotal"], values["MemAvailable"]
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total, free = min(total, int(text)), min(free, int(text) - int(used.read_text()))
    return total, free


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            return Finding("write here", FINE, str(folder))
    except OSError as error:
        return Finding("write here", BROKEN, f"{folder}: {error.strerror}", "change to a folder that you may write in")


def _gpu() -> Finding:
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("torch", BROKEN, str(error).splitlines()[0], "pip install --force-reinstall torch")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Finding("GPU", FINE, ", ".join(names))
    driver = Path("/proc/driver/nvidia/version").exists()
    write = "this torch is built without CUDA, or for a newer driver: see pytorch.org/get-started" if driver else ""
    return Finding("GPU", LOOK if driver else FINE, "none that torch can use; the CPU works", write)


def _bfloat16() -> Finding:
    """Say whether this CPU multiplies in bfloat16 by itself; without it float32 is faster."""
    units = ", ".join(bfloat16_units())
    return Finding("bfloat16 on the CPU", FINE, units or "no units for it; float32 is faster here")


@functools.cache
def bfloat16_units() -> tuple[str, ...]:
    """Return the instructions with which this CPU multiplies in bfloat16 (of Linux's /proc/cpuinfo)."""
    file = Path("/proc/cpuinfo")
    flags = set(file.read_text().split()) if file.exists() else set()
    return tuple(sorted({"amx_bf16", "avx512_bf16", "bf16"} & flags))


def _configs() -> Iterator[Finding]:
    """Say which of the shipped configs of accelerate can be used here, and what the others lack."""
    gpus = launching.gpus()
    for name in launching.names():
        config = launching.read(name)
        machines, each = config.num_machines, 1 if config.alone else 2 if config.use_cpu else max(1, gpus)
        lacks = next(launching.refusals(config, machines * each, machines, gpus), None)
        said = f"needs {machines} machines or more" if machines > 1 else "can be used"
        yield Finding(f"launch.config: {name}", FINE, lacks[0] if lacks else said)


def _hub() -> Finding:
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    said = "switched off (HF_HUB_OFFLINE)" if offline else "on; asked only when a recipe names a Hugging Face id"
    return Finding("Hugging Face hub", FINE, f"{said}; cache {provenance.hub_cache()}")


def _traps() -> Iterator[Finding]:
    """Yield known traps that this working folder or environment has laid."""
    if here := [name for name in ("accuracy", "f1", "rouge", "sacrebleu") if (Path(name) / f"{name}.py").exists()]:
        write = "rename it: evaluate.load runs a metric's script of the working folder first"
        yield Finding("shadowed metric", LOOK, ", ".join(here), write)
    for name in ("torch", "transformers", "datasets", "evaluate", "eval", "recipes"):
        found = importlib.util.find_spec(name)
        local = Path(f"{name}.py")
        if local.exists() and found and found.origin and Path(found.origin).resolve() == local.resolve():
            yield Finding("shadowed package", BROKEN, f"./{local} hides the package {name}", "rename that file")
    for name, value in SETTINGS.items():
        if (other := os.environ.get(name)) not in (None, value) and "TELEMETRY" in name:
            yield Finding(name, LOOK, f"{other}", f"unset it, or set it to {value}: libraries else report home")
    if os.environ.get("RANK") and not os.environ.get("WORLD_SIZE"):
        yield Finding("RANK", BROKEN, "set without WORLD_SIZE", "unset RANK: it is a launcher's to set")


def report() -> int:
    """Print all findings; return 1 when something is broken."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    colours = {FINE: "green", LOOK: "yellow", BROKEN: "red"}
    found = list(findings())
    for finding in found:
        said = finding.said + (f"; {finding.write}" if finding.write else "")
        table.add_row(f"[{colours[finding.state]}]{finding.state}[/]", finding.what, said)
    Console(highlight=False).print(table)
    return 1 if any(finding.state == BROKEN for finding in found) else 0
