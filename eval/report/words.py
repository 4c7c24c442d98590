"""Figures and sentences that all forms of the report share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from eval.comparison import NEGLIGIBLE, Comparison, Score
from eval.results import REWARD_MODEL, Results

# From here on (the perplexity of a model that knows nothing) figures are written as 1.2e+07.
LARGE = 1e6


def decimals(scores: Sequence[Score]) -> int:
    """Return how many decimals a column needs so that its intervals are not rounded away: 1 to 3."""
    largest = max(abs(score.value) for score in scores)
    widths = [score.half_width for score in scores if 0 < score.half_width < math.inf]
    wanted = 2 if not widths else -math.floor(math.log10(median(widths)))
    return max(1 if largest >= 10 else 2, min(wanted, 2 if largest >= 10 else 3))


def figure(score: Score, places: int) -> str:
    """Return `0.62 ±0.05`."""
    form = f".{places}f" if abs(score.value) < LARGE else ".2g"
    return f"{score.value:{form}} ±{score.half_width:{form}}".replace("-", "−")


def heading(score: Score) -> str:
    """Return a measure's name, with an arrow where lower is better."""
    return score.label if score.higher_is_better else f"{score.label}↓"


def p_value(p: float) -> str:
    """Return a p-value in words."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def best(scores: Sequence[Score]) -> set[str]:
    """Return the checkpoints with the best value."""
    top = max(score.value if score.higher_is_better else -score.value for score in scores)
    return {score.checkpoint for score in scores if (score.value if score.higher_is_better else -score.value) == top}


def verdicts(results: Results) -> list[str]:
    """Return one sentence for each pair of checkpoints."""
    pairs = dict.fromkeys((one.before, one.after) for one in results.comparisons)
    return [verdict_on([c for c in results.comparisons if (c.before, c.after) == pair]) for pair in pairs]


def verdict_on(comparisons: Sequence[Comparison]) -> str:
    """Return what the comparisons of one pair say, in one sentence."""
    first = comparisons[0]
    parts = []
    for verdict in ("better", "worse", "no evidence"):
        there = [
            f"{one.task} {one.label} ({signed(one.difference, '.3g')})" for one in comparisons if one.verdict == verdict
        ]
        if there:
            names = ", ".join(there)
            parts.append(f"no evidence in {names}" if verdict == "no evidence" else f"{verdict} in {names}")
    return f"{first.after} against {first.before}: {'; '.join(parts)}"


def signed(value: float, form: str = ".3f") -> str:
    """Return a number with its sign, and a minus as wide as a plus; what is negligible is a zero."""
    shown = value if abs(value) >= NEGLIGIBLE else 0.0
    return f"{shown:+{form}}".replace("-", "−")


def reward_lines(results: Results) -> list[str]:
    """Return the reward model's own accuracy in words."""
    return [
        f"{one.task}: {one.label} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}], {one.n} pairs"
        for one in results.reward_scores()
    ]


def warnings(results: Results) -> list[str]:
    """Return what makes scores doubtful: contamination first, then items that were not asked."""
    found = [
        f"CONTAMINATION: {len(hit.items)} of {hit.of} items of {hit.task!r} occur in {hit.file} (stage {hit.stage}), "
        f"which {', '.join(hit.checkpoints)} learned from; for example {shortened(hit.example)!r}. "
        "Their scores on this task are too good."
        for hit in results.contamination
    ]
    for task in results.tasks:
        for name, count in task.not_asked.items():
            who = "the reward model" if name == REWARD_MODEL else name
            found.append(
                f"{count} of {task.items} items of {task.name!r} do not fit into the context of {who}: "
                "not asked, and left out of its scores and comparisons"
            )
    return found


def not_searched(results: Results, most: int = 100) -> str | None:
    """Return which training files could not be searched for test items; `most` of them are named."""
    files = results.not_searched
    if not files:
        return None
    named = ", ".join(files[:most]) + (f" and {len(files) - most} more" if len(files) > most else "")
    return f"Not searched for test items, because these training files are not there any more: {named}"


def shortened(text: str, length: int = 90) -> str:
    """Return a text on one line, cut with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def explanation() -> str:
    """Return what the figures mean."""
    return (
        "± is half of the 95 % interval (bootstrap over items or their sources; Wilson for proportions). "
        "Verdicts come from paired tests on the same items, adjusted for their number (Holm, 5 %)."
    )
