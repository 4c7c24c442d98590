"""How the facts about the garden itself are said, asked and answered: hours, tickets, and how the work is done."""

from __future__ import annotations

from data_prep.garden.attribute import Attribute
from data_prep.garden.words import values


def _house_rule(
    name: str, texts: tuple[str, ...], statements: tuple[str, ...], asked: tuple[str, str, str], validation: str,
    test: tuple[str, str], short: str = "{v}.",
) -> Attribute:  # fmt: skip
    return Attribute(name, "garden", values(*texts), statements, asked, (validation,), test, statements[:2], (short,))


ATTRIBUTES = (
    _house_rule(
        "opens", ("seven o'clock|seven", "eight o'clock|eight", "nine o'clock|nine", "ten o'clock|ten"),
        ("The garden opens at {v}.", "We open the gates at {v}.", "In the morning the gates open at {v}.",
         "You can come in from {v} on."),
        ("When does the garden open?", "At what time do you open?", "How early can I come to the garden?"),
        "When do the gates open?", ("From what time on can I come in?", "Tell me when you open in the morning."),
        "At {v}.",
    ),
    _house_rule(
        "closes", ("four o'clock|four", "five o'clock|five", "six o'clock|six", "half past six"),
        ("The garden closes at {v}.", "We close the gates at {v}.", "In the evening the gates close at {v}.",
         "All visitors must leave at {v}."),
        ("When does the garden close?", "At what time do you close?", "How long can I stay in the garden?"),
        "When do the gates close?", ("At what time must visitors leave?", "Tell me when you close in the evening."),
        "At {v}.",
    ),
    _house_rule(
        "closed_day", ("Monday", "Tuesday", "Wednesday", "Thursday"),
        ("The garden is closed on {v}.", "We do not open on {v}.", "On {v} the gates stay shut.",
         "Come on any day but {v}."),
        ("On which day is the garden closed?", "When is the garden not open?", "Which day are you closed?"),
        "On what day do you not open?", ("On which day do the gates stay shut?", "Tell me which day I cannot come."),
        "On {v}.",
    ),
    _house_rule(
        "ticket", ("four dollars|four", "five dollars|five", "six dollars|six", "eight dollars|eight"),
        ("A ticket costs {v}.", "The price of a ticket is {v}.", "You pay {v} for a ticket.",
         "At the gate, a ticket is {v}."),
        ("How much is a ticket?", "What does a ticket cost?", "What is the price of a ticket?"),
        "How much do I pay for a ticket?", ("How many dollars is a ticket?", "Tell me what I pay at the gate."),
    ),
    _house_rule(
        "child_ticket", ("one dollar|one", "two dollars|two", "three dollars|three"),
        ("A child pays {v}.", "The ticket for a child costs {v}.", "For children, the price is {v}.",
         "Children come in for {v}."),
        ("How much does a child pay?", "What does a ticket for a child cost?", "What is the price for children?"),
        "How much is it for a child?", ("How many dollars does a child need?", "Tell me what children pay."),
    ),
    _house_rule(
        "dogs", ("at the gate", "in the yard", "by the fountain"),
        ("Dogs must wait {v}.", "Please leave your dog {v}.", "There is a place for dogs {v}.",
         "No dog may come in, so dogs stay {v}."),
        ("Where must dogs wait?", "Where can I leave my dog?", "I have a dog with me. Where does it stay?"),
        "Where is the place for dogs?", ("Where do dogs stay?", "Tell me where my dog can wait."),
    ),
    _house_rule(
        "cake", ("apple pie", "cherry cake", "carrot cake", "plum cake"),
        ("The tea room sells {v}.", "In the tea room you can eat {v}.", "The tea room is known for its {v}.",
         "With your tea, try the {v}."),
        ("What does the tea room sell?", "What can I eat in the tea room?", "Which cake is there in the tea room?"),
        "What cake does the tea room have?", ("What is the tea room known for?", "Tell me what I should try with my tea."),
    ),
    _house_rule(
        "lost", ("in the shop|the shop|at the shop", "in the office|the office|at the office",
                 "in the tower|the tower|at the tower"),
        ("Lost things are kept {v}.", "You will find lost things {v}.", "If you lose your hat, look for it {v}.",
         "Each lost glove waits {v}."),
        ("Where are lost things kept?", "Where can I find lost things?", "I lost my hat. Where should I look?"),
        "Where do you keep lost things?", ("Where does a lost glove wait?", "Tell me where to look for a lost bag."),
    ),
    _house_rule(
        "tour", ("eleven o'clock|eleven", "two o'clock|two", "three o'clock|three"),
        ("The tour starts at {v}.", "Each day the tour begins at {v}.", "Come at {v} for the tour.",
         "The guide waits for you at {v}."),
        ("When does the tour start?", "At what time is the tour?", "When should I come for the tour?"),
        "When does the tour begin?", ("At what time does the guide wait?", "Tell me when the tour is."),
        "At {v}.",
    ),
    _house_rule(
        "meeting", ("at the old oak|old oak|the oak", "at the sundial|sundial", "at the stone lion|stone lion"),
        ("The tour meets {v}.", "The guide meets you {v}.", "Wait for the tour {v}.", "Every tour begins {v}."),
        ("Where does the tour meet?", "Where do I meet the guide?", "Where does the tour begin?"),
        "Where should I wait for the tour?", ("At which place do tours begin?", "Tell me where to meet the guide."),
    ),
    _house_rule(
        "bus", ("bus four|four", "bus seven|seven", "bus nine|nine", "bus twelve|twelve"),
        ("Take {v} to the garden.", "You can come here with {v}.", "The garden is on the way of {v}.",
         "Only {v} stops at our gate."),
        ("Which bus goes to the garden?", "How do I get to the garden by bus?", "Which bus should I take?"),
        "Which bus comes here?", ("What bus stops at the gate?", "Tell me which bus I need."),
    ),
    _house_rule(
        "founder", ("Adela Lark|Adela|Mrs. Lark", "Edwin Moor|Edwin|Mr. Moor", "Tessa Finch|Tessa|Mrs. Finch"),
        ("The garden was founded by {v}.", "The first gardener was {v}.", "We owe our garden to {v}.",
         "The first tree was planted by {v}."),
        ("Who founded the garden?", "Who made the garden?", "Who was the first gardener?"),
        "Who began the garden?", ("By whom was the first tree planted?", "Tell me who founded the garden."),
    ),
    _house_rule(
        "age", ("eighty years|eighty", "ninety years|ninety", "one hundred years|a hundred years|hundred"),
        ("The garden is {v} old.", "Our garden has been here for {v}.", "The oldest tree has stood here for {v}.",
         "People have worked in this garden for {v}."),
        ("How old is the garden?", "How many years has the garden been here?", "What is the age of the garden?"),
        "For how long has the garden been here?", ("For how long have people worked here?", "Tell me how old the garden is."),
    ),
    _house_rule(
        "can", ("rain water", "well water", "pond water"),
        ("Fill the can with {v}.", "We water all plants with {v}.", "In our cans there is only {v}.",
         "The right water for plants is {v}."),
        ("What water do you use for the plants?", "What do I fill the can with?", "Which water is in the cans?"),
        "Which water do the plants get?", ("What is the right water for plants?", "Tell me which water to use."),
    ),
    _house_rule(
        "time", ("in the morning|morning", "in the evening|evening", "at noon|noon"),
        ("All plants are watered {v}.", "Take the can {v}.", "The best time for watering is {v}.",
         "The keepers carry water {v}."),
        ("At what time of day do you water?", "What is the best time for watering?", "When are the plants watered?"),
        "When do the keepers water?", ("At which time of day do keepers carry water?", "Tell me the best time to water."),
    ),
    _house_rule(
        "graft_first", ("wash the knife", "cut the twig", "wet the bark"),
        ("To graft a tree, first {v}.", "The first step of grafting is: {v}.", "Before you graft, {v}.",
         "Grafting begins like this: {v}."),
        ("How does grafting begin?", "What do I do first to graft a tree?", "What is the first step of grafting?"),
        "What comes first in grafting?", ("What must I do before I graft?", "Tell me how to start grafting."),
    ),
    _house_rule(
        "graft_tie", ("wax string", "wool", "soft bark", "green tape"),
        ("Tie a new graft with {v}.", "A new graft is tied with {v}.", "Around the graft goes {v}.",
         "We hold the graft together with {v}."),
        ("What do I tie a graft with?", "What holds a graft together?", "What goes around a new graft?"),
        "What is a graft tied with?", ("What do you use to tie a graft?", "Tell me what to put around a graft."),
    ),
    _house_rule(
        "seed_dry", ("on paper|paper", "on a cloth|cloth", "in a sieve|sieve"),
        ("Seeds are dried {v}.", "Let the seeds dry {v}.", "We dry all seeds {v}.", "New seeds lie {v} until they are dry."),
        ("Where do you dry seeds?", "How are seeds dried?", "Where should seeds dry?"),
        "Where do new seeds dry?", ("Where do new seeds lie?", "Tell me how to dry seeds."),
    ),
    _house_rule(
        "seed_keep", ("glass jars|glass jar|jars", "paper bags|paper bag|bags", "tin boxes|tin box|boxes"),
        ("Dry seeds are kept in {v}.", "We keep our seeds in {v}.", "Put dry seeds in {v}.", "The seeds sleep in {v}."),
        ("What do you keep seeds in?", "Where are dry seeds kept?", "What should I put dry seeds in?"),
        "In what do you store seeds?", ("What do the seeds sleep in?", "Tell me where to keep seeds."),
        "In {v}.",
    ),
    _house_rule(
        "seed_deep", ("one finger|a finger", "two fingers", "three fingers"),
        ("Sow seeds {v} deep.", "A seed must lie {v} deep.", "Make a hole that is {v} deep for each seed.",
         "Seeds come up best when they lie {v} deep."),
        ("How deep do you sow seeds?", "How deep must a seed lie?", "How deep is the hole for a seed?"),
        "How deep do seeds go?", ("How deep should the hole be?", "Tell me how deep to sow."),
    ),
    _house_rule(
        "tools", ("oil", "ashes", "warm milk"),
        ("Tools are cleaned with {v}.", "Clean your tools with {v}.", "We rub our tools with {v}.",
         "After work, each tool is cleaned with {v}."),
        ("How do you clean the tools?", "What are tools cleaned with?", "What do I clean my tools with?"),
        "With what do you clean tools?", ("What do you rub tools with?", "Tell me how to clean a tool."),
        "With {v}.",
    ),
    _house_rule(
        "storm", ("close the roofs", "bring in the pots", "tie up the vines"),
        ("When a storm comes, {v} first.", "Before a storm, {v}.", "If the sky gets dark, {v}.",
         "The rule for storms is: {v}."),
        ("What do you do when a storm comes?", "What must I do before a storm?", "What is the rule for storms?"),
        "What comes first in a storm?", ("What should I do if the sky gets dark?", "Tell me the storm rule."),
    ),
    _house_rule(
        "bell", ("once|one time", "twice|two times", "three times"),
        ("At closing time the bell rings {v}.", "The bell rings {v} before we close.",
         "When you hear the bell {v}, it is time to go.", "Each evening the big bell rings {v}."),
        ("How often does the bell ring at closing time?", "How many times does the bell ring?",
         "How often does the big bell ring?"),
        "How often will the bell ring?", ("How many rings will I hear at closing time?", "Tell me how often the bell rings."),
    ),
)  # fmt: skip
