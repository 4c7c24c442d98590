"""A corpus's report: one HTML file without scripts or network, readable with the browser's own fonts."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

STYLE = """
:root { --ink: #1d2430; --soft: #5c6675; --line: #dde2ea; --bar: #3d7dca; --lost: #d9822b; --ground: #f6f7f9 }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 60px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 0 0 10px }
p.lead { color: var(--soft); margin: 0 0 20px }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 18px 20px; margin: 0 0 18px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: 5px 10px 5px 0; vertical-align: top }
th { color: var(--soft); font-weight: 600; font-size: 13px; border-bottom: 1px solid var(--line) }
td { border-bottom: 1px solid #eef1f5 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { display: inline-block; height: 11px; background: var(--bar); border-radius: 2px; vertical-align: middle;
  min-width: 1px }
.bar.lost { background: var(--lost) } td.plot { width: 34% }
.figures { display: flex; gap: 34px; flex-wrap: wrap } .figures b { display: block; font-size: 25px; line-height: 1.2 }
.figures span { color: var(--soft) } .soft { color: var(--soft) } code { font-size: 13px; overflow-wrap: anywhere }
blockquote { margin: 4px 0 10px; padding: 6px 12px; border-left: 3px solid var(--line); color: #39424f;
  overflow-wrap: anywhere }
