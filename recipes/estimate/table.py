"""`tuneloop check`: what each step would read, about how much memory and time it would take, and whether that fits.

Memory is that of the formulas in memory.py. Time = 6 N x tokens / speed for all weights and 4 N x tokens / speed for an
adapter on N parameters, with the tokens as data.py counts them.
Left out: generation (PPO, evaluation), and what a stage does besides training.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes import launching, provenance
from recipes.estimate import changes, planning
from recipes.estimate.data import named, size_of, tokens_in
from recipes.estimate.memory import LIBRARIES, Setting, needed
from recipes.estimate.shapes import Shape, shape_of
from recipes.load import Examined
from recipes.sections import Launch, ModelRef, StageRecipe, Training, walk

CPU_SPEED = 36e9  # floating point operations a second and core: 1,383 tokens/s of a 4.4 M Llama, float32, AVX-512
GPU_SPEED = 1e14  # a quarter of what a recent data-centre GPU can do in bfloat16


@dataclass(frozen=True)
class Cost:
    """An estimate: bytes on each device, seconds where they can be told, and how its tokens are known."""

    memory: float | None
    seconds: float | None
    known: str = ""


def cost(recipe: StageRecipe, shape: Shape | None) -> Cost:
    """Return what training this recipe would take; unknown parts are None."""
    if shape is None:
        return Cost(None, None)
    setting, training = planning.setting_of(recipe, shape), getattr(recipe, "training", None)
    if setting is None or not isinstance(training, Training):
        return Cost(4 * shape.parameters + LIBRARIES, None)
    tokens, known = _tokens(recipe, training, setting)
    speed = setting.processes * GPU_SPEED if setting.on_gpu else CPU_SPEED * (os.cpu_count() or 1)
    work = (4 if setting.adapter else 6) * shape.parameters
    return Cost(needed(shape, setting).peak, None if tokens is None else work * tokens / speed, known)


def _tokens(recipe: StageRecipe, training: Training, setting: Setting) -> tuple[float | None, str]:
    """Return how many tokens would be trained on: from the number of steps, else from the data."""
    if training.max_steps > 0:
        return float(training.max_steps * setting.tokens * setting.accumulation * setting.processes), "at most"
    if (place := named(recipe)) is None:
        return None, ""
    base = next((value for _, value in walk(recipe) if isinstance(value, ModelRef)), None)
    found, known = tokens_in(place, provenance.local(base) if base else None)
    return training.num_train_epochs * found, known


def warnings(name: str, recipe: StageRecipe, shape: Shape | None) -> Iterator[str]:
    """Yield what would go wrong with a step on this machine, with what to write instead."""
    launch = getattr(recipe, "launch", None)
    launch = launch if isinstance(launch, Launch) else Launch()
    if launch.config:
        config = launching.read(launch.config)
        for what, write in launching.refusals(config, launch.num_processes, launch.num_machines, launching.gpus()):
            yield f"{name}: {what}; {write}"
    setting = planning.setting_of(recipe, shape) if shape else None
    free = planning.free_memory(launch)
    if shape is None or setting is None or not free or (peak := needed(shape, setting).peak) <= free:
        return
    device = "GPU" if setting.on_gpu else "process"
    yield f"{name}: will not fit: a step needs ~{_gigabytes(peak)}, and {_gigabytes(free)} are free for each {device}"
    training = recipe.training  # type: ignore[attr-defined]
    batch = training.per_device_train_batch_size
    for change in changes.best(changes.ranked(shape, setting, batch, planning.length_of(recipe), free), free):
        fits = "" if change.memory.peak <= free else ", still too much"
        yield f"  {change.write}: ~{_gigabytes(change.memory.peak)}{fits}"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.1f} GB"


def report(found: list[Examined]) -> None:
    """Print `ok` and a table with a line for each step."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("step", "stage", "reads", "parameters", "memory", "time"):
        table.add_column(title, justify="left" if title in ("step", "stage", "reads") else "right", overflow="fold")
    made_from: dict[str, str] = {}
    wrong: list[str] = []
    ways: set[str] = set()
    for examined in found:
        recipe = examined.recipe
        assert recipe is not None
        base = next((value for _, value in walk(recipe) if isinstance(value, ModelRef)), None)
        shape = shape_of(base, made_from) if base else None
        if base:
            made_from[recipe.output_dir] = base
        estimated = cost(recipe, shape) if base else Cost(None, None)
        name = Path(examined.path).stem
        wrong += warnings(name, recipe, shape)
        ways.add(estimated.known)
        table.add_row(
            name,
            recipe.stage,
            _reads(recipe),
            _short(shape.parameters) if shape else "",
            f"~{estimated.memory / 1e9:.1f} GB" if estimated.memory else "",
            f"~{duration(estimated.seconds)}" if estimated.seconds else "?" if hasattr(recipe, "training") else "",
        )
    console = Console(highlight=False)
    console.print("[green]ok[/]")
    console.print(table)
    for line in wrong:
        console.print(f"[yellow]{line}[/]", soft_wrap=True)
    cores = f"{os.cpu_count()} cores at {CPU_SPEED / 1e9:.0f} GFLOP/s each"
    where = "a GPU at 100 TFLOP/s" if launching.gpus() else cores
    tokens = "; ".join(text for known, text in KNOWN.items() if known in ways)
    console.print(
        f"[dim]estimates of training alone, memory on each device: {where}{'; ' + tokens if tokens else ''}[/]"
    )
    console.print("[dim]to come: made by an earlier step, or on the hub; ?: not to be told before its data is there[/]")


KNOWN = {
    "counted": "tokens counted by stage: tokens",
    "sampled": "tokens from a sample of the rows",
    "guessed": "4 bytes of text a token",
    "at most": "full batches for max_steps",
}


def _reads(recipe: StageRecipe) -> str:
    inputs = provenance.inputs_of(recipe)
    there = [place for item in inputs if (place := provenance.local(item.path))]
    later = len(inputs) - len(there)
    size = sum(size_of(place) for place in set(there))
    parts = [f"{len(there)} found ({_bytes(size)})"] if there else []
    return ", ".join(parts + ([f"{later} to come"] if later else [])) or "nothing"


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _short(number: float) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return str(int(number))


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for unit, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{max(1.0, seconds):.0f} s"
