"""From labels to rows: every kind of vote gives what it says, and all counts add up."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from data_prep.feedback import results
from data_prep.feedback.conversion import FATES, Converted, Rules, convert
from data_prep.feedback.replay import Judged, Judgement, State
from data_prep.feedback.store import Candidate

PROMPT = [{"role": "user", "content": "When does the blue poppy bloom?"}]
GOOD, WORSE = "In June.", "Maybe in winter."


def judged(*outcomes: str, answers: tuple[str | None, ...] = (GOOD, WORSE), number: int = 0, **more: str) -> Judged:
    """Return a comparison with one judgement for each outcome; `strength` and `edited` go to all of them."""
    judgements = [
        Judgement(
            vote=100 * number + index,
            person=f"person {index}",
            outcome=outcome,
            choice={"0": "left", "1": "right"}.get(outcome, outcome),
            strength=int(more["strength"]) if "strength" in more else None,
            note="",
            edited=more.get("edited", ""),
            seconds=1.0,
            order=[0, 1],
        )
        for index, outcome in enumerate(outcomes)
    ]
    who = [Candidate("sft", "h1"), Candidate("dpo", "h2")]
    return Judged(f"c{number}", "2026", PROMPT, "", who, list(answers), judgements)


def converted(*comparisons: Judged, rules: Rules | None = None) -> Converted:
    """Convert comparisons."""
    votes = sum(len(comparison.judgements) for comparison in comparisons)
    return convert(State(list(comparisons), votes=votes), rules or Rules())


def test_a_win_becomes_a_pair_with_agreement_and_where_it_came_from() -> None:
    made = converted(judged("1", "1", "0"))
    (pair,) = made.pairs
    assert (pair.chosen[0]["content"], pair.rejected[0]["content"]) == (WORSE, GOOD)
    assert pair.agreement == pytest.approx(2 / 3, abs=1e-5)
    assert (pair.raters, pair.margin, pair.prompt) == (3, 1.0, PROMPT)
    assert pair.meta["checkpoints"] == [{"name": "dpo", "content": "h2"}, {"name": "sft", "content": "h1"}]
    assert pair.meta["votes"] == [0, 1]
    assert "person" not in str(pair.meta)


@pytest.mark.parametrize(("strength", "margin"), [("1", 0.5), ("2", 1.0), ("3", 2.0)])
def test_the_margin_is_the_strength(strength: str, margin: float) -> None:
    assert converted(judged("0", strength=strength)).pairs[0].margin == margin


@pytest.mark.parametrize(("outcome", "label"), [("tie", True), ("both_bad", False)])
def test_ties_and_both_bad_become_unpaired_rows(outcome: str, label: bool) -> None:
    made = converted(judged(outcome))
    assert made.pairs == []
    assert [row["label"] for row in made.unpaired] == [label, label]
    assert [row["completion"][0]["content"] for row in made.unpaired] == [GOOD, WORSE]


@pytest.mark.parametrize(("outcome", "worse"), [("0", [GOOD]), ("tie", [GOOD, WORSE]), ("both_bad", [GOOD, WORSE])])
def test_an_edited_answer_is_a_demonstration_and_beats_what_it_was_judged_better_than(
    outcome: str, worse: list[str]
) -> None:
    made = converted(judged(outcome, edited="It blooms in June."))
    (conversation,) = made.conversations
    assert conversation.messages == [*PROMPT, {"role": "assistant", "content": "It blooms in June."}]
    edits = [pair for pair in made.pairs if pair.meta.get("edited")]
    assert [pair.rejected[0]["content"] for pair in edits] == worse
    assert {pair.chosen[0]["content"] for pair in edits} == {"It blooms in June."}


@pytest.mark.parametrize(
    ("comparison", "rules", "reason"),
    [
        (judged("0", "1"), Rules(), "no majority"),
        (judged("0", "tie"), Rules(), "no majority"),
        (judged("0", "0", "1"), Rules(min_agreement=0.7), "no majority"),
        (judged("0"), Rules(min_raters=2), "too few raters"),
        (judged("0", answers=(GOOD, GOOD)), Rules(), "answers are equal"),
        (judged("0", edited=f" {GOOD} "), Rules(), "edited answer equals an answer"),
    ],
)
def test_what_is_not_used_is_kept_with_its_reason(comparison: Judged, rules: Rules, reason: str) -> None:
    (row,) = converted(comparison, rules=rules).dropped
    assert row["reason"] == reason
    assert row["answers"]


def test_every_comparison_and_vote_is_counted_in_and_out() -> None:
    rng = random.Random(1)
    comparisons = []
    for number in range(300):
        outcomes = rng.choices(["0", "1", "tie", "both_bad"], k=rng.randrange(4))
        answers = (None, None) if not outcomes and rng.random() < 0.5 else (GOOD, rng.choice([WORSE, GOOD]))
        more = {"edited": rng.choice([GOOD, "It blooms in June."])} if rng.random() < 0.3 else {}
        comparisons.append(judged(*outcomes, answers=answers, number=number, **more))
    made = converted(*comparisons, rules=Rules(min_raters=2))
    counts = made.counts
    assert sum(counts[fate] for fate in FATES) == counts["comparisons"] == 300
    assert all(counts[fate] for fate in FATES), "every fate occurs"
    assert counts["votes_counted"] == sum(len(one.judgements) for one in comparisons)
    assert len(made.pairs) == counts["won"] + counts["pairs_from_edits"]
    assert len(made.unpaired) == 2 * (counts["tie"] + counts["both_bad"])
    reasons = Counter(row["reason"] for row in made.dropped)
    unchanged = reasons.pop("edited answer equals an answer")
    assert sum(reasons.values()) == counts["dropped"]
    assert len(made.conversations) + unchanged == counts["edited"]


def test_results_count_a_comparison_once_however_many_judged_it() -> None:
    state = State([judged("0", "0", "1"), judged("tie"), judged("0", "1"), judged("1"), judged("both_bad"), judged()])
    tally = results.tallies(state)["sft"]
    assert (tally.wins, tally.losses, tally.ties, tally.both_bad, tally.split) == (1, 1, 1, 1, 1)
    (pair,) = results.duels(state)
    assert pair == ("dpo", "sft")
    duel = results.duels(state)[pair]
    assert (duel.wins, duel.losses) == (1, 1)
    said = results.reliability(state)
    assert (said["people"], said["judged"], said["judged_by_several"]) == (3, 5, 2)
    assert said["percent_agreement"] == pytest.approx(2 / 8)
    assert said["share_left"] == pytest.approx(3 / 6)


def test_results_as_html_are_escaped() -> None:
    from eval import votes

    comparison = judged("0")
    comparison.candidates[0] = Candidate("<script>alert(1)</script>", "h")
    page = votes.html(State([comparison]))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "100% (21% to 100%)" in page
    assert votes.html(State([])) == "<p>No votes yet.</p>"
