"""The report on what is left: lengths, sides, sources, languages, licences, formats, years, personal data, the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_prep.governance.demographics import summed
from data_prep.governance.tally import bin_of
from data_prep.report.markup import Bar, bars, columns, counts, section, share, short, size, table, text

MOST = 25  # sources shown


def lengths(summary: Mapping[str, Any]) -> str:
    """Return a histogram of words in a document, two columns a doubling."""
    bins = {int(place): count for place, count in summary.get("lengths", {}).items()}
    if not bins:
        return ""
    first, last = min(bins), max(bins)
    places = [place for place in range(first, last + 1) if bin_of(place)[1] >= bin_of(place)[0]]
    each = 2 * -(-len(places) // 14)  # seven labels have room
    values = []
    for place in places:
        low, high = bin_of(place)
        label = (f"{low:,}" if low < 10_000 else short(low)) if place >= 0 and place % each == 0 else ""
        values.append((label, bins.get(place, 0), f"{low:,} to {high:,} words: {bins.get(place, 0):,} documents"))
    lead = "Documents by their words; two columns a doubling."
    return section("Words in a document", columns(values, "Documents by number of words"), lead=lead)


def sides(found: Mapping[str, Mapping[str, int]]) -> str:
    """Return the sides of the split."""
    total = sum(one["documents"] for one in found.values())
    rows = [
        (f"<b>{text(name)}</b>", f"{one['documents']:,}", share(one["documents"], total), f"{one['words']:,}",
         size(one["bytes"]))
        for name, one in found.items()
    ]  # fmt: skip
    heads = ("side", "documents", "", "words", "text")
    return section("Split", table(heads, rows, range(1, 5)) if rows else "",
                   lead="Documents that are alike stand on one side.")  # fmt: skip


def sources(summary: Mapping[str, Any]) -> str:
    """Return what was read and kept of each source."""
    found = summary.get("sources", {})
    order = sorted(found.items(), key=lambda item: (-_read(item[1]), -item[1]["words"], item[0]))
    rows = [_source(name, one) for name, one in order[:MOST]]
    if len(order) > MOST:
        rest = {key: sum(one.get(key, 0) for _, one in order[MOST:]) for key in ("documents", "words", "read")}
        rows.append(_source(f"{len(order) - MOST:,} others", rest))
    key = '<div class="key"><span><i></i>documents kept</span><span><i class="pale"></i>read and dropped</span></div>'
    return section("Sources", key if rows else "", bars(rows, "Documents read and kept by source"), anchor="sources")


def _read(one: Mapping[str, int]) -> int:
    """Return how many documents of a source were read; where that was not counted, those that were kept."""
    return max(one.get("read", 0), one["documents"])


def _source(name: str, one: Mapping[str, int]) -> Bar:
    read = _read(one)
    words = f"<small>{short(one['words'])} words</small>"
    return Bar(text(name), f"{one['documents']:,} of {read:,} {words}",
               [("bar", one["documents"]), ("pale", read - one["documents"])])  # fmt: skip


def languages(summary: Mapping[str, Any]) -> str:
    """Return documents by language."""
    return section("Languages", counts(summary.get("languages", {}), "Documents by language", 15, "together"))


def licenses(summary: Mapping[str, Any]) -> str:
    """Return documents by licence, those without one in the colour of what is wrong."""
    found = summary.get("licenses", {})
    rows = [
        Bar(f"<b>{text(name)}</b>" if name == "not stated" else text(name), f"{count:,}",
            [("lost" if name == "not stated" else "bar", count)])
        for name, count in sorted(found.items(), key=lambda item: (item[0] != "not stated", -item[1], item[0]))[:20]
    ]  # fmt: skip
    return section("Licences", bars(rows, "Documents by licence"))


def _by(summary: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return documents by a name that only the tallies know, over all sides."""
    tallies = list(summary.get("tally", {}).values())
    named = summed([tally["by"][name]["named"] for tally in tallies])
    return {one: documents for one, (documents, _, _) in named.items()}


def formats(summary: Mapping[str, Any]) -> str:
    """Return documents by the format of their file."""
    return section("Formats", counts(_by(summary, "format"), "Documents by file format", 12, "together"))


def years(summary: Mapping[str, Any]) -> str:
    """Return documents by year, where a year is known."""
    found = _by(summary, "year")
    known = {int(year): count for year, count in found.items() if year.isdigit()}
    if not known:
        return ""
    unknown = sum(found.values()) - sum(known.values())
    span = range(min(known), max(known) + 1)
    each = max(1, len(span) // 6)
    values = [
        (str(year) if index % each == 0 and index < len(span) - each // 2 else "", known.get(year, 0),
         f"{year}: {known.get(year, 0):,} documents")
        for index, year in enumerate(span)
    ]  # fmt: skip
    lead = f"{unknown:,} documents do not say of when they are." if unknown else ""
    return section("Years", columns(values, "Documents by year"), lead=lead)


def personal_data(summary: Mapping[str, Any]) -> str:
    """Return what was replaced, by kind."""
    found = summary.get("redacted", {})
    drawn = counts(found, "Personal data replaced by kind")
    none = '<p class="soft">None was found, or none was looked for (<code>filters: personal_data</code>).</p>'
    left_in = summed([tally["left_in"] for tally in summary.get("tally", {}).values()])
    left = f"<h3>Found and left in the text</h3>{counts(left_in, 'Personal data left in, by kind')}" if left_in else ""
    lead = "Placeholders such as <code>&lt;EMAIL&gt;</code> stand in their place." if found else ""
    body = drawn or ("" if left else none)
    return section("Personal data replaced" if body else "Personal data", body, left, lead=lead, anchor="personal")


def engine(found: Mapping[str, Any]) -> str:
    """Return how the work was done."""
    if not found:
        return ""
    seconds, read = found.get("seconds", 0), found.get("bytes_read", 0)
    shown = {
        "bytes read": size(read),
        "seconds": f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}",
        "a second": size(read / seconds) if seconds else "",
        "processes": f"{found.get('workers', 1):,}",
        "shards": f"{found.get('shards', 1):,}",
    }
    tiles = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in shown.items() if value)
    return section("The run", f'<div class="tiles">{tiles}</div>', anchor="run")
