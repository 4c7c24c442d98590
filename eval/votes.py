"""What people's votes say so far, as HTML: wins of each checkpoint, of each pair of them, and how far to trust them.

Left out: ratings (Bradley-Terry) and each voter's reliability.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from data_prep.feedback import results
from data_prep.feedback.replay import State
from data_prep.feedback.results import Tally
from eval.statistics import wilson

HEADS = ["Wins", "Losses", "Ties", "Both bad", "No majority", "Share of decided pairs won (95%)"]


def html(state: State) -> str:
    """Return three tables."""
    if not results.judged(state):
        return "<p>No votes yet.</p>"
    alone = [[name, *_row(tally)] for name, tally in results.tallies(state).items()]
    duels = [[f"{first} against {second}", *_row(tally)] for (first, second), tally in results.duels(state).items()]
    tables = (["Checkpoint", *HEADS], alone), (["Pair", *HEADS], duels), (["How far to trust them", ""], _trust(state))
    return "".join(_table(heads, rows) for heads, rows in tables)


def _trust(state: State) -> list[list[Any]]:
    said = results.reliability(state)
    interval = said["krippendorff_alpha_interval"]
    between = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
    return [
        ["People", said["people"]],
        ["Pairs judged", said["judged"]],
        ["Pairs judged by more than one person", said["judged_by_several"]],
        ["Two people say the same", _share(said["percent_agreement"])],
        ["Krippendorff's alpha (0: chance, 1: perfect; 95%)", _number(said["krippendorff_alpha"]) + between],
        ["Cohen's kappa (where there are two people)", _number(said["cohen_kappa"])],
        ["Decided votes for the left side (50%: no bias)", _share(said["share_left"])],
    ]


def _row(tally: Tally) -> list[Any]:
    decided = tally.wins + tally.losses
    share = "–"
    if decided:
        interval = wilson(tally.wins, decided)
        share = f"{tally.wins / decided:.0%} ({interval.low:.0%} to {interval.high:.0%})"
    return [tally.wins, tally.losses, tally.ties, tally.both_bad, tally.split, share]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; whatever stands in it is escaped."""

    def line(cells: Sequence[Any], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(heads, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
