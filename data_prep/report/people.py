"""The report on people: how often groups are spoken of, and which words stand beside them (see demographics.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from data_prep.governance.demographics import Association, associations, summed
from data_prep.report.markup import Bar, bars, interval, section, share, table, text

MOST_GROUPS = 12
MOST_TERMS = 6
MOST_ASSOCIATIONS = 15


def section_of(tallies: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the section; `tallies` are those of the sides."""
    sides = {side: tally["demographics"] for side, tally in tallies.items() if tally["documents"]}
    if not sides:
        return ""
    whole = summed(list(sides.values()))
    documents = {side: tallies[side]["documents"] for side in sides}
    axes = [_axis(axis, whole, sides, documents) for axis in whole["groups"]]
    lead = (
        "Documents that use a word of a list (<code>data_prep/governance/demographic_terms.yaml</code>). A word is no "
        "person: the list is short, English, and cannot tell who is meant. Read it as a question, not as an answer."
    )
    return section("Of whom it speaks", *axes, _associated(associations(whole)), lead=lead, anchor="people")


def _axis(
    axis: str, whole: Mapping[str, Any], sides: Mapping[str, Mapping[str, Any]], documents: Mapping[str, int]
) -> str:
    groups = sorted(whole["groups"][axis].items(), key=lambda item: (-item[1]["documents"], item[0]))
    there = [(group, said) for group, said in groups if said["documents"]]
    title = f"<h3>{text(axis.capitalize())}</h3>"
    if not there:
        return f'{title}<p class="soft">No word of the list.</p>'
    shown = there[:MOST_GROUPS]
    left = [group for group, _ in there[MOST_GROUPS:]]
    absent = [group for group, said in groups if not said["documents"]]
    notes = [f"Fewer: {', '.join(left)}."] if left else []
    notes += [f"None: {', '.join(absent)}."] if absent else []
    note = f'<p class="soft"><small>{text(" ".join(notes))}</small></p>' if notes else ""
    drawn = bars([_group(group, said, sum(documents.values())) for group, said in shown], f"Documents by {axis}")
    return f"{title}{drawn}{note}{_by_side(axis, [group for group, _ in shown], sides, documents)}"


def _group(group: str, said: Mapping[str, Any], documents: int) -> Bar:
    terms = sorted(said["terms"].items(), key=lambda item: (-item[1], item[0]))
    words = ", ".join(f"{term} {count:,}" for term, count in terms[:MOST_TERMS])
    number = f"{said['documents']:,} <small>{share(said['documents'], documents)}</small>"
    return Bar(f"{text(group)}<small>{text(words)}</small>", number, [("bar", said["documents"])])


def _by_side(
    axis: str, groups: Sequence[str], sides: Mapping[str, Mapping[str, Any]], documents: Mapping[str, int]
) -> str:
    """Return a folded table: are the sides alike?"""
    if len(sides) < 2:
        return ""
    counts = {side: row["groups"][axis] for side, row in sides.items()}
    rows = [
        (text(group), *(f"{of[group]['documents']:,} ({share(of[group]['documents'], documents[side])})"
                        for side, of in counts.items()))
        for group in groups
    ]  # fmt: skip
    drawn = table(("documents", *map(text, sides)), rows, range(1, len(sides) + 1))
    return f"<details><summary>By side of the split</summary>{drawn}</details>"


def _associated(found: Sequence[Association]) -> str:
    """Return the words that surely stand more beside one group than beside the others of its axis."""
    clear = [one for one in found if one.clear]
    lead = (
        "A word of a second list (occupations, family, work, praise and blame) in one sentence with a group: the odds "
        "against those in sentences with the other groups of the same axis. Intervals hold at 95 % for all comparisons "
        "of an axis together, so chance finds are rare; sentences of one document are not independent, so they are "
        f"still somewhat too narrow. {len(found):,} comparisons were made, {len(clear):,} stand out"
        + (f"; the {MOST_ASSOCIATIONS} surest:" if len(clear) > MOST_ASSOCIATIONS else ".")
    )
    shown = clear[:MOST_ASSOCIATIONS]
    body = f"<h3>Words beside groups</h3><p class='soft'>{lead}</p>"
    if not shown:
        return body
    limits = (min(0.0, *(one.low for one in shown)) - 0.2, max(one.high for one in shown) + 0.2)
    rows = [
        (f"<b>{text(one.group)}</b> + {text(one.word)}", interval(one.low, one.log_odds, one.high, limits),
         f"× {_odds(one.log_odds)} <small class='soft'>({_odds(one.low)} to {_odds(one.high)})</small>",
         f"{one.sentences:,}", f"{one.documents:,}", f"{one.information:+.1f}")
        for one in shown
    ]  # fmt: skip
    heads = ("group + word", "", "odds", "sentences", "documents", "PMI, bits")
    return body + table(heads, rows, range(2, 6))


def _odds(log_odds: float) -> str:
    odds = math.exp(log_odds)
    return f"{odds:.1f}" if odds < 100 else f"{odds:,.0f}"
