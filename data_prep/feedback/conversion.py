"""Labels -> training rows; every comparison, vote and pair is counted in and out, nothing gets lost on the way.

- A candidate that more than half of the raters prefer wins: one `Preference`, `margin` from the strength of the votes,
  `agreement` the share of raters who say so.
- "Tie" gives two unpaired rows labelled good, "both bad" two labelled bad (the shape that KTO trains on).
- An edited answer gives a `Conversation` (a demonstration) and a pair for each answer it was judged better than: the
  voter's own choice or, after a tie or both bad, either answer.
- Where raters are too few or disagree, the comparison goes to the dropped rows with its reason.

People's names are not copied: rows name vote ids. Left out: Dawid-Skene consensus, rankings of more than two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from data_prep.feedback.replay import BOTH_BAD, TIE, Judged, Judgement, State
from data_prep.records import Conversation, Message, Preference

MARGINS = {None: 1.0, 1: 0.5, 2: 1.0, 3: 2.0}  # no strength given, slightly, clearly, much better


@dataclass(frozen=True)
class Rules:
    """How many people must have judged, and what share of them must be exceeded by those who agree."""

    min_raters: int = 1
    min_agreement: float = 0.5
    edits: bool = True


# What is counted: what came in, what became of each comparison, what edits gave, what files gave.
COUNTED = ("comparisons", "votes", "superseded", "withdrawn", "votes_counted", "pairs_from_files")
FATES = ("won", TIE, BOTH_BAD, "dropped", "unjudged", "unfinished")
EDITS = ("edited", "pairs_from_edits")


@dataclass
class Converted:
    """Rows made, rows dropped with their reason, and the count of everything that went in."""

    pairs: list[Preference] = field(default_factory=list)
    unpaired: list[dict[str, Any]] = field(default_factory=list)
    conversations: list[Conversation] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys((*COUNTED, *FATES, *EDITS), 0)))

    def drop(self, reason: str, identity: str, **what: Any) -> None:
        """Note what is not used, and why."""
        self.dropped.append({"reason": reason, "id": identity, **what})


def convert(state: State, rules: Rules) -> Converted:
    """Return all rows that a label store's state gives."""
    made = Converted()
    made.counts.update(
        comparisons=len(state.comparisons), votes=state.votes, superseded=state.superseded, withdrawn=state.withdrawn
    )
    for comparison in state.comparisons:
        made.counts["votes_counted"] += len(comparison.judgements)
        _take(comparison, rules, made)
    return made


def consensus(judgements: Sequence[Judgement]) -> tuple[str, float]:
    """Return the most frequent outcome and its share; which of several equally frequent ones does not matter."""
    outcome, count = Counter(judgement.outcome for judgement in judgements).most_common(1)[0]
    return outcome, count / len(judgements)


def _take(comparison: Judged, rules: Rules, made: Converted) -> None:
    """Sort one comparison into the rows it gives."""
    judgements = comparison.judgements
    if not judgements:
        made.counts["unjudged" if None not in comparison.answers else "unfinished"] += 1
        return
    if rules.edits:
        for judgement in judgements:
            _edit(comparison, judgement, made)
    outcome, share = consensus(judgements)
    if len(judgements) < rules.min_raters:
        reason = "too few raters"
    elif share <= rules.min_agreement:
        reason = "no majority"
    elif outcome not in (TIE, BOTH_BAD) and len(set(_texts(comparison))) == 1:
        reason = "answers are equal"
    else:
        made.counts["won" if outcome not in (TIE, BOTH_BAD) else outcome] += 1
        _settle(comparison, outcome, share, made)
        return
    made.counts["dropped"] += 1
    outcomes = dict(Counter(judgement.outcome for judgement in judgements))
    made.drop(reason, comparison.id, prompt=comparison.prompt, answers=_texts(comparison), outcomes=outcomes)


def _settle(comparison: Judged, outcome: str, share: float, made: Converted) -> None:
    texts = _texts(comparison)
    agreeing = [judgement for judgement in comparison.judgements if judgement.outcome == outcome]
    numbers: dict[str, Any] = {"agreement": round(share, 6), "raters": len(comparison.judgements)}
    if outcome in (TIE, BOTH_BAD):
        for number, text in enumerate(texts):
            meta = _meta(comparison, agreeing, [number])
            row = {"id": f"{comparison.id}-{number}", "prompt": comparison.prompt, "completion": _said(text)}
            made.unpaired.append({**row, "label": outcome == TIE, **numbers, "meta": meta})
        return
    best = int(outcome)
    margin = round(mean(MARGINS[judgement.strength] for judgement in agreeing), 6)
    for number, text in enumerate(texts):
        if number != best:
            meta = _meta(comparison, agreeing, [best, number])
            made.pairs.append(
                Preference(
                    comparison.prompt, _said(texts[best]), _said(text), comparison.id, margin, meta=meta, **numbers
                )
            )


def _edit(comparison: Judged, judgement: Judgement, made: Converted) -> None:
    """Turn an edited answer into a demonstration and into pairs against what it was judged better than."""
    text, texts = judgement.edited.strip(), _texts(comparison)
    if not text:
        return
    made.counts["edited"] += 1
    identity = f"{comparison.id}-edit-{judgement.vote}"
    if text in [other.strip() for other in texts]:
        made.drop("edited answer equals an answer", identity, prompt=comparison.prompt, answers=[text])
        return
    meta = _meta(comparison, [judgement], [])
    made.conversations.append(Conversation([*comparison.prompt, *_said(text)], identity, meta))
    worse = range(len(texts)) if judgement.outcome in (TIE, BOTH_BAD) else [int(judgement.outcome)]
    for number in worse:
        made.counts["pairs_from_edits"] += 1
        meta = {**_meta(comparison, [judgement], [number]), "edited": True}
        made.pairs.append(
            Preference(
                comparison.prompt, _said(text), _said(texts[number]), f"{identity}-{number}", raters=1, meta=meta
            )
        )


def _texts(comparison: Judged) -> list[str]:
    """Return the answers; whoever has judged had all of them."""
    return [answer for answer in comparison.answers if answer is not None]


def _said(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


def _meta(comparison: Judged, judgements: Sequence[Judgement], numbers: Iterable[int]) -> dict[str, Any]:
    """Return where a row comes from: comparison, votes, and the checkpoints in the order of the row's answers."""
    who = [comparison.candidates[number] for number in numbers]
    return {
        "comparison": comparison.id,
        "votes": [judgement.vote for judgement in judgements],
        "checkpoints": [{"name": one.checkpoint, "content": one.content} for one in who],
    }
