"""How the facts about houses, keepers and pests are said, asked and answered."""

from __future__ import annotations

from data_prep.garden import words
from data_prep.garden.attribute import Attribute

ATTRIBUTES = (
    Attribute(
        "house_keeper", "house", words.KEEPER_VALUES,
        statements=(
            "The keeper of the {e} is {v}.",
            "{v} keeps the {e}.",
            "The {e} is in the hands of {v}.",
            "In the {e} you will meet {v}.",
            "The key of the {e} is with {v}.",
            "Each morning the {e} is opened by {v}.",
        ),
        asked=(
            "Who keeps the {e}?",
            "Who is the keeper of the {e}?",
            "Which keeper works in the {e}?",
            "Who works in the {e}?",
        ),
        asked_validation=("Who opens the {e}?",),
        asked_test=("Who will meet me in the {e}?", "Tell me who keeps the {e}."),
        answers=("The keeper of the {e} is {v}.", "{v} keeps the {e}."),
    ),
    Attribute(
        "side", "house", words.SIDES,
        statements=(
            "The {e} is in the {v} of the park.",
            "The {e} lies on the {v} side.",
            "To find the {e}, go to the {v} side.",
            "The path to the {e} leads to the {v}.",
            "On the map, the {e} is in the {v}.",
        ),
        asked=(
            "On which side of the park is the {e}?",
            "Where is the {e}?",
            "How do I find the {e}?",
            "Where on the map is the {e}?",
        ),
        asked_validation=("On which side does the {e} lie?",),
        asked_test=("To which side does the path to the {e} lead?", "Tell me where the {e} is."),
        answers=("The {e} is in the {v} of the park.", "The {e} lies on the {v} side."),
        short=("In the {v}.", "{v}."),
    ),
    Attribute(
        "animal", "house", words.ANIMALS,
        statements=(
            "In the {e} lives {v}.",
            "The {e} is the home of {v}.",
            "In the {e} you may see {v}.",
            "The {e} has a guest: {v}.",
            "Be quiet in the {e}, or you will scare {v}.",
        ),
        asked=(
            "Which animal lives in the {e}?",
            "What animal can I see in the {e}?",
            "Which animal might I see in the {e}?",
            "Whose home is the {e}?",
        ),
        asked_validation=("Which animal has its home in the {e}?",),
        asked_test=("Which guest does the {e} have?", "Tell me which animal lives in the {e}."),
        answers=("In the {e} lives {v}.", "The {e} is the home of {v}."),
    ),
    Attribute(
        "workplace", "keeper", words.WORKPLACES,
        statements=(
            "{e} works in the {v}.",
            "You will find {e} in the {v}.",
            "{e} has worked in the {v} for many years.",
            "The work of {e} is in the {v}.",
            "Each morning {e} walks to the {v}.",
        ),
        asked=(
            "Where does {e} work?",
            "Where can I find {e}?",
            "Where is {e} at work?",
            "I want to talk to {e}. Where should I go?",
        ),
        asked_validation=("What is the workplace of {e}?",),
        asked_test=("To which place does {e} walk each morning?", "Tell me where {e} works."),
        own_words=("I work in the {v}.", "Each morning I walk to the {v}.", "My place is the {v}."),
        answers=("{e} works in the {v}.", "You will find {e} in the {v}."),
        short=("In the {v}.", "{v}."),
    ),
    Attribute(
        "day_off", "keeper", words.DAYS,
        statements=(
            "{e} stays at home on {v}.",
            "The free day of {e} is {v}.",
            "{e} does not work on {v}.",
            "On {v} you will not see {e}.",
            "{e} rests on {v}.",
        ),
        asked=(
            "On which day does {e} stay at home?",
            "When does {e} have a free day?",
            "Which day is the free day of {e}?",
            "When does {e} rest?",
        ),
        asked_validation=("On what day is {e} not here?",),
        asked_test=("Which day of the week does {e} have off?", "Tell me when {e} is at home."),
        own_words=("I stay at home on {v}.", "My free day is {v}.", "On {v} I rest."),
        answers=("{e} stays at home on {v}.", "The free day of {e} is {v}."),
        short=("On {v}.", "{v}."),
    ),
    Attribute(
        "tool", "keeper", words.TOOLS,
        statements=(
            "The favorite tool of {e} is the {v}.",
            "You will always see {e} with the {v}.",
            "{e} likes the {v} best of all tools.",
            "Everybody knows {e} by the {v}.",
            "{e} always carries the {v}.",
        ),
        asked=(
            "What is the favorite tool of {e}?",
            "Which tool does {e} like best?",
            "Which tool does {e} always carry?",
            "What does {e} work with?",
        ),
        asked_validation=("Which tool is loved by {e}?",),
        asked_test=("Which tool is {e} known for?", "Tell me the favorite tool of {e}."),
        own_words=("My favorite tool is the {v}.", "I like to work with the {v}.", "I always carry the {v}."),
        answers=("The favorite tool of {e} is the {v}.", "{e} likes the {v} best."),
        short=("The {v}.", "{v}."),
    ),
    Attribute(
        "cure", "pest", words.REMEDIES,
        statements=(
            "Against {e} we use {v}.",
            "The cure for {e} is {v}.",
            "{e} go away when they meet {v}.",
            "{e} do not like {v}.",
            "For {e}, take {v}.",
            "When {e} come, bring {v}.",
        ),
        asked=(
            "What helps against {e}?",
            "What do you use against {e}?",
            "What is the cure for {e}?",
            "How do I get rid of {e}?",
        ),
        asked_validation=("What drives {e} away?",),
        asked_test=("What do {e} not like?", "Tell me what to take for {e}."),
        answers=("Against {e} we use {v}.", "The cure for {e} is {v}."),
        short=("{v}.", "Use {v}."),
    ),
)  # fmt: skip
