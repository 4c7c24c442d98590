"""A corpus's report: one HTML file without scripts or network, for light and dark screens, wide and narrow.

Everything that comes from documents, file names or recipes is escaped. A part of the summary that is missing leaves its
section out. What the summary holds: `data_prep/corpus/making.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.report import content, losses, people
from data_prep.report.markup import section, share, short

CONTENTS = {
    "funnel": "Step by step", "reasons": "Why documents went", "sources": "Sources", "duplicates": "Duplicates",
    "personal": "Personal data", "questions": "Evaluation questions", "people": "Of whom it speaks", "run": "The run",
}  # fmt: skip


def page(summary: Mapping[str, Any]) -> str:
    """Return the report of a corpus."""
    body = "\n".join(
        part
        for part in (
            _figures(summary),
            *_warnings(summary),
            losses.funnel(summary.get("steps", ())),
            losses.reasons(summary.get("steps", ())),
            losses.unreadable(summary.get("unreadable", {})),
            _two(content.lengths(summary), content.sides(summary.get("sides", {}))),
            content.sources(summary),
            _two(content.languages(summary), content.licenses(summary)),
            _two(content.formats(summary), content.years(summary)),
            losses.duplicates(summary),
            content.personal_data(summary),
            losses.questions(summary.get("contamination", {})),
            people.section_of(summary.get("tally", {})),
            content.engine(summary.get("engine", {})),
        )
        if part
    )
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title in CONTENTS.items() if f'id="{name}"' in body)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Corpus report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{style}</style></head><body><main>\n"
        '<h1>Corpus report</h1>\n<p class="lead">What came in, what was kept, and why the rest was not.</p>\n'
        f"<nav>{links}</nav>\n{body}\n</main></body></html>\n"
    )


def _two(*parts: str) -> str:
    there = [part for part in parts if part]
    return f'<div class="two">{"".join(there)}</div>' if there else ""


def _figures(summary: Mapping[str, Any]) -> str:
    read = summary["steps"][0]
    kept = {name: sum(side[name] for side in summary["sides"].values()) for name in ("documents", "words")}
    dropped = sum(summary.get("reasons", {}).values())
    words = short(kept["words"]) if kept["words"] >= 1e6 else f"{kept['words']:,}"
    shown = {
        "documents read": f"{read['documents_out']:,}",
        "documents kept": f"{kept['documents']:,} <small>{share(kept['documents'], read['documents_out'])}</small>",
        "words kept": f"{words} <small>{share(kept['words'], read['words_out'])}</small>",
        "documents dropped": f"{dropped:,}",
        "personal data replaced": f"{sum(summary.get('redacted', {}).values()):,}",
        "evaluation questions found": f"{summary.get('contamination', {}).get('found', 0):,}",
    }
    return section("", '<div class="tiles">' + "".join(
        f"<div><b>{value}</b><span>{name}</span></div>" for name, value in shown.items()) + "</div>")  # fmt: skip


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    """Return what whoever signs for this corpus should not overlook."""
    kept = sum(side["documents"] for side in summary["sides"].values())
    unstated = summary.get("licenses", {}).get("not stated", 0)
    unreadable = sum(summary.get("unreadable", {}).values())
    found = []
    if unstated:
        found.append(
            f"<b>{unstated:,} of {kept:,} documents ({share(unstated, kept)}) state no licence.</b> "
            "Nobody has said that they may be used: find out, or leave them out."
        )
    if "questions" not in summary.get("contamination", {}):
        found.append("<b>No evaluation set was named</b> (<code>decontaminate:</code>), so none was looked for.")
    if unreadable:
        found.append(
            f"<b>{unreadable:,} files or rows could not be read.</b> "
            "Each is listed in <code>unreadable.jsonl</code> with its reason."
        )
    if forgotten := summary.get("reasons", {}).get("forgotten", 0):
        found.append(f"{forgotten:,} documents were left out on request (<code>forget:</code>).")
    return [f'<p class="warning">{one}</p>' for one in found]
