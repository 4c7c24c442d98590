"""Reading labelled rows, timing, printing: what the tables share."""

from __future__ import annotations

import gzip
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gzipped JSON lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def timed(
    function: Callable[[Item], Result], items: Sequence[Item], at_least: float = 0.3
) -> tuple[list[Result], float]:
    """Return what a function says of each item, and the CPU seconds for all of them; models are loaded before."""
    function(items[0])
    results, rounds, started = [], 0, time.process_time()
    while not rounds or time.process_time() - started < at_least:
        results = [function(item) for item in items]
        rounds += 1
    return results, (time.process_time() - started) / rounds


def megabytes(texts: Iterable[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def installed(*modules: str) -> bool:
    """Tell whether a peer is there; say so where it is not."""
    absent = [name for name in modules if importlib.util.find_spec(name) is None]
    if absent:
        print(f"  (left out, not installed: {', '.join(absent)})")
    return not absent


def f1(true: int, found: int, wanted: int) -> tuple[float, float, float]:
    """Return precision, recall and their harmonic mean."""
    precision, recall = true / max(found, 1), true / max(wanted, 1)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)
