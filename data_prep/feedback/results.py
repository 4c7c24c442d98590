"""What the votes say so far: each checkpoint's wins and losses, agreement between people, bias to a side.

A comparison that several people judged counts once, by its majority, so that one pair is not mistaken for many. Left
out: Bradley-Terry ratings, each annotator's reliability; intervals of win rates stand in eval/statistics.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from data_prep.feedback import agreement
from data_prep.feedback.conversion import consensus
from data_prep.feedback.replay import BOTH_BAD, TIE, Judged, State


@dataclass
class Tally:
    """How often a checkpoint won, lost, tied, or was bad together with the other; `split`: no majority."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    both_bad: int = 0
    split: int = 0

    def add(self, outcome: str | None, number: int) -> None:
        """Count one comparison in which the checkpoint was candidate `number`."""
        if outcome is None:
            self.split += 1
        elif outcome == TIE:
            self.ties += 1
        elif outcome == BOTH_BAD:
            self.both_bad += 1
        elif outcome == str(number):
            self.wins += 1
        else:
            self.losses += 1


def judged(state: State) -> list[Judged]:
    """Return the comparisons that somebody has judged."""
    return [comparison for comparison in state.comparisons if comparison.judgements]


def tallies(state: State) -> dict[str, Tally]:
    """Return each checkpoint's tally over all its comparisons."""
    found: dict[str, Tally] = defaultdict(Tally)
    for comparison in judged(state):
        for number, candidate in enumerate(comparison.candidates):
            found[candidate.checkpoint].add(_verdict(comparison), number)
    return dict(sorted(found.items()))


def duels(state: State) -> dict[tuple[str, str], Tally]:
    """Return, for each pair of checkpoints (a, b) in alphabetical order, how a fared against b."""
    found: dict[tuple[str, str], Tally] = defaultdict(Tally)
    for comparison in judged(state):
        names = [candidate.checkpoint for candidate in comparison.candidates]
        first, second = sorted(names)
        found[first, second].add(_verdict(comparison), names.index(first))
    return dict(sorted(found.items()))


def _verdict(comparison: Judged) -> str | None:
    outcome, share = consensus(comparison.judgements)
    return outcome if share > 0.5 else None


def reliability(state: State, *, seed: int = 0) -> dict[str, Any]:
    """Return raters, agreement figures and the share of left votes; None where the votes do not yet define one."""
    comparisons = judged(state)
    units = [[judgement.outcome for judgement in comparison.judgements] for comparison in comparisons]
    choices = [judgement.choice for comparison in comparisons for judgement in comparison.judgements]
    return {
        "people": len({judgement.person for comparison in comparisons for judgement in comparison.judgements}),
        "judged": len(comparisons),
        "judged_by_several": sum(len(unit) > 1 for unit in units),
        "percent_agreement": agreement.percent_agreement(units),
        "cohen_kappa": agreement.cohen_kappa(_pairs_of_two(comparisons)),
        "krippendorff_alpha": agreement.krippendorff_alpha(units),
        "krippendorff_alpha_interval": agreement.alpha_interval(units, seed=seed),
        "share_left": agreement.share_left(choices),
    }


def _pairs_of_two(comparisons: Iterable[Judged]) -> list[tuple[str, str]]:
    """Return the labels of the two raters, where the whole store has just two; kappa is defined for them only."""
    by_person = [{one.person: one.outcome for one in comparison.judgements} for comparison in comparisons]
    people = sorted({person for labels in by_person for person in labels})
    if len(people) != 2:
        return []
    return [(labels[people[0]], labels[people[1]]) for labels in by_person if len(labels) == 2]
