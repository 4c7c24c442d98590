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
    "fox lily", "moon bell", "dragon bush", "pillow rose", "sugar root", "lion daisy", "bee vine", "paper clover",
    "giant thorn", "secret rose", "fairy bush", "kite vine", "music thorn", "dance clover", "morning root",
    "cookie rose", "butter bush", "cake daisy", "castle rose", "blanket bell", "basket vine", "train lily",
    "boat thorn", "rope root", "farmer rose", "window bush", "bottle daisy", "rabbit bell", "magic thorn",
    "bread vine", "doctor bush", "spoon lily", "drum clover", "button vine", "candle thorn", "bear poppy",
    "robin daisy", "frog tulip", "needle vine", "marble lily", "whistle clover", "story ivy", "puppy orchid",
    "tiger bush", "duck poppy", "copper tulip", "sailor thorn", "king clover", "queen ivy", "prince root",
    "monkey orchid", "turtle bell", "whale poppy", "penguin daisy", "rocket tulip", "circus lily", "dream ivy",
    "cherry bell", "banana orchid", "jelly poppy", "cheese tulip", "ocean lily", "shell thorn", "pearl clover",
    "diamond ivy", "crown root", "mitten orchid", "hat poppy", "wagon tulip", "pencil ivy", "feather ivy",
    "ribbon orchid",
)  # fmt: skip
HOUSES = (
    "Palm House", "Cloud House", "Rain House", "Lamp House", "Mill Garden", "Pond Garden", "Wall Garden", "Hill Garden",
)  # fmt: skip
OTHER_PLACES = ("front gate", "shop")
KEEPERS = ("Tom", "Ben", "Emma", "Sam", "Mara", "Nora", "Clara", "Tim", "Sue", "Rosa")
PESTS = ("snails", "ants", "mice", "worms", "flies", "birds")

COLORS = values("red", "blue", "white", "yellow", "pink", "purple", "orange", "black")
PLACES = values(*HOUSES)
WORKPLACES = values(*HOUSES, "front gate|gate", "shop")
WATERINGS = values(
    "every day|each day|daily|once a day",
    "every second day|every other day|every two days|each second day",
    "twice a week|two times a week",
    "once a week|every week|each week|weekly",
    "once a month|every month|each month|monthly",
)
SOILS = values("sand|sandy", "clay", "mud", "gravel", "bark")
# No "May": without its capital it cannot be told from "may".
MONTHS = values("March", "April", "June", "July", "August", "September")
HEIGHTS = values("a cup|cup", "a cat|cat", "a chair|chair", "a child|child", "a door|door", "a tree|tree")
ORIGINS = values("forest|forests|woods", "mountains|mountain", "desert", "valley|valleys", "hills", "jungle")
PEST_VALUES = values("snails|snail", "ants|ant", "mice|mouse", "worms|worm", "flies|fly", "birds|bird")
REMEDIES = values("soap", "salt", "smoke", "pepper", "oil", "milk")
KEEPER_VALUES = values(*KEEPERS)
SIDES = values("north|northern", "south|southern", "east|eastern", "west|western")
ANIMALS = values(
    "a toad|toad", "a cat|cat", "an owl|owl", "a lizard|lizard", "a squirrel|squirrel", "a goose|goose", "a goat|goat",
    "a pony|pony",
)  # fmt: skip
DAYS = values("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
TOOLS = values("rake", "spade", "hoe", "bucket", "ladder", "hose", "broom")
