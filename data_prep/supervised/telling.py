"""What `stage: instructions` tells at its end: figures, labels, what to look at, the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.supervised import alike, report, statistics

if TYPE_CHECKING:
    from data_prep.stages.instructions import Recipe
    from data_prep.supervised.making import Reader

FEW = 50  # rows: below, shares say nothing
BIG_GROUP = 0.2  # share of the rows in one group from which the user is told


@dataclass
class Made:
    """What the stage tells about its result."""

    metrics: dict[str, Any]
    notes: dict[str, Any]
    told: str


def finish(
    recipe: Recipe,
    reader: Reader,
    found: alike.Found,
    figures: statistics.Figures,
    folder: Path,
    weight: Mapping[str, float],
) -> Made:
    """Write statistics, labels and report; return what is told."""
    summary = figures.summary()
    summary["refused"] = dict(reader.reasons.most_common())
    summary["read"] = reader.read
    summary["changed"] = {name: count for name, count in sorted(reader.checker.changed.items()) if count}
    summary["alike_with_other_labels"] = [
        {"row": reader.kept[a].place, "like": reader.kept[b].place, "labels": list(reader.kept[a].labels),
         "others": list(reader.kept[b].labels), "text": reader.kept[a].prompt[:200]}
        for a, b in found.other_labels[:statistics.SHOWN]
    ]  # fmt: skip
    summary["groups"] = len(set(found.groups))
    summary["weights"] = dict(weight)
    summary["warnings"] = list(_warnings(recipe, reader, found, summary))
    if recipe.kind == "classification":
        _json(folder / "labels.json", _labels(recipe, reader, summary))
    _json(folder / "statistics.json", summary)
    page = report.page(recipe.kind, summary, reader.readings, reader.examples)
    (folder / "report.html").write_text(page, encoding="utf-8")
    metrics = {**figures.rows, "refused": summary["refused"],
               **statistics.short(summary)}  # fmt: skip
    readings = {name: one["reading"] for name, one in reader.readings.items()}
    return Made(metrics, {"readings": readings, "warnings": summary["warnings"]}, _told(reader, summary))


def _labels(recipe: Recipe, reader: Reader, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the list of labels, in the recipe's order or sorted, and what kind of problem it is in HF's words."""
    if any(not row.labels for row in reader.kept) and all(not row.labels for row in reader.kept):
        problem = "token_classification"
    else:
        several = any(len(row.labels) != 1 for row in reader.kept)
        problem = "multi_label_classification" if several else "single_label_classification"
    return {"problem_type": problem, "labels": recipe.labels or sorted(summary.get("labels", {}))}


def _warnings(recipe: Recipe, reader: Reader, found: alike.Found, summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a user should look at though nothing is wrong with any single row."""
    first, size = next(alike.largest(found.groups))
    if size > BIG_GROUP * len(found.groups) and size > 20:
        yield (f"{size:,} of {len(found.groups):,} rows stand on one side because they are alike or of one group, such "
               f"as {reader.kept[first].place}: raise deduplicate.threshold, or name another group_column")  # fmt: skip
    for side, share in (("validation", recipe.validation), ("test", recipe.test)):
        got = summary["rows"].get(side, 0) / len(found.groups)
        if share and not got:
            yield f"no row went to {side}: there are too few groups for a share of {share:g}"
        elif share and len(found.groups) >= FEW and not share / 2 <= got <= 2 * share:
            yield f"{side} has {got:.1%} of the rows, not {share:.0%}: whole groups go to a side; try another seed"
    labels = summary.get("labels", {})
    spelt: dict[str, list[str]] = {}
    for label in labels:
        spelt.setdefault(" ".join(label.casefold().replace("_", " ").split()), []).append(label)
    for names in spelt.values():
        if len(names) > 1:
            yield f"labels that differ in spelling alone: {', '.join(names)}"
    if missing := [label for label in recipe.labels if label not in labels]:
        yield f"labels without a row: {', '.join(missing)}"
    if held := [label for label, counts in labels.items() if not counts.get("train")]:
        yield f"labels without a row to train on: {', '.join(held)}"
    for reason in (one for one in reader.reasons if one.startswith("file ")):
        places = ", ".join(f"{one['file']}:{one['line']}" for one in reader.examples[reason])
        yield f"{reason}: {places}"
    if found.other_labels:
        yield f"near-duplicates with different labels: {len(found.other_labels):,} (statistics.json)"


def _told(reader: Reader, summary: Mapping[str, Any]) -> str:
    """Return what is printed: how each file was read, what was kept, what was refused, the figures."""
    lines = [f"{path}: {one['reading']}\n    {one['first']}" for path, one in reader.readings.items()]
    rows = ", ".join(f"{side} {count:,}" for side, count in summary["rows"].items() if side != "all")
    lines.append(f"{rows}, refused {sum(summary['refused'].values()):,} of {summary['read']:,} rows read")
    for reason, count in summary["refused"].items():
        one = reader.examples[reason][0]
        detail = f" ({one['detail'][:80]})" if one["detail"] else ""
        lines.append(f"    {count:>7,} {reason}: {one['file']}:{one['line']}{detail}")
    lines += [statistics.table(summary), *(f"look at: {warning}" for warning in summary["warnings"])]
    # Half a surrogate pair, which JSON can hold, cannot be printed.
    return "\n".join(lines).encode("utf-8", "replace").decode("utf-8")


def _json(path: Path, value: Any) -> None:
    path.write_bytes(json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
