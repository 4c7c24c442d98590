"""What a sweep found: configurations, best first, with intervals over seeds and differences to the best.

Values are read from the trials' results; the study only says how each trial ended. Everything is plain JSON, so that
the table can be drawn again without Optuna (`tuneloop sweep --table FOLDER`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from recipes import artifact
from recipes.adjusting import holm
from recipes.stages.sweep import Recipe
from recipes.sweep import space, student, study, trials

ORDER = {"complete": 0, "pruned": 1, "fail": 2, "running": 3}


def compare(recipe: Recipe, opened: Any) -> dict[str, Any]:
    """Return the comparison of all trials."""
    rows = [_row(recipe, one, opened) for one in study.frozen(opened, "complete", "pruned", "fail", "running")]
    most = max((len(row["results"]) for row in rows), default=0)
    rows.sort(key=lambda row: (ORDER[row["state"]], -_repeated(recipe, row, most), *_rank(recipe, row)))
    _difference_to_best(rows)
    return {
        "recipe": recipe.recipe,
        "metric": recipe.metric,
        "direction": recipe.direction,
        "keys": list(recipe.space),
        "seeds": recipe.seeds,
        "rows": rows,
        "importances": study.importances(opened),
        "notes": _notes(recipe, rows),
    }


def _row(recipe: Recipe, one: Any, opened: Any) -> dict[str, Any]:
    """Return what is known of one configuration."""
    state = one.state.name.lower()
    results: dict[str, float] = {}
    seconds = 0.0
    failures = study.repeat_failures(opened)
    reason = one.user_attrs.get(study.REASON, "")
    seeds: list[int | None] = [*recipe.seeds] or [None]
    for seed in seeds:
        name = f"{one.number:03d}" + ("" if seed is None else f"-seed{seed}")
        folder = Path(recipe.output_dir) / "trials" / name
        manifest = artifact.read(folder)
        value = trials.metric_of(folder, recipe.metric) if manifest else None
        if value is not None and math.isfinite(value):
            results[str(seed)] = value
        seconds += manifest.seconds if manifest else 0.0
        reason = "; ".join(filter(None, (reason, failures.get(name, ""))))
    values = list(results.values()) or ([one.value] if state == "complete" else list(_last(one)))
    limits = student.interval(values) if state == "complete" else None
    return {
        "trial": one.number,
        "state": state,
        "values": space.loaded(recipe.space, one.params) if set(recipe.space) <= set(one.params) else {},
        "results": results if state == "complete" else {},
        "mean": math.fsum(values) / len(values) if values else None,
        "low": limits[0] if limits else None,
        "high": limits[1] if limits else None,
        "difference": None,
        "p": None,
        "seconds": round(seconds, 1),
        "reason": reason,
    }


def _last(one: Any) -> list[float]:
    """Return what a trial that was stopped had reported last."""
    finite = {step: value for step, value in one.intermediate_values.items() if math.isfinite(value)}
    return [finite[max(finite)]] if finite else []


def _repeated(recipe: Recipe, row: dict[str, Any], most: int) -> int:
    """Return whether a configuration has all the seeds that the best ones have: one seed alone may be luck."""
    return int(recipe.repeat_best is not None and len(row["results"]) == most)


def _rank(recipe: Recipe, row: dict[str, Any]) -> tuple[float, int]:
    value = row["mean"]
    if value is None:
        return math.inf, row["trial"]
    return (value if recipe.direction == "minimize" else -value), row["trial"]


def _difference_to_best(rows: list[dict[str, Any]]) -> None:
    """Compare each configuration with the best one, seed by seed; p by Holm for all of them together."""
    complete = [row for row in rows if row["state"] == "complete"]
    tested = []
    for row in complete[1:]:
        shared = [seed for seed in row["results"] if seed in complete[0]["results"]]
        differences = [row["results"][seed] - complete[0]["results"][seed] for seed in shared]
        if differences:
            row["difference"] = math.fsum(differences) / len(differences)
        if (p := student.p_value(differences)) is not None:
            row["p"] = p
            tested.append(row)
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p"] = p


def _notes(recipe: Recipe, rows: list[dict[str, Any]]) -> list[str]:
    """Return what a reader of the table must know."""
    complete = [row for row in rows if row["state"] == "complete"]
    said = []
    if len(recipe.seeds) < 2:
        said.append("One seed: there is no interval, and a small difference may be chance. Write seeds: [1, 2, 3].")
    elif complete:
        said.append(
            f"± is the 95 % t-interval over {len(recipe.seeds)} seeds (training varies, the data does not); "
            "p: paired t-test against the best, adjusted for the number of comparisons (Holm)."
        )
    if recipe.repeat_best is not None:
        said.append("Seed " + str(recipe.seeds[0]) + " chose which ones to repeat, so its values favour them a little.")
    if len(complete) > 1 and recipe.space:
        said.append("The best of many looks better than it is: confirm it on data that the sweep has not seen.")
    return said
