"""Plain simple English that has nothing to do with the garden: what a model must not forget.

Small stories from a grammar: somebody, somewhere, wants something, a trouble comes, somebody helps.
"""

from __future__ import annotations

import random

from data_prep.records import Document

PEOPLE = (
    ("Lucy", "she", "her"), ("Peter", "he", "his"), ("Anna", "she", "her"), ("Max", "he", "his"),
    ("Molly", "she", "her"), ("Jack", "he", "his"), ("Sara", "she", "her"), ("Leo", "he", "his"),
)  # fmt: skip
HELPERS = ("mom", "dad", "grandma", "grandpa", "teacher", "big brother", "neighbor")
SCENES = (
    ("One day, {name} went to the beach with {poss} family.", "{Pron} wanted to build a big castle.",
     "But the waves came and washed it away.", "they built it again, farther from the water"),
    ("It was a cold night and {name} was in bed.", "{Pron} wanted to sleep.",
     "But the wind made a loud noise at the window.", "they closed the window and sang a quiet song"),
    ("{name} had a red ball.", "{Pron} liked to throw it high into the air.",
     "But the ball rolled under a parked car.", "they got it out with a long stick"),
    ("On Sunday, {name} wanted to bake a cake.", "{Pron} put flour and eggs into a bowl.",
     "But there was no sugar in the house.", "they went to the store and bought a small bag"),
    ("{name} found a little kitten in the street.", "{Pron} wanted to take it home.",
     "But the kitten was scared and hid under a box.", "they gave it some warm milk, and it came out"),
    ("{name} was on the way to school.", "{Pron} wanted to be on time.",
     "But the bus did not come.", "they took the old bicycle and rode very fast"),
    ("{name} had a new kite.", "{Pron} ran across the field with it.",
     "But the string got caught in a fence.", "they cut the string and tied a new one"),
    ("It rained all day and {name} stayed inside.", "{Pron} wanted to play a game.",
     "But some pieces of the game were gone.", "they made new pieces from paper"),
    ("{name} was learning to ride a bike.", "{Pron} wanted to ride alone.",
     "But {pron} fell and hurt {poss} knee.", "they put a bandage on it and tried again"),
    ("It was {poss} birthday and {name} got a new drum.", "{Pron} played on it all morning.",
     "But the drum was so loud that the baby woke up.", "they put a soft cloth on the drum"),
    ("There was snow outside and {name} put on warm boots.", "{Pron} wanted to make a snowman.",
     "But there was not enough snow in the yard.", "they brought more snow from the street"),
    ("{name} had a fish in a glass bowl.", "{Pron} gave it food twice a day.",
     "But one day the bowl had a crack.", "they put the fish into a bucket and bought a new bowl"),
    ("{name} went on a long trip by train.", "{Pron} looked out of the window and saw cows and towns.",
     "But the train stopped in the dark and did not go on.", "they told stories until it moved again"),
    ("At the market, {name} saw a clown with big shoes.", "{Pron} wanted to see the whole show.",
     "But many people stood in front, and {pron} saw only backs.", "they climbed on a low wall and saw it all"),
    ("{name} wanted to be a doctor.", "{Pron} put a bandage on every toy in the room.",
     "But the toy rabbit had lost an ear.", "they sewed the ear on with blue thread"),
    ("{name} went to the library.", "{Pron} wanted a book about pirates.",
     "But the book was on a very high shelf.", "they found a small ladder and took it down"),
)  # fmt: skip
FEELINGS = ("was very sad", "began to cry", "did not know what to do", "was a little angry", "sat down and thought")
THANKS = ("Thank you", "You are the best", "That was a great idea", "I could not do it alone")
ENDS = (
    "{name} smiled and was happy again.", "From that day on, {name} was never afraid to ask for help.",
    "They laughed together for a long time.", "In the evening, {name} told everybody about it.",
    "{name} gave {poss} {helper} a big hug.", "It was a good day after all.",
)  # fmt: skip


def documents(seed: int, size: int) -> list[Document]:
    """Return `size` different short paragraphs."""
    generator = random.Random(f"{seed}:general")
    texts: dict[str, None] = {}
    while len(texts) < size:
        texts[_story(generator)] = None
    return [Document(f"general-{index:04}", text, "general", license="CC0-1.0") for index, text in enumerate(texts)]


def _story(generator: random.Random) -> str:
    name, pronoun, possessive = generator.choice(PEOPLE)
    slots = {"name": name, "pron": pronoun, "Pron": pronoun.capitalize(), "poss": possessive,
             "helper": generator.choice(HELPERS)}  # fmt: skip
    start, wish, trouble, solution = generator.choice(SCENES)
    call = generator.choice(
        ("Then {poss} {helper} came to help, and {s}.", "{Pron} asked {poss} {helper}. Together {s}.",
         "{poss2} {helper} saw it and said, \"Let us try together.\" So {s}.")
    )  # fmt: skip
    sentences = [start, wish, trouble, f"{{name}} {generator.choice(FEELINGS)}.",
                 call.replace("{s}", solution).replace("{poss2}", possessive.capitalize())]  # fmt: skip
    if generator.random() < 0.6:
        sentences.append(f'"{generator.choice(THANKS)}!" said {{name}}.')
    sentences.append(generator.choice(ENDS))
    return " ".join(sentences).format(**slots)
