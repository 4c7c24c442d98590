"""Self-instruct (Wang et al. 2023, https://arxiv.org/abs/2212.10560): new tasks in the manner of some that are there.

The generator sees a few rows and writes one more, question and answer. As published, a new question stays only if it is
less than 0.7 ROUGE-L alike with every question there is (the stage sees to that), if it does not speak of what a text
model cannot see or make, and if it is neither too short nor too long.

Left out: the paper's separate prompts for classification tasks, and its answer-first order for them; labelled rows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import Field

from data_prep.records import Message
from data_prep.synthesis.augmentation import Candidate, Context, Method, MethodSettings, Origin

NEEDS_GENERATOR = True
NEW_TASKS = True
SHORTEST, LONGEST = 3, 150  # words of a question, as published
# What the paper's filter names: tasks that a text model cannot do.
_UNSUITABLE = re.compile(
    r"\b(?:image|images|graph|graphs|picture|pictures|file|files|map|maps|draw|plot|go to|video|audio)\b"
)
_PAIR = re.compile(
    r"(?:Question\s*\d*\s*:)?\s*(?P<q>.+?)\s*\n+\s*Answer\s*\d*\s*:\s*(?P<a>.+?)\s*"
    r"(?=\n\s*Question\s*\d*\s*:|\Z)",
    re.DOTALL | re.IGNORECASE,
)


class Settings(MethodSettings):
    """How the generator is asked."""

    examples: int = Field(4, ge=1, le=20, description="Rows that the generator sees each time.")
    topic: str = Field("", description="What the new questions should be about, in a few words.")


def build(settings: Settings, context: Context) -> Method:
    """Return the method; the examples of a request are the row itself and others of its group."""

    def method(origins: Sequence[Origin]) -> Iterator[list[Candidate]]:
        jobs = [
            (place, shown(origins, place, settings, context, copy))
            for place, origin in enumerate(origins)
            for copy in range(settings.copies if context.chosen(origin, settings.share) else 0)
        ]
        said = context.say(iter([request(examples, settings.topic) for _, examples in jobs]))
        found: list[list[Candidate]] = [[] for _ in origins]
        for (place, examples), (text, reason) in zip(jobs, said, strict=True):
            others = tuple(example.id for example in examples if example.id != origins[place].id)
            found[place].append(Candidate("", reason=reason) if reason else read(text, others))
        yield from found

    return method


def shown(origins: Sequence[Origin], place: int, settings: Settings, context: Context, copy: int) -> list[Origin]:
    """Return the rows for one request, in an order of chance."""
    chance = context.chance(origins[place].id, copy)
    others = [other for at, other in enumerate(origins) if at != place]
    picked = [*chance.sample(others, min(settings.examples - 1, len(others))), origins[place]]
    chance.shuffle(picked)
    return picked


def request(examples: Sequence[Origin], topic: str) -> list[Message]:
    """Return what the generator is asked."""
    about = f" about {topic}" if topic else " of the same field"
    listed = "\n\n".join(f"Question: {example.text}\nAnswer: {example.answer}" for example in examples)
    asked = f"Here are questions with their answers. Write one new question{about} with its answer, in the same form."
    return [{"role": "user", "content": f"{asked}\n\n{listed}\n\nQuestion:"}]


def read(text: str, others: tuple[str, ...]) -> Candidate:
    """Return the new task in what the generator wrote, or why there is none."""
    match = _PAIR.match(text.strip())
    if not match:
        return Candidate("", reason="no pair in the answer")
    question, answer = " ".join(match["q"].split()), match["a"].strip()
    if not SHORTEST <= len(question.split()) <= LONGEST:
        return Candidate(question, reason="question too short or too long")
    if _UNSUITABLE.search(question.lower()):
        return Candidate(question, reason="no task for a text model")
    if not re.match(r"[A-Za-z0-9\"'¿¡]|[^\W\d_]", question) or question[0] in "-*#":
        return Candidate(question, reason="does not begin with a word")
    return Candidate(question, answer, others)
