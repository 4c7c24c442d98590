"""The cells of the comparison as texts, the same on the terminal, in Markdown and in HTML."""

from __future__ import annotations

import json
from typing import Any


def number(value: float | None) -> str:
    """Return a number with as many digits as tell it from its like."""
    return "" if value is None else f"{value:.4g}" if abs(value) < 1e4 else f"{value:.3e}"


def columns(found: dict[str, Any]) -> list[str]:
    """Return the heads of the table."""
    several = len(found["seeds"]) > 1
    short = [key.removeprefix("training.") for key in found["keys"]]
    compared = ["to best", "p"] if several else ["to best"]
    return ["trial", "", *short, found["metric"], *compared, "time", "remark"]


def cells(row: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return a row of the table as texts."""
    around = f" ± {(row['high'] - row['low']) / 2:.2g}" if row["low"] is not None else ""
    mean = number(row["mean"]) + around
    tried = [shown(row["values"].get(key)) for key in found["keys"]]
    compared = [f"{row['difference']:+.3g}" if row["difference"] is not None else ""]
    if len(found["seeds"]) > 1:
        compared.append(_p(row["p"]))
    state = {"complete": "", "fail": "failed"}.get(row["state"], row["state"])
    spent = f"{row['seconds']:.0f} s" if row["seconds"] else ""
    return [f"{row['trial']:03d}", state, *tried, mean, *compared, spent, row["reason"]]


def _p(value: float | None) -> str:
    return "" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def shown(value: Any) -> str:
    """Return a value of a recipe, short."""
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value)


def words(found: dict[str, Any]) -> list[str]:
    """Return what stands below the table."""
    ranked = sorted(found["importances"].items(), key=lambda item: -item[1])
    shares = ", ".join(f"{key} {share:.0%}" for key, share in ranked)
    return [
        *found["notes"],
        *([f"How much of the variation each key explains (PED-ANOVA): {shares}."] if shares else []),
    ]
