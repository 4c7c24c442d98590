"""The closed sets: names of plants, houses, keepers, and the values that attributes can have.

Names are fixed and only the facts about them are drawn from the seed, so that the oracle knows every value and every
name without reading a file. Plant names start with a word of their own and are made of words a child knows: a model of
a few million parameters has tokens for them. No value of an attribute occurs in a plant's name, and colors are spelled
as in the stories that small models are pretrained on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Value:
    """One value of an attribute: `text` as documents say it, and further wordings that mean the same."""

    text: str
    others: tuple[str, ...] = ()

    @property
    def wordings(self) -> tuple[str, ...]:
        """Return every accepted wording, the usual one first."""
        return (self.text, *self.others)


def values(*texts: str) -> tuple[Value, ...]:
    """Return values from texts; further wordings follow after `|`."""
    return tuple(Value(first, tuple(others)) for first, *others in (text.split("|") for text in texts))


PLANTS = (
    "fox lily", "moon bell", "drum clover", "button vine", "candle thorn", "feather ivy", "ribbon orchid",
    "pillow rose", "bear poppy", "robin daisy", "dragon bush", "river tulip", "sugar root", "needle vine",
    "marble lily", "island clover", "story ivy", "magic thorn", "secret rose", "puppy orchid", "tiger bush",
    "lion daisy", "rabbit bell", "duck poppy", "frog tulip", "bee vine", "spoon lily", "sailor thorn", "king clover",
    "queen ivy", "prince root", "giant rose", "fairy bush", "monkey orchid", "turtle bell", "whale poppy",
    "penguin daisy", "kite vine", "rocket tulip", "circus lily", "music thorn", "dance clover", "dream ivy",
    "morning root", "cookie rose", "butter bush", "cherry bell", "banana orchid", "jelly poppy", "cake daisy",
    "bread vine", "cheese tulip", "ocean lily", "shell thorn", "pearl clover", "diamond ivy", "crown root",
    "castle rose", "window bush", "blanket bell", "mitten orchid", "hat poppy", "bottle daisy", "basket vine",
    "wagon tulip", "train lily", "boat thorn", "paper clover", "pencil ivy", "rope root", "farmer rose",
    "doctor bush",
)  # fmt: skip
HOUSES = (
    "Palm House", "Cloud House", "Rain House", "Lamp House", "Mirror House", "Tower House",
    "Mill Garden", "Pond Garden", "Wall Garden", "Bridge Garden", "Kitchen Garden", "Hill Garden",
)  # fmt: skip
OTHER_PLACES = ("front gate", "shop", "tea room")
KEEPERS = (
    "Mara", "Tom", "Ben", "Nora", "Oscar", "Ida", "Hugo", "Clara", "Felix", "Emma", "Jonas", "Rosa", "Victor", "Greta",
    "Sam",
)  # fmt: skip
PESTS = ("snails", "ants", "mice", "beetles", "moths", "worms", "caterpillars", "flies")

COLORS = values("red", "blue", "white", "yellow", "pink", "purple", "orange", "black")
PLACES = values(*HOUSES)
WORKPLACES = values(*HOUSES, "front gate|gate", "shop", "tea room")
WATERINGS = values(
    "every day|each day|daily|once a day",
    "every second day|every other day|every two days|each second day",
    "every third day|every three days|each third day",
    "twice a week|two times a week",
    "once a week|every week|each week|weekly",
    "twice a month|two times a month",
)
SOILS = values("sand|sandy", "clay", "chalk|chalky", "peat|peaty", "gravel", "compost")
# No "May": without its capital it cannot be told from "may".
MONTHS = values("February", "March", "April", "June", "July", "August", "September", "October")
HEIGHTS = values("a cup|cup", "a cat|cat", "a chair|chair", "a child|child", "a door|door", "a giraffe|giraffe")
VALLEYS = values(
    "Amber Valley", "Owl Valley", "Mist Valley", "Silver Valley", "Thunder Valley", "Apple Valley", "Wolf Valley",
    "Crystal Valley",
)  # fmt: skip
PEST_VALUES = values(*(f"{pest}|{one}" for pest, one in zip(
    PESTS, ("snail", "ant", "mouse", "beetle", "moth", "worm", "caterpillar", "fly"), strict=True)))  # fmt: skip
REMEDIES = values(
    "ash", "cinnamon", "mint oil", "soap water", "lavender", "pepper water", "garlic spray", "sticky paper",
)  # fmt: skip
KEEPER_VALUES = values(*KEEPERS)
SIDES = values("north|northern", "south|southern", "east|eastern", "west|western")
ANIMALS = values(
    "an old toad|toad", "a gray cat|cat", "a small owl|owl", "a hedgehog|hedgehog", "a lizard|lizard",
    "a squirrel|squirrel", "a parrot|parrot", "a goose|goose", "a tame crow|crow", "a shy mole|mole",
    "a wild goat|goat", "a fat pony|pony",
)  # fmt: skip
DAYS = values("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
TOOLS = values("rake", "spade", "hoe", "wheelbarrow", "ladder", "hose", "broom", "pair of scissors|scissors")
