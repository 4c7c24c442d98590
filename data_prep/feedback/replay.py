"""The present state of a label store, replayed from its rows: of each person's votes on a showing, the last counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from data_prep.feedback.store import Candidate, Store
from data_prep.records import Message

TIE, BOTH_BAD = "tie", "both_bad"


@dataclass(frozen=True)
class Judgement:
    """A vote that counts. `outcome` is the number of the better candidate (as text), "tie" or "both_bad"."""

    vote: int
    person: str
    outcome: str
    choice: str
    strength: int | None
    note: str
    edited: str
    seconds: float | None
    order: list[int]


@dataclass
class Judged:
    """A comparison with its candidates, answers (None: never finished) and the judgements that count."""

    id: str
    created: str
    prompt: list[Message]
    source: str
    candidates: list[Candidate] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)


@dataclass
class State:
    """All comparisons in the order they were made, and what became of the votes that no longer count."""

    comparisons: list[Judged]
    votes: int = 0
    superseded: int = 0
    withdrawn: int = 0


def replay(store: Store) -> State:
    """Return the present state."""
    rows = store.rows()
    by_id = {row["id"]: Judged(row["id"], row["created"], row["prompt"], row["source"]) for row in rows["comparisons"]}
    for row in rows["candidates"]:
        who = Candidate(row["checkpoint"], row["content"], row["settings"], row["seed"])
        by_id[row["comparison"]].candidates.append(who)
        by_id[row["comparison"]].answers.append(None)
    for row in rows["answers"]:
        by_id[row["comparison"]].answers[row["number"]] = row["text"]
    state = State(sorted(by_id.values(), key=lambda one: (one.created, one.id)), votes=len(rows["votes"]))
    showings = {row["id"]: row for row in rows["showings"]}
    latest: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in rows["votes"]:
        latest[showings[row["showing"]]["comparison"], row["person"]].append(row)
    for (comparison, _), cast in latest.items():
        last = cast[-1]
        state.superseded += len(cast) - 1
        if last["withdrawn"]:
            state.withdrawn += 1
        else:
            by_id[comparison].judgements.append(_judgement(last, showings[last["showing"]]["order"]))
    return state


def _judgement(row: Any, order: list[int]) -> Judgement:
    side = {"left": 0, "right": 1}.get(row["choice"])
    outcome = row["choice"] if side is None else str(order[side])
    kept = {name: row[name] for name in ("person", "choice", "strength", "note", "edited", "seconds")}
    return Judgement(vote=row["id"], outcome=outcome, order=order, **kept)
