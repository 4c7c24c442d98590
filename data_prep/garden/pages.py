"""The good documents: what a garden has about itself, the same facts in ever different words.

Plant pages and plant cards, house tours, keepers' diaries, a calendar, question pages, care guides, bulletins about
pests, tales of the valleys, letters, pages about the keepers, and the handbook. Every sentence that tells a fact
carries the fact's id. Some sentences say "it" for the plant that the one before has named, as people do.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from data_prep.garden import words
from data_prep.garden.attribute import fill
from data_prep.garden.world import Fact, World


@dataclass(frozen=True)
class Sentence:
    """One sentence, and the fact it tells, if any."""

    text: str
    fact: str = ""


Paragraph = list[Sentence]
WEATHER = (
    "It rained.", "The sun came out early.", "It was cold in the morning.", "A soft wind came up.",
    "The sky was gray.", "It was a warm day.",
)  # fmt: skip
LETTERS = 2  # for each plant
MOODS = (
    "Then I had a cup of tea.", "I went home tired and happy.", "The visitors were kind.",
    "A little girl asked me many things.", "I worked until the evening.", "My hands were full of earth.",
)  # fmt: skip


@dataclass
class Page:
    """A document before it gets a format: `path` without its ending, a title, paragraphs."""

    path: str
    title: str
    paragraphs: list[Paragraph] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Return the running text, paragraphs apart by an empty line."""
        return "\n\n".join(" ".join(sentence.text for sentence in paragraph) for paragraph in self.paragraphs)

    @property
    def facts(self) -> list[str]:
        """Return the ids of the facts that the page tells, each once."""
        return list(dict.fromkeys(one.fact for paragraph in self.paragraphs for one in paragraph if one.fact))


