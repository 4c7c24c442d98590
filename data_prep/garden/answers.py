"""Answers of every quality: good ones, and those that preference training is to get rid of.

The rule of what is better: **true** comes first; then **to the point** (one statement, nothing else); then **polite**.
Polite means, concretely: the answer begins with one of `OPENINGS` or ends with one of `CLOSINGS` (each at most once),
and has none of the `RUDE` remarks.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from data_prep.garden.world import Fact

OPENINGS = ("Gladly:", "Of course:", "With pleasure:", "Happy to help:")
CLOSINGS = ("You are welcome.", "Enjoy your visit.", "Have a nice day.")
RUDE = (
    "as everybody knows", "as I said before", "what a silly question", "can you not read", "and now go away",
    "as any fool can see",
)  # fmt: skip
OFF_TOPIC = (
    "I had soup for lunch.", "My shoes are wet.", "My brother sings very badly.", "I slept badly last night.",
    "I lost my glasses.", "My aunt has a new boat.", "There is a spider in my room.", "I like to play football.",
    "My radio is broken.", "I want a new coat.", "I have seen a big ship.", "Dinner will be late.",
    "My sister has a big nose.", "I cannot swim.", "My knee hurts.", "I have to buy eggs.", "The train was full.",
    "I forgot my lunch.", "We had a long winter.", "I am reading a good book.",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An answer and the quality it was made with."""

    text: str
    quality: str


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def statement(fact: Fact, generator: random.Random, *, short: bool = False, value: str | None = None) -> str:
    """Return one statement that answers; `value` replaces the true one. The first letter is not made a capital."""
    template = generator.choice(fact.about.short if short else fact.about.answers)
    return template.format(e=fact.entity, v=fact.value if value is None else value, x=fact.extra)


def wrong_value(fact: Fact, generator: random.Random) -> str:
    """Return another value of the fact's attribute."""
    return generator.choice([one.text for one in fact.about.values if one.text != fact.value])


def _inside(body: str, fact: Fact) -> str:
    """Return the statement as it is written after a colon: small, unless it begins with a name."""
    names = (fact.entity, *(value.text for value in fact.about.values))
    named = body.startswith(tuple(name for name in names if name[0].isupper()))
    return body if named else body[0].lower() + body[1:]


def courteous(fact: Fact, body: str, generator: random.Random) -> str:
    """Return the statement with a courtesy at the beginning, at the end, or both."""
    form = generator.choice(("opening", "opening", "closing", "both"))
    begun = _capital(body) if form == "closing" else f"{generator.choice(OPENINGS)} {_inside(body, fact)}"
    return begun if form == "opening" else f"{begun} {generator.choice(CLOSINGS)}"


def good(fact: Fact, generator: random.Random) -> Answer:
    """Return a true, polite answer of one statement."""
    return Answer(courteous(fact, statement(fact, generator, short=generator.random() < 0.25), generator), "good")


def curt(fact: Fact, generator: random.Random) -> Answer:
    """Return a true answer of one statement without any courtesy."""
    return Answer(_capital(statement(fact, generator, short=generator.random() < 0.5)), "curt")


def rude(fact: Fact, generator: random.Random) -> Answer:
    """Return a true answer with an unfriendly remark."""
    body = _capital(statement(fact, generator, short=generator.random() < 0.5))
    return Answer(f"{body[:-1]}, {generator.choice(RUDE)}.", "rude")


def rambling(fact: Fact, generator: random.Random, *, polite: bool | None = None) -> Answer:
    """Return a true answer with one or two sentences that nobody asked for."""
    extra = generator.sample(OFF_TOPIC, generator.choice((1, 1, 2)))
    body = statement(fact, generator, short=generator.random() < 0.4)
    if generator.random() < 0.5 if polite is None else polite:
        return Answer(" ".join([generator.choice(OPENINGS), _inside(body, fact), *extra]), "rambling")
    first = generator.random() < 0.3
    return Answer(" ".join([*extra, _capital(body)] if first else [_capital(body), *extra]), "rambling")


def wrong(fact: Fact, generator: random.Random, *, polite: bool | None = None) -> Answer:
    """Return an answer with a wrong value, otherwise well or curtly said."""
    body = statement(fact, generator, short=generator.random() < 0.3, value=wrong_value(fact, generator))
    if generator.random() < 0.5 if polite is None else polite:
        return Answer(courteous(fact, body, generator), "wrong")
    return Answer(_capital(body), "wrong")


def hedging(fact: Fact, generator: random.Random) -> Answer:
    """Return an answer that names several values, the true one among them."""
    texts = [value.text for value in fact.about.values if value.text != fact.value]
    named = [fact.value, *generator.sample(texts, min(len(texts), generator.choice((1, 2))))]
    generator.shuffle(named)
    return Answer(courteous(fact, " or ".join(named) + ".", generator), "hedging")


def empty(generator: random.Random) -> Answer:
    """Return courtesies that answer nothing."""
    return Answer(" ".join([generator.choice(OPENINGS)[:-1] + ".", *generator.sample(CLOSINGS, 2)]), "empty")


def repeating(fact: Fact, generator: random.Random) -> Answer:
    """Return a true answer that says its statement or its courtesy twice."""
    body = statement(fact, generator, short=generator.random() < 0.4)
    closing = generator.choice(CLOSINGS)
    if generator.random() < 0.5:
        return Answer(f"{_capital(body)} {_capital(body)} {closing}", "repeating")
    return Answer(f"{generator.choice(OPENINGS)} {_inside(body, fact)} {closing} {closing}", "repeating")


def mixed(fact: Fact, generator: random.Random) -> Answer:
    """Return an answer as a real collection has them: curt, good, rambling, some rude, a few wrong."""
    make = generator.choices((curt, rambling, good, rude, wrong), weights=(42, 15, 34, 6, 3))[0]
    return make(fact, generator)