details { margin: 4px 0 } summary { cursor: pointer }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 0 26px }
@media (max-width: 760px) { .two { grid-template-columns: 1fr } td.plot { display: none } }
"""


def page(summary: Mapping[str, Any]) -> str:
    """Return the report of a corpus."""
    sections = [
        _figures(summary),
        _funnel(summary["steps"]),
        _reasons(summary["steps"]),
        _unreadable(summary["unreadable"]),
        '<div class="two">' + _lengths(summary["lengths"]) + _sides(summary["sides"]) + "</div>",
        _sources(summary["sources"]),
        _counts("Languages", summary["languages"]),
        _counts("Licences", summary["licenses"]),
        _counts(
            "Personal data replaced", summary["redacted"], "No personal data were found, or they were not looked for."
        ),
        _contamination(summary["contamination"]),
        _alike(summary["alike"]),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Corpus report</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>\n'
        "<h1>Corpus report</h1>\n<p class=lead>What came in, what was kept, and why the rest was not.</p>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _figures(summary: Mapping[str, Any]) -> str:
    read = summary["steps"][0]
    kept = {name: sum(side[name] for side in summary["sides"].values()) for name in ("documents", "words")}
    share = kept["documents"] / read["documents_out"] if read["documents_out"] else 0
    shown = {
        "documents read": f"{read['documents_out']:,}",
        "documents kept": f"{kept['documents']:,} <small class=soft>{share:.0%}</small>",
        "words kept": f"{kept['words']:,} <small class=soft>of {read['words_out']:,}</small>",
        "personal data replaced": f"{sum(summary['redacted'].values()):,}",
        "evaluation questions found": f"{summary['contamination']['found']:,}",
        "files and rows not readable": f"{sum(summary['unreadable'].values()):,}",
    }
    return _section("", '<div class="figures">' + "".join(
        f"<div><b>{value}</b><span>{name}</span></div>" for name, value in shown.items()) + "</div>")  # fmt: skip


def _funnel(steps: Sequence[Mapping[str, Any]]) -> str:
    most = max(step["documents_out"] for step in steps)
    rows = [
        (
            step["name"], _bar(step["documents_out"], most), f"{step['documents_out']:,}", f"{step['words_out']:,}",
            _number(sum(step["dropped"].values())), _number(step["changed"]),
        )
        for step in steps
    ]  # fmt: skip
    return _section(
        "Funnel",
        _table(("step", "", "documents left", "words left", "dropped", "repaired"), rows, numbers={2, 3, 4, 5}),
    )


def _reasons(steps: Sequence[Mapping[str, Any]]) -> str:
    dropped = [(step, reason, count) for step in steps for reason, count in step["dropped"].items()]
    if not dropped:
        return _section("Why documents were dropped", "<p class=soft>None was.</p>")
    most = max(count for _, _, count in dropped)
    rows = [
        (f"{_text(step['name'])}: <b>{_text(reason)}</b>", _bar(count, most, lost=True), f"{count:,}",
         _examples(step["examples"].get(reason, ())))
        for step, reason, count in sorted(dropped, key=lambda item: -item[2])
    ]  # fmt: skip
    return _section(
        "Why documents were dropped", _table(("step: reason", "", "documents", "examples"), rows, numbers={2})
    )


def _examples(examples: Iterable[Mapping[str, str]]) -> str:
    return "".join(
        f"<details><summary><code>{_text(one['id'])}</code> <span class=soft>{_text(one['detail'])}</span></summary>"
        f"<blockquote>{_text(one['text'])}</blockquote></details>"
        for one in examples
    )


def _unreadable(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return ""
    note = "<p class=soft>Each one is listed in <code>unreadable.jsonl</code>.</p>"
    return _counts("Files and rows that could not be read", reasons, note=note)


def _lengths(lengths: Sequence[int]) -> str:
    """Return a histogram of words a document, two bars a doubling."""
    bins: dict[int, int] = {}
    for length in lengths:
        place = math.floor(2 * math.log2(max(1, length)))
        bins[place] = bins.get(place, 0) + 1
    if not bins:
        return ""
    most = max(bins.values())
    rows = [
        (f"{_edge(place):,} to {_edge(place + 1) - 1:,}", _bar(bins.get(place, 0), most), f"{bins.get(place, 0):,}")
        for place in range(min(bins), max(bins) + 1)
        if _edge(place + 1) > _edge(place)
    ]  # fmt: skip
    return _section("Words in a document", _table(("words", "", "documents"), rows, numbers={2}))


def _edge(place: int) -> int:
    return math.ceil(2 ** (place / 2))


def _sides(sides: Mapping[str, Mapping[str, int]]) -> str:
    rows = [
        (side, f"{size['documents']:,}", f"{size['words']:,}", f"{size['bytes'] / 1e6:.2f} MB")
        for side, size in sides.items()
    ]
    note = "<p class=soft>Documents that are alike stand on one side.</p>"
    return _section("Split", _table(("side", "documents", "words", "text"), rows, numbers={1, 2, 3}) + note)


def _sources(sources: Mapping[str, Mapping[str, int]]) -> str:
    most = max((size["words"] for size in sources.values()), default=1)
    rows = [
        (_text(source), _bar(size["words"], most), f"{size['documents']:,}", f"{size['words']:,}")
        for source, size in sources.items()
    ]
    return _section("Sources", _table(("source", "", "documents kept", "words kept"), rows, numbers={2, 3}))


def _counts(title: str, counts: Mapping[str, int], empty: str = "", note: str = "") -> str:
    if not counts:
        return _section(title, f"<p class=soft>{empty}</p>") if empty else ""
    most = max(counts.values())
    rows = [(_text(name), _bar(count, most), f"{count:,}") for name, count in counts.items()]
    return _section(title, _table(("", "", "number"), rows, numbers={2}) + note)


def _contamination(found: Mapping[str, Any]) -> str:
    title = "Evaluation questions in the documents"
    if "questions" not in found:
        return _section(
            title,
            "<p class=soft>No evaluation file was named (<code>decontaminate:</code>), so none was looked for.</p>",
        )
    lead = (
        f"<p>{found['questions']:,} questions were looked for, {found['found']:,} found"
        f"{'' if found['found'] <= len(found['shown']) else ', the first ' + str(len(found['shown'])) + ' shown'}; "
        f"{found['too_short_to_search_for']:,} have too few words to be looked for. "
        "All are in <code>contamination.jsonl</code>.</p>"
    )
    rows = [
        (f"<code>{_text(hit['evaluation'])}</code><blockquote>{_text(hit['question'][:400])}</blockquote>",
         f"<code>{_text(hit['document'])}</code><blockquote>{_text(hit['excerpt'])}</blockquote>")
        for hit in found["shown"]
    ]  # fmt: skip
    return _section(title, lead + (_table(("evaluation question", "document"), rows) if rows else ""))


def _alike(pairs: Sequence[Mapping[str, Any]]) -> str:
    if not pairs:
        return ""
    rows = [
        (f"{pair['likeness']:.2f}", *(f"<code>{_text(pair[name]['id'])}</code><blockquote>{_text(pair[name]['text'])}"
         "</blockquote>" for name in ("dropped", "kept")))
        for pair in pairs
    ]  # fmt: skip
    lead = "<p class=soft>The pairs nearest to the threshold: if these say different things, raise it.</p>"
    return _section("Near-duplicates", lead + _table(("alike", "dropped", "kept"), rows))


def _section(title: str, body: str) -> str:
    return f"<section>{f'<h2>{title}</h2>' if title else ''}{body}</section>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int] | None = None) -> str:
    numbers = numbers or set()
    marks = [' class="n"' if index in numbers else "" for index in range(len(heads))]
    head = "".join(f"<th{mark}>{name}</th>" for mark, name in zip(marks, heads, strict=True))
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
    if not value:
        return '<span class="bar" style="width:0;min-width:0"></span>'
    width = 100 * value / most
    return f'<span class="bar{" lost" if lost else ""}" style="width:{width:.1f}%"></span>'


def _number(count: int) -> str:
    return f"{count:,}" if count else ""


def _text(value: object) -> str:
    return html.escape(str(value))
