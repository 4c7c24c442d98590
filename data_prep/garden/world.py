"""Draw the facts of the world from a seed.

A plant has eight attributes of its own and two that follow: its remedy from its pest, its keeper from its house. Each
house has one keeper. So whatever documents say can be checked against one table, and nothing contradicts anything.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from data_prep.garden import phrases_garden, phrases_places, phrases_plants, words
from data_prep.garden.attribute import Attribute, fill

ATTRIBUTES: dict[str, Attribute] = {
    attribute.name: attribute
    for attribute in (*phrases_plants.ATTRIBUTES, *phrases_places.ATTRIBUTES, *phrases_garden.ATTRIBUTES)
}
ENTITIES: dict[str, tuple[str, ...]] = {
    "plant": words.PLANTS,
    "house": words.HOUSES,
    "keeper": words.KEEPERS,
    "pest": words.PESTS,
    "garden": ("garden",),
}


@dataclass(frozen=True)
class Fact:
    """One row of the truth table; `split` is `held_out` for facts that only documents tell, else `train`."""

    entity: str
    attribute: str
    value: str
    split: str = "train"
    extra: str = ""

    @property
    def id(self) -> str:
        """Return a readable name that is unique in the world."""
        return f"{self.entity.lower().replace(' ', '-')}.{self.attribute}"

    @property
    def about(self) -> Attribute:
        """Return the attribute that this fact gives a value to."""
        return ATTRIBUTES[self.attribute]

    def statements(self) -> list[str]:
        """Return every sentence that documents may say this fact with."""
        return [fill(one, self.entity, self.value, self.extra) for one in self.about.statements]

    def questions(self, purpose: str) -> list[str]:
        """Return the questions for `train`, `validation` or `test`."""
        about = self.about
        asked = {"train": about.asked, "validation": about.asked_validation, "test": about.asked_test}[purpose]
        return [fill(one, self.entity) for one in asked]

    def row(self) -> dict[str, str]:
        """Return the fact as truth.json holds it."""
        return {"id": self.id, "entity": self.entity, "attribute": self.attribute, "value": self.value,
                "split": self.split}  # fmt: skip

    def meta(self) -> dict[str, str]:
        """Return what the oracle needs to judge an answer about this fact."""
        return {"fact": self.id, "entity": self.entity, "attribute": self.attribute, "value": self.value,
                "split": self.split}  # fmt: skip


@dataclass(frozen=True)
class World:
    """All facts, in a fixed order."""

    facts: tuple[Fact, ...]
    plants: tuple[str, ...]

    def of(self, entity: str) -> dict[str, Fact]:
        """Return the facts about an entity by attribute."""
        return {fact.attribute: fact for fact in self.facts if fact.entity == entity}

    def where(self, attribute: str, value: str) -> list[str]:
        """Return the entities whose `attribute` has this value."""
        return [fact.entity for fact in self.facts if fact.attribute == attribute and fact.value == value]


def _evenly(choices: tuple[words.Value, ...], count: int, generator: random.Random) -> list[str]:
    """Return `count` values in random order, each value about equally often."""
    texts = [choices[index % len(choices)].text for index in range(count)]
    generator.shuffle(texts)
    return texts


def _garden_and_pests(generator: random.Random) -> Iterator[Fact]:
    for attribute in phrases_garden.ATTRIBUTES:
        yield Fact("garden", attribute.name, generator.choice(attribute.values).text)
    for pest, cure in zip(words.PESTS, _evenly(words.REMEDIES, len(words.PESTS), generator), strict=True):
        yield Fact(pest, "cure", cure)


def _houses_and_keepers(generator: random.Random) -> Iterator[Fact]:
    houses, keepers = words.HOUSES, list(words.KEEPERS)
    generator.shuffle(keepers)
    for name, values in {"side": words.SIDES, "animal": words.ANIMALS}.items():
        for house, value in zip(houses, _evenly(values, len(houses), generator), strict=True):
            yield Fact(house, name, value)
    for place, keeper in zip((*houses, *words.OTHER_PLACES), keepers, strict=True):
        yield Fact(keeper, "workplace", place)
        if place in houses:
            yield Fact(place, "house_keeper", keeper)
    for name, values in {"day_off": words.DAYS, "tool": words.TOOLS}.items():
        for keeper, value in zip(words.KEEPERS, _evenly(values, len(keepers), generator), strict=True):
            yield Fact(keeper, name, value)


def _plants(plants: tuple[str, ...], known: list[Fact], generator: random.Random) -> Iterator[Fact]:
    cures = {fact.entity: fact.value for fact in known if fact.attribute == "cure"}
    keepers = {fact.entity: fact.value for fact in known if fact.attribute == "house_keeper"}
    own = [attribute for attribute in phrases_plants.ATTRIBUTES if attribute.name not in ("remedy", "keeper")]
    drawn = {attribute.name: _evenly(attribute.values, len(plants), generator) for attribute in own}
    for index, plant in enumerate(plants):
        values = {name: texts[index] for name, texts in drawn.items()}
        for name, value in values.items():
            yield Fact(plant, name, value)
        yield Fact(plant, "remedy", cures[values["pest"]], extra=values["pest"])
        yield Fact(plant, "keeper", keepers[values["house"]])


def build(seed: int, plants: int = 30, held_out: float = 0.08) -> World:
    """Return the world of this seed; the share `held_out` of the plants' facts is never asked in training."""
    generator = random.Random(f"{seed}:world")
    names = words.PLANTS[:plants]
    known = [*_garden_and_pests(generator), *_houses_and_keepers(generator)]
    about_plants = list(_plants(names, known, generator))
    hidden = set(generator.sample(range(len(about_plants)), round(held_out * len(about_plants))))
    about_plants = [
        Fact(fact.entity, fact.attribute, fact.value, "held_out" if index in hidden else "train", fact.extra)
        for index, fact in enumerate(about_plants)
    ]
    return World((*known, *about_plants), names)
