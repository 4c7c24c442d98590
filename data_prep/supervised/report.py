"""The report of a set of supervised rows: one HTML file without scripts or network, in the look of the corpus's."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_prep.report import STYLE

MOST = 30  # bars in one plot


def page(
    kind: str,
    summary: Mapping[str, Any],
    readings: Mapping[str, Mapping[str, str]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """Return the report."""
    sections = [
        _figures(summary),
        _warnings(summary["warnings"]),
        _readings(readings),
        _refused(summary["refused"], examples),
        '<div class="two">' + _lengths(summary["lengths"]) + _preferred(summary) + "</div>",
        _labels(summary),
        _contrary(summary["alike_with_other_labels"]),
        _bars("User turns", summary.get("user_turns", {}), "turns", "rows"),
        _systems(summary.get("systems", {})),
        _bars("Languages", summary["languages"], "language", "rows"),
        _bars("Answers that repeat", summary.get("repeated_answers", {}), "answer", "rows"),
        _sources(summary["sources"]),
    ]
    title = f"Supervised data: {kind}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>\n'
        f"<h1>{title}</h1>\n<p class=lead>How each file was read, which rows were kept, why the others were not.</p>\n"
        + "\n".join(filter(None, sections))
        + "\n</main></body></html>\n"
    )


def _figures(summary: Mapping[str, Any]) -> str:
    shown = {f"rows for {side}": count for side, count in summary["rows"].items() if side != "all"}
    shown["rows refused"] = sum(summary["refused"].values())
    shown["rows read"] = summary["read"]
    shown |= summary["changed"]
    figures = "".join(f"<div><b>{count:,}</b><span>{_text(name)}</span></div>" for name, count in shown.items())
    return _section("", f'<div class="figures">{figures}</div>')


def _warnings(warnings: Sequence[str]) -> str:
    listed = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    return _section("Look at", f"<ul>{listed}</ul>") if warnings else ""


def _readings(readings: Mapping[str, Mapping[str, str]]) -> str:
    rows = [
        (f"<code>{_text(path)}</code>", f"{_text(one['reading'])}<blockquote>{_text(one['first'])}</blockquote>")
        for path, one in readings.items()
    ]
    return _section("How the files were read", _table(("file", "read as, and its first row"), rows))


def _refused(reasons: Mapping[str, int], examples: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if not reasons:
        return _section("Rows that were refused", "<p class=soft>None was.</p>")
    most = max(reasons.values())
    rows = [
        (f"<b>{_text(reason)}</b>", _bar(count, most, lost=True), f"{count:,}", _places(examples.get(reason, ())))
        for reason, count in reasons.items()
    ]
    note = "<p class=soft>Each one is listed in <code>refused.jsonl</code>.</p>"
    heads = ("reason", "", "rows", "examples")
    return _section("Rows that were refused", _table(heads, rows, numbers={2}) + note)


def _places(examples: Iterable[Mapping[str, Any]]) -> str:
    return "".join(
        f"<div><code>{_text(one['file'])}:{one['line']}</code> "
        f"<span class=soft>{_text(one['detail'][:160])}</span></div>"
        for one in examples
    )


def _lengths(lengths: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(lengths.values()), {}))
    rows = [(_text(part), *(f"{value:,.0f}" for value in values.values())) for part, values in lengths.items()]
    note = "<p class=soft>Characters; the line tokens counts tokens of the whole row. p50: half are no longer.</p>"
    return _section("Lengths", _table(("", *names), rows, numbers=set(range(1, len(names) + 1))) + note)


def _preferred(summary: Mapping[str, Any]) -> str:
    if "chosen_longer" not in summary:
        return ""
    longer = summary["chosen_longer"]
    lead = (
        f"<p>The chosen answer is the longer one in <b>{longer['share']:.0%}</b> of the pairs of unequal length. Far "
        "from 50 %, a reward model can win by counting characters.</p>"
    )
    counts = {name: longer.get(name, 0) for name in ("chosen", "rejected", "equal")}
    return _section("Which answer is longer", lead + _bar_table(counts, "longer", "pairs"))


def _labels(summary: Mapping[str, Any]) -> str:
    if "labels" not in summary:
        return ""
    sides = [side for side in summary["rows"] if side != "all"]
    sums = {name: sum(counts.values()) for name, counts in summary["labels"].items()}
    most = max(sums.values())
    even = summary["label_balance"]
    lead = (
        f"<p>{even['labels']} labels, {even['least']:,} to {even['most']:,} rows each; evenness {even['evenness']:.2f} "
        "(1: all alike).</p>"
    )
    weights = summary["weights"]
    rows = [
        (_text(name), _bar(sums[name], most), *(f"{summary['labels'][name].get(side, 0):,}" for side in sides),
         *([f"{weights.get(name, 1):.3f}"] if weights else []))
        for name in sorted(sums, key=lambda name: (-sums[name], name))
    ]  # fmt: skip
    heads = ("label", "", *sides, *(["weight"] if weights else []))
    return _section("Labels", lead + _table(heads, rows, numbers=set(range(2, len(heads)))))


def _contrary(pairs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (f"<code>{_text(pair['row'])}</code> {_text(', '.join(pair['labels']))}",
         f"<code>{_text(pair['like'])}</code> {_text(', '.join(pair['others']))}", _text(pair["text"]))
        for pair in pairs
    ]  # fmt: skip
    return _section("Alike, with other labels", _table(("row", "like", "text"), rows)) if pairs else ""


def _systems(systems: Mapping[str, Any]) -> str:
    if not systems.get("with"):
        return ""
    lead = f"<p>{systems['with']:,} rows have a system message, {systems['different']:,} different ones.</p>"
    counts = {name[:200] or "(none)": count for name, count in systems["most_frequent"].items()}
    return _section("System messages", lead + _bar_table(counts, "text", "rows"))


def _sources(sources: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (f"<code>{_text(source)}</code>", ", ".join(f"{side} {count:,}" for side, count in sorted(sides.items())))
        for source, sides in sources.items()
    ]
    return _section("Files", _table(("file", "rows kept"), rows))


def _bars(title: str, counts: Mapping[str, int], what: str, unit: str) -> str:
    return _section(title, _bar_table(counts, what, unit)) if counts else ""


def _bar_table(counts: Mapping[str, int], what: str, unit: str) -> str:
    most = max(counts.values(), default=0)
    rows = [(_text(name), _bar(count, most), f"{count:,}") for name, count in list(counts.items())[:MOST]]
    return _table((what, "", unit), rows, numbers={2})


def _section(title: str, body: str) -> str:
    return f"<section>{f'<h2>{_text(title)}</h2>' if title else ''}{body}</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int] | None = None) -> str:
    marks = [' class="n"' if index in (numbers or ()) else "" for index in range(len(heads))]
    head = "".join(f"<th{mark}>{_text(name)}</th>" for mark, name in zip(marks, heads, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{mark or _plot(cell)}>{cell}</td>" for mark, cell in zip(marks, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _plot(cell: str) -> str:
    return ' class="plot"' if cell.startswith('<span class="bar') else ""


def _bar(value: int, most: int, *, lost: bool = False) -> str:
    width = 100 * value / most if most else 0
    return f'<span class="bar{" lost" if lost else ""}" style="width:{width:.1f}%"></span>'


def _text(value: object) -> str:
    return html.escape(str(value))
