"""A prompt with a list of answers and their ranks, scores or votes: Nectar, UltraFeedback, HelpSteer's kind in one row.

Either objects (`answers: [{answer, rank}]`) or two lists of equal length (`responses` and `scores`).
"""

from __future__ import annotations

from data_prep.supervised import ranking, turns
from data_prep.supervised.turns import Options, Parts, Refused, Row

KIND, ORDER = "preferences", 11
LISTS = ("answers", "completions", "responses", "generations", "outputs", "candidates")
NUMBERS = {
    "ranks": "rank", "rank": "rank", "ranking": "rank", "rankings": "rank", "scores": "score", "ratings": "score",
    "rating": "score", "rewards": "score", "grades": "score", "votes": "votes",
}  # fmt: skip
NEEDS = tuple((name,) for name in LISTS)
SHOWN = ("prompt", "answers")
MAY = (*ranking.PROMPTS, *NUMBERS, "system", "system_prompt")
WHY = "it has a list of answers with their worth"


def fits(row: Row) -> bool:
    """Tell lists of answers that come with ranks, scores or votes."""
    value = turns.unpacked(next(row[name] for name in LISTS if name in row))
    if not isinstance(value, list) or not value:
        return False
    if isinstance(value[0], dict):
        return bool({*ranking.RANKS, *ranking.SCORES, *ranking.VOTES} & value[0].keys())
    return any(isinstance(turns.unpacked(row.get(name)), list) for name in NUMBERS)


def read(row: Row, options: Options) -> list[Parts]:
    """Return every pair of answers of different worth."""
    name = next(name for name in LISTS if name in row)
    items = turns.unpacked(row[name])
    if not isinstance(items, list):
        raise Refused("not a list", f"{name} is {turns.kind_of(items)}")
    prompt = ranking.prompt_of(row, options)
    if items and isinstance(items[0], dict):
        return ranking.pairs(prompt, ranking.from_objects(items, options), options)
    column = next((name for name in NUMBERS if name in row), None)
    numbers = turns.unpacked(row[column]) if column else None
    if column is None or not isinstance(numbers, list) or len(numbers) != len(items):
        seen = f"{len(items)} answers, {len(numbers) if isinstance(numbers, list) else 'no list of'} numbers"
        raise Refused("lists of two lengths", seen)
    answers = [
        ranking.answer(turns.either(item, "assistant", options), NUMBERS[column], number)
        for item, number in zip(items, numbers, strict=True)
    ]
    return ranking.pairs(prompt, answers, options)
