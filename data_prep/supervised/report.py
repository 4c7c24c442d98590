"""The report of a set of supervised rows: one HTML file in the look of the corpus's report.

Everything that comes from rows, file names or recipes is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep import report
from data_prep.report.markup import Bar, bars, columns, counts, excerpt, line, section, share, table, text


def page(
    kind: str,
    summary: Mapping[str, Any],
    readings: Mapping[str, Mapping[str, str]],
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
) -> str:
    """Return the report."""
    parts = [
        _figures(summary),
        *(f'<p class="warning">{text(warning)}</p>' for warning in summary["warnings"]),
        _readings(readings),
        _refused(summary["refused"], examples),
        _two(_lengths(summary["lengths"]), _preferred(summary)),
        _two(*(_histogram(name, bins) for name, bins in summary["histograms"].items())),
        _labels(summary),
        _contrary(summary["alike_with_other_labels"]),
        _two(
            section("User turns", _turns(summary.get("user_turns", {}))),
            section("Languages", counts(summary["languages"], "Rows by language")),
        ),
        _systems(summary.get("systems", {})),
        section("Answers that repeat", counts(summary.get("repeated_answers", {}), "Rows by answer")),
        _sources(summary["sources"]),
    ]
    style = Path(report.__file__).with_name("style.css").read_text(encoding="utf-8")
    title = f"Supervised data: {kind}"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><main>\n<h1>{title}</h1>\n"
        '<p class="lead">How each file was read, which rows were kept, and why the others were not.</p>\n'
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def _two(*parts: str) -> str:
    there = [part for part in parts if part]
    return f'<div class="two">{"".join(there)}</div>' if there else ""


def _figures(summary: Mapping[str, Any]) -> str:
    refused = sum(summary["refused"].values())
    shown = {f"rows for {side}": f"{count:,}" for side, count in summary["rows"].items() if side != "all"}
    shown["rows refused"] = f"{refused:,} <small>{share(refused, summary['read'])}</small>"
    shown["rows read"] = f"{summary['read']:,}"
    shown |= {name: f"{count:,}" for name, count in summary["changed"].items()}
    tiles = "".join(f"<div><b>{value}</b><span>{text(name)}</span></div>" for name, value in shown.items())
    return section("", f'<div class="tiles">{tiles}</div>')


def _readings(readings: Mapping[str, Mapping[str, str]]) -> str:
    rows = [
        (f"<code>{text(path)}</code>", f"{text(one['reading'])}{excerpt(one['first'])}")
        for path, one in readings.items()
    ]
    lead = "The columns that were taken, and the first row as it was read: is this what you meant?"
    return section("How the files were read", table(("file", "read as"), rows), lead=lead)


def _refused(reasons: Mapping[str, int], examples: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    total = sum(reasons.values())
    rows = [
        Bar(
            f"<b>{text(reason)}</b>",
            f"{count:,} <small>{share(count, total)}</small>",
            [("lost", count)],
            _places(examples.get(reason, ())),
        )
        for reason, count in reasons.items()
    ]
    if not rows:
        return section("Rows that were refused", '<p class="soft">None was.</p>')
    lead = "Each one is listed in <code>refused.jsonl</code>."
    return section("Rows that were refused", bars(rows, "Refused rows by reason"), lead=lead)


def _places(examples: Iterable[Mapping[str, Any]]) -> str:
    listed = "".join(
        f"<div><code>{text(one['file'])}:{one['line']}</code> {text(one['detail'][:160])}</div>" for one in examples
    )
    return f'<details class="examples"><summary>the first</summary>{listed}</details>' if listed else ""


def _lengths(lengths: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(lengths.values()), {}))
    rows = [(text(part), *(f"{value:,.0f}" for value in values.values())) for part, values in lengths.items()]
    lead = "In characters; the line tokens counts those of a whole row. p95: 95 % are no longer."
    return section("Lengths", table(("", *names), rows, range(1, len(names) + 1)), lead=lead)


def _histogram(name: str, bins: Mapping[str, int]) -> str:
    unit = "tokens of a row" if name == "tokens" else f"characters of the {name}"
    shown = [(low, count, f"from {int(low):,} {unit}: {count:,} rows") for low, count in bins.items()]
    return section(
        unit.capitalize(), columns(shown, f"Rows by {unit}"), lead="Each column reaches to twice its number."
    )


def _preferred(summary: Mapping[str, Any]) -> str:
    if "chosen_longer" not in summary:
        return ""
    longer = summary["chosen_longer"]
    lead = (
        f"The chosen answer is the longer one in <b>{longer['share']:.0%}</b> of the pairs of unequal length. Far from "
        "half, a reward model can win by counting characters."
    )
    shown = {name: longer.get(name, 0) for name in ("chosen", "rejected", "equal")}
    return section("Which answer is longer", counts(shown, "Pairs by the longer answer"), lead=lead)


def _labels(summary: Mapping[str, Any]) -> str:
    if "labels" not in summary:
        return ""
    sides = [side for side in summary["rows"] if side != "all"]
    sums = {name: sum(one.values()) for name, one in summary["labels"].items()}
    most, weights, even = max(sums.values()), summary["weights"], summary["label_balance"]
    lead = (
        f"{even['labels']} labels, {even['least']:,} to {even['most']:,} rows each; evenness {even['evenness']:.2f}, "
        "where 1 is as many of each."
    )
    rows = [
        (
            text(name),
            line([("bar", sums[name])], most),
            *(f"{summary['labels'][name].get(side, 0):,}" for side in sides),
            *([f"{weights.get(name, 1):.3f}"] if weights else []),
        )
        for name in sorted(sums, key=lambda name: (-sums[name], name))
    ]
    heads = ("label", "", *sides, *(["weight"] if weights else []))
    return section("Labels", table(heads, rows, range(2, len(heads))), lead=lead)


def _contrary(pairs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            f"<code>{text(pair['row'])}</code> {text(', '.join(pair['labels']))}",
            f"<code>{text(pair['like'])}</code> {text(', '.join(pair['others']))}",
            excerpt(pair["text"]),
        )
        for pair in pairs
    ]
    lead = "One of the two labels may be wrong."
    return section("Alike, with other labels", table(("row", "like", "text"), rows), lead=lead) if rows else ""


def _turns(turns: Mapping[str, int]) -> str:
    return columns([(name, count, f"{name}: {count:,} rows") for name, count in turns.items()], "Rows by user turns")


def _systems(systems: Mapping[str, Any]) -> str:
    if not systems.get("with"):
        return ""
    lead = f"{systems['with']:,} rows have one, {systems['different']:,} different ones."
    shown = {name[:200] or "(none)": count for name, count in systems["most_frequent"].items()}
    return section("System messages", counts(shown, "Rows by system message"), lead=lead)


def _sources(sources: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (f"<code>{text(source)}</code>", ", ".join(f"{side} {count:,}" for side, count in sorted(sides.items())))
        for source, sides in sources.items()
    ]
    return section("Files", table(("file", "rows kept"), rows))
