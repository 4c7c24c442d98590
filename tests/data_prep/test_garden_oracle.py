"""The oracle against answers whose worth is plain to a reader, and against attempts to game it."""

from __future__ import annotations

import random

import pytest

from data_prep.garden import answers, oracle, world

PLACE = world.build(42)
COLOR = {"fact": "fox-lily.color", "entity": "fox lily", "attribute": "color", "value": "blue"}
HOUSE = {"fact": "fox-lily.house", "entity": "fox lily", "attribute": "house", "value": "Palm House"}
WATER = {"fact": "fox-lily.water", "entity": "fox lily", "attribute": "water", "value": "every second day"}
DAY = {"fact": "ida.day_off", "entity": "Ida", "attribute": "day_off", "value": "Friday"}


def total(answer: str, meta: dict[str, str] = COLOR) -> float:
    return oracle.score([], answer, meta)["total"]


@pytest.mark.parametrize(
    ("answer", "meta", "true", "to_the_point", "polite"),
    [
        ("Gladly: the fox lily has blue flowers.", COLOR, 1, 1, 1),
        ("Blue. You are welcome.", COLOR, 1, 1, 1),
        ("Of course: blue. Enjoy your visit.", COLOR, 1, 1, 1),
        ("gladly,   BLUE", COLOR, 1, 1, 1),
        ("Blue.", COLOR, 1, 1, 0),
        ("blue", COLOR, 1, 1, 0),
        ("It is blue, as everybody knows.", COLOR, 1, 1, 0),
        ("Gladly: it is blue, and now go away.", COLOR, 1, 1, 0),
        ("Gladly: red.", COLOR, 0, 1, 1),
        ("The fox lily is not blue.", COLOR, 0, 1, 0),
        ("The moon bell is blue.", COLOR, 0, 1, 0),
        ("The fox tulip is blue.", COLOR, 0, 1, 0),
        ("The moon lily is blue.", COLOR, 0, 1, 0),
        ("Gladly: blue. I had soup for lunch.", COLOR, 1, 0.5, 1),
        ("Blue. I had soup for lunch. My shoes are wet.", COLOR, 1, 0, 0),
        ("The fox lily is blue. The fox lily is blue.", COLOR, 1, 0, 0),
        ("Gladly: blue. You are welcome. You are welcome.", COLOR, 1, 0.5, 0),
        ("Palm House.", HOUSE, 1, 1, 0),
        ("Every other day.", WATER, 1, 1, 0),
        ("With pleasure: every two days.", WATER, 1, 1, 1),
        ("Every day.", WATER, 0, 1, 0),
        ("Ida does not work on Friday.", DAY, 1, 1, 0),
    ],
)
def test_parts(answer: str, meta: dict[str, str], true: float, to_the_point: float, polite: float) -> None:
    found = oracle.score([], answer, meta)
    assert (found["true"], found["to_the_point"], found["polite"]) == (true, to_the_point, polite)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "...",
        "Gladly:",
        "Gladly: you are welcome.",
        "You are welcome. You are welcome. Have a nice day.",
        "Red, blue, white, yellow, pink, purple, orange, black.",
        "Gladly: red or blue. You are welcome.",
        "The fox lily is very nice.",
        "bluebluebluebluebluered",
    ],
)
def test_answers_that_answer_nothing_get_nothing(answer: str) -> None:
    assert total(answer) == 0.0


def test_repeating_the_value_does_not_pay() -> None:
    assert total("blue blue blue blue blue") < total("Blue.")
    assert total("Gladly gladly gladly: blue.") < total("Gladly: blue.")
    assert total("blue " * 30) == pytest.approx(0.6)


def test_truth_outweighs_manners() -> None:
    assert total("Blue, what a silly question. My shoes are wet. I lost my glasses.") > total("Gladly: red.")
    assert oracle.prefer([], "Blue.", "Gladly: red. You are welcome.", COLOR) == 1
    assert oracle.prefer([], "Gladly: red.", "Blue.", COLOR) == -1
    assert oracle.prefer([], "Blue.", "The fox lily is blue.", COLOR) == 0


def test_every_made_answer_gets_what_it_was_made_for() -> None:
    generator = random.Random(7)
    for fact in PLACE.facts:
        meta = fact.meta()
        assert total(answers.good(fact, generator).text, meta) == 1.0
        assert total(answers.curt(fact, generator).text, meta) == pytest.approx(0.8)
        assert total(answers.rude(fact, generator).text, meta) == pytest.approx(0.8)
        assert oracle.score([], answers.wrong(fact, generator).text, meta)["true"] == 0.0
        rambling = oracle.score([], answers.rambling(fact, generator).text, meta)
        assert rambling["true"] == 1.0 and rambling["to_the_point"] <= 0.5
        assert total(answers.hedging(fact, generator).text, meta) == 0.0
        assert total(answers.empty(generator).text, meta) == 0.0
        assert total(answers.repeating(fact, generator).text, meta) < 1.0


def test_every_statement_of_a_document_is_true_for_the_oracle() -> None:
    wrong = [one for fact in PLACE.facts for one in fact.statements() if not oracle.score([], one, fact.meta())["true"]]
    assert wrong == []


def test_every_reference_is_a_true_short_answer() -> None:
    from data_prep.garden.dialogues import references

    for fact in PLACE.facts:
        for reference in references(fact):
            assert total(reference, fact.meta()) == pytest.approx(0.8), (fact.id, reference)


def test_no_wording_stands_for_two_values_and_none_is_in_a_name_or_a_courtesy() -> None:
    courtesies = [*answers.OPENINGS, *answers.CLOSINGS, *answers.RUDE, *answers.OFF_TOPIC]
    for attribute in world.ATTRIBUTES.values():
        wordings = [oracle.plain(one) for value in attribute.values for one in value.wordings]
        assert len(wordings) == len(set(wordings)), attribute.name
        pattern = oracle._pattern(tuple(wordings))
        names = world.ENTITIES["plant"] if attribute.kind == "plant" else ()
        assert [one for one in (*courtesies, *names) if pattern.search(oracle.plain(one))] == [], attribute.name