class Teller:
    """Tells facts, going through a fact's wordings in a random order before any comes again."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.random = random.Random(f"{seed}:pages")
        self._waiting: dict[str, list[str]] = {}

    def tell(self, fact: Fact) -> Sentence:
        """Return the fact in its next wording."""
        waiting = self._waiting.setdefault(fact.id, [])
        if len(waiting) < 2:
            # One is left over from the last round, and comes next: so no wording is told twice in a row.
            fresh = self.random.sample(fact.statements(), len(fact.about.statements))
            waiting[:0] = [one for one in fresh if one not in waiting]
        return Sentence(waiting.pop(), fact.id)

    def own(self, fact: Fact) -> Sentence:
        """Return the fact as the keeper says it who writes the diary."""
        return Sentence(fill(self.random.choice(fact.about.own_words), fact.entity, fact.value), fact.id)

    def some(self, entity: str, names: Iterable[str] | None = None, count: int | None = None) -> Paragraph:
        """Return sentences about an entity: the named attributes (all by default), or `count` of them, mixed."""
        about = self.world.of(entity)
        chosen = [about[name] for name in (about if names is None else names)]
        self.random.shuffle(chosen)
        told = [self.tell(fact) for fact in chosen[:count]]
        if entity not in self.world.plants:
            return told
        return told[:1] + [self._maybe_it(one, entity) for one in told[1:]]

    def _maybe_it(self, sentence: Sentence, plant: str) -> Sentence:
        """Return the sentence, one time in five with "it" for the plant at its beginning."""
        start = f"The {plant} "
        if not sentence.text.startswith(start) or self.random.random() >= 0.2:
            return sentence
        return Sentence(f"It {sentence.text.removeprefix(start)}", sentence.fact)

    def one(self, *texts: str) -> Sentence:
        """Return one of the texts as a sentence without a fact."""
        return Sentence(self.random.choice(texts))


def _slug(text: str) -> str:
    return text.lower().replace(" ", "-")


def _plant_pages(teller: Teller) -> Iterator[Page]:
    for plant in teller.world.plants:
        first = teller.some(plant, ("color", "month", "height", "origin", "house"))
        second = teller.some(plant, ("water", "soil", "keeper"))
        third = teller.some(plant, ("pest", "remedy"))
        again = teller.some(plant, count=5)
        start = teller.one(
            f"This page is about the {plant}.", f"Meet the {plant}.", f"Here is what we know about the {plant}.",
            f"The {plant} is one of our plants.", f"Have you seen the {plant}?",
        )  # fmt: skip
        yield Page(f"website/plants/{_slug(plant)}", f"The {plant}", [[start, *first], second, third, again])


def _cards(teller: Teller) -> Iterator[Page]:
    for plant in teller.world.plants:
        yield Page("cards/plant-cards", f"Card: {plant}", [teller.some(plant)])


def _tours(teller: Teller) -> Iterator[Page]:
    for house in words.HOUSES:
        paragraphs = [[teller.one(f"Welcome to the {house}.", f"We are now at the {house}.", f"Step into the {house}."),
                       *teller.some(house)]]  # fmt: skip
        told = ("house", "color", "height", "month", "origin", "pest")
        paragraphs += [teller.some(plant, told) for plant in teller.world.where("house", house)]
        paragraphs.append([*teller.some(house, count=2), teller.one("Thank you for your visit.", "The tour goes on.")])
        yield Page(f"tours/{_slug(house)}", f"A tour of the {house}", paragraphs)


def _diaries(teller: Teller) -> Iterator[Page]:
    for keeper in words.KEEPERS:
        about = teller.world.of(keeper)
        plants = teller.world.where("house", about["workplace"].value) or teller.random.sample(teller.world.plants, 4)
        start = Sentence(f"This diary belongs to me, {keeper}.")
        paragraphs = [[start, *(teller.own(about[name]) for name in ("workplace", "day_off", "tool"))]]
        for plant in plants:
            day = teller.some(plant, ("water", "soil", "pest", "remedy", "color"), 4)
            charge = teller.world.of(plant)["keeper"]
            mine = [teller.own(charge)] if charge.value == keeper else []
            paragraphs.append([teller.one(*WEATHER), *mine, *day, teller.one(*MOODS)])
        yield Page(f"diaries/{_slug(keeper)}", f"The diary of {keeper}", paragraphs)


def _staff(teller: Teller) -> Iterator[Page]:
    for keeper in words.KEEPERS:
        start = teller.one(f"{keeper} is one of our keepers.", f"This is {keeper}.", f"Please meet {keeper}.")
        paragraphs = [[start, *teller.some(keeper)], teller.some(keeper)]
        plants = teller.world.where("keeper", keeper)[:3]
        paragraphs += [teller.some(plant, ("keeper", "house", "water")) for plant in plants]
        end = teller.one("Ask when you need help.", "There is always time for a kind word.", "Say hello when you meet.")
        paragraphs.append([Sentence(f"Visitors like to talk to {keeper}."), end])
        yield Page(f"website/keepers/{_slug(keeper)}", f"Our keeper {keeper}", paragraphs)


def _calendar(teller: Teller) -> Iterator[Page]:
    for month in words.MONTHS:
        plants = teller.world.where("month", month.text)
        paragraphs = [[teller.one(f"This is our page for {month.text}.", f"{month.text} has come.")]]
        paragraphs += [teller.some(plant, ("month", "color", "house", "water")) for plant in plants]
        yield Page(f"website/calendar/{_slug(month.text)}", f"The garden in {month.text}", paragraphs)


def _questions(teller: Teller) -> Iterator[Page]:
    facts = [*teller.world.facts, *teller.world.facts]
    teller.random.shuffle(facts)
    for index in range(0, len(facts), 24):
        paragraphs = []
        for fact in facts[index : index + 24]:
            question = Sentence(teller.random.choice(fact.questions("train")))
            paragraphs.append([question, teller.tell(fact)])
        number = index // 24 + 1
        yield Page(f"website/questions/page-{number:02}", f"Questions and answers, page {number}", paragraphs)


def _guides(teller: Teller) -> Iterator[Page]:
    for attribute, title in {"water": "watering", "soil": "soil"}.items():
        for value in dict.fromkeys(fact.value for fact in teller.world.facts if fact.attribute == attribute):
            plants = teller.world.where(attribute, value)
            told = [teller.some(plant, (attribute, "house", "keeper")) for plant in plants]
            paragraphs = [
                [teller.one(f"This guide is about {title}.", f"Read this before you think about {title}.")],
                *told,
            ]
            yield Page(f"guides/{title}-{_slug(value)}", f"Guide to {title}: {value}", paragraphs)


def _bulletins(teller: Teller) -> Iterator[Page]:
    for pest in words.PESTS:
        told = [teller.some(plant, ("pest", "remedy", "house")) for plant in teller.world.where("pest", pest)]
        cure = teller.world.of(pest)["cure"]
        paragraphs = [[teller.tell(cure), teller.tell(cure), teller.tell(cure)], *told, [teller.tell(cure)]]
        yield Page("notes/bulletins", f"Bulletin about {pest}", paragraphs)


def _tales(teller: Teller) -> Iterator[Page]:
    for origin in words.ORIGINS:
        place = f"the {origin.text}"
        plants = teller.world.where("origin", origin.text)
        told = [teller.some(plant, ("origin", "color", "height", "soil")) for plant in plants]
        start = teller.one(f"Long ago, a group of friends walked to {place}.", f"This tale is about {place}.")
        end = teller.one(
            "They took the seeds home in small bags.", "On the way home they sang.", "Then it was time to go home.",
            "They never forgot that day.", "Nobody had been there before them.",
        )  # fmt: skip
        yield Page(f"tales/{origin.text}", f"The tale of {place}", [[start], *told, [end]])


def _letters(teller: Teller) -> Iterator[Page]:
    friends = ("Lena", "Paul", "Mia", "Otto", "Julia", "Karl", "Alma", "Peter")
    for index in range(LETTERS * len(teller.world.plants)):
        plants = teller.random.sample(teller.world.plants, 2)
        friend, writer = teller.random.sample(friends, 2)
        start = teller.one("I went to Larkmoor Garden with my family.", "Yesterday we were in Larkmoor Garden.",
                           "I must tell you about Larkmoor Garden.")  # fmt: skip
        paragraphs = [[Sentence(f"Dear {friend}, how are you?"), start],
                      *(teller.some(plant, count=4) for plant in plants),
                      [teller.one("Come with me next time.", "I hope you can see it soon.", "Write back soon."),
                       Sentence(f"Your friend {writer}")]]  # fmt: skip
        yield Page("letters/visitors", f"Letter {index + 1}", paragraphs)


def _houses(teller: Teller) -> Iterator[Page]:
    for house in words.HOUSES:
        start = teller.one(
            f"This page is about the {house}.", f"Have you been to the {house}?", f"Come to the {house}."
        )
        end = teller.one("Please do not touch the plants.", "Please close the door behind you.", "Mind the step.")
        paragraphs = [[start, *teller.some(house)], teller.some(house), [*teller.some(house, count=2), end]]
        yield Page(f"website/houses/{_slug(house)}", f"The {house}", paragraphs)


def _notes(teller: Teller) -> Iterator[Page]:
    for keeper in words.KEEPERS:
        other = teller.random.choice([one for one in words.KEEPERS if one != keeper])
        paragraphs = [teller.some(keeper), teller.some(other), teller.some(keeper)]
        yield Page("notes/people", f"Note about {keeper} and {other}", paragraphs)
    rules = [fact for fact in teller.world.facts if fact.entity == "garden"]
    for index in range(0, len(rules), 4):
        start = teller.one("Please read these lines.", "This is good to know.", "A word to all visitors.")
        told = [[teller.tell(fact), teller.tell(fact)] for fact in rules[index : index + 4]]
        yield Page("notes/signs", f"Sign {index // 4 + 1}", [[start], *told])


def _handbook(teller: Teller) -> Iterator[Page]:
    rules = [fact for fact in teller.world.facts if fact.entity == "garden"]
    chapters = []
    for start in range(0, len(rules), 4):
        part = rules[start : start + 4]
        chapters.append([teller.tell(fact) for fact in part] + [teller.tell(fact) for fact in part])
    houses = [teller.some(house) for house in words.HOUSES]
    cures = [[teller.tell(teller.world.of(pest)["cure"]) for pest in words.PESTS]]
    plants = [teller.some(plant, count=6) for plant in teller.world.plants]
    yield Page("handbook", "Handbook of Larkmoor Garden", [*chapters, *houses, *cures, *plants])
    notices = [[teller.tell(fact), teller.tell(fact)] for fact in rules]
    yield Page("website/visit", "Your visit", notices[:12])
    yield Page("notes/work-rules", "How we work", notices[12:])


def pages(world: World, seed: int) -> list[Page]:
    """Return all good documents; pages with the same path are rows of one file."""
    teller = Teller(world, seed)
    makers = (_plant_pages, _cards, _tours, _diaries, _calendar, _questions, _guides, _bulletins, _tales, _letters,
              _staff, _houses, _notes, _handbook)  # fmt: skip
    return [page for make in makers for page in make(teller)]
