"""The report on what went: step by step, by reason with examples, duplicates, evaluation questions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_prep.report.markup import Bar, bars, counts, excerpt, line, section, share, table, text


def funnel(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return what each step left, and what it took."""
    if not steps:
        return ""
    most = max(step["documents_out"] for step in steps)
    rows = []
    for step in steps:
        gone = sum(step["dropped"].values())
        drawn = line([("bar", step["documents_out"]), ("lost", gone)], most)
        rows.append(
            (f"<b>{text(step['name'])}</b>", drawn, f"{step['documents_out']:,}", f"{step['words_out']:,}",
             _number(gone), _number(step["changed"]))
        )  # fmt: skip
    key = (
        '<div class="key"><span><i></i>documents left</span><span><i class="lost"></i>dropped by this step</span></div>'
    )
    heads = ("step", "", "documents", "words", "dropped", "repaired")
    return section("Step by step", key, table(heads, rows, range(2, 6)), anchor="funnel")


def reasons(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return why documents were dropped, the most frequent reason first, with examples to open."""
    dropped = [(count, step, reason) for step in steps for reason, count in step["dropped"].items()]
    order = sorted(dropped, key=lambda item: (-item[0], item[1]["name"], item[2]))
    total = sum(count for count, _, _ in order)
    rows = [
        Bar(f"<b>{text(reason)}</b><small>{text(step['name'])}</small>",
            f"{count:,} <small>{share(count, total)}</small>", [("lost", count)],
            _examples(step.get("examples", {}).get(reason, ())))
        for count, step, reason in order
    ]  # fmt: skip
    lead = "The first of each kind can be opened. All dropped documents are in <code>dropped.jsonl</code>."
    if not order:
        return section("Why documents went", '<p class="soft">None was dropped.</p>', anchor="reasons")
    return section("Why documents went", bars(rows, "Dropped documents by reason"), lead=lead, anchor="reasons")


def _examples(examples: Iterable[Mapping[str, str]]) -> str:
    return "".join(
        f'<details class="examples"><summary><code>{text(one["id"])}</code> {text(one["detail"])}</summary>'
        f"{excerpt(one['text'])}</details>"
        for one in examples
    )


def unreadable(found: Mapping[str, int]) -> str:
    """Return why files and rows gave no document."""
    lead = "Each one is listed in <code>unreadable.jsonl</code>."
    return section("Files and rows that could not be read", counts(found, "Unreadable by reason"), lead=lead)


def duplicates(summary: Mapping[str, Any]) -> str:
    """Return how many copies there were, how large their clusters are, and pairs to judge the threshold by."""
    found, alike = summary.get("duplicates") or {}, summary.get("alike") or ()
    if not found and not alike:
        return ""
    return section("Duplicates", _copies(found), _largest(found.get("largest", ())), _pairs(alike), anchor="duplicates")


def _copies(found: Mapping[str, Any]) -> str:
    shown = {
        "exact copies": found.get("exact"),
        "near-duplicates": found.get("near"),
        "clusters of documents that are alike": found.get("clusters"),
        "paragraphs that stand elsewhere": sum(
            (found.get("paragraphs") or {}).get(name, 0) for name in ("exact", "near")
        )
        if found.get("paragraphs")
        else None,
    }
    tiles = "".join(f"<div><b>{n:,}</b><span>{name}</span></div>" for name, n in shown.items() if n is not None)
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


def _largest(clusters: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        Bar(f"<code>{text(one['id'])}</code>", f"{one['size']:,}", [("bar", one["size"])])
        for one in clusters
        if one["size"] > 1
    ]
    drawn = bars(rows, "Documents in the largest clusters")
    return f"<h3>Largest clusters, by documents in them</h3>{drawn}" if rows else ""


def _pairs(alike: Sequence[Mapping[str, Any]]) -> str:
    if not alike:
        return ""
    lead = "If the two texts of a pair say different things, the threshold is too low."
    pairs = "".join(
        '<div class="pair">'
        + _side(f"kept ({pair['likeness']:.2f} alike)", pair["kept"])
        + _side("dropped", pair["dropped"])
        + "</div>"
        for pair in alike
    )
    return f'<h3>The near-duplicates that are least alike</h3><p class="soft">{lead}</p>{pairs}'


def _side(said: str, one: Mapping[str, str]) -> str:
    head = f'<span class="soft">{said}</span> <code>{text(one["id"])}</code>'
    return f"<div>{head}{excerpt(one['text'])}</div>"


def questions(found: Mapping[str, Any]) -> str:
    """Return which evaluation questions were found in documents, with both texts."""
    if "questions" not in found:
        return ""
    shown = found.get("shown", ())
    lead = (
        f"{found['questions']:,} questions were looked for; {found['found']:,} times one was found, and the document "
        f"was left out. {found['too_short_to_search_for']:,} have too few words to be looked for. "
        "All hits are in <code>contamination.jsonl</code>"
        + (f"; the first {len(shown)} follow." if len(shown) < found["found"] else ".")
    )
    pairs = "".join(
        '<div class="pair">'
        + _side("evaluation question", {"id": hit["evaluation"], "text": hit["question"][:400]})
        + _side("document", {"id": hit["document"], "text": hit["excerpt"]})
        + "</div>"
        for hit in shown
    )
    folded = f"<details{' open' if len(shown) < 4 else ''}><summary>Show both texts of each</summary>{pairs}</details>"
    body = folded if pairs else '<p class="soft">None was found.</p>'
    return section("Evaluation questions in the documents", body, lead=lead, anchor="questions")


def _number(count: int) -> str:
    return f"{count:,}" if count else ""
