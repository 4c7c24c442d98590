"""What a model is asked for, and how its answer is read.

The answer may be a JSON list of {"question", "answer"}, with or without text or a code fence around it, JSON lines, or
lines that begin with "Question:" and "Answer:" (also Q:/A:, numbered, in bold). An answer that is cut off in the middle
of its last pair loses that pair only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from data_prep.records import Message
from data_prep.synthesis.question_answers.passages import Passage

SYSTEM = (
    "You write question and answer pairs for training an assistant. Each question can be understood by somebody who "
    "has not seen the text: it names what it asks about and never mentions the text. Each answer is complete, uses "
    "only what the text says, and stays close to its wording. No yes-or-no questions."
)
TASK = (
    "Write up to {number} question and answer pairs about the text below, as a JSON list: "
    '[{{"question": "...", "answer": "..."}}]\n\n{title}Text:\n{text}'
)
_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)
_LINES = re.compile(
    r"^[\s*#>-]*(?:\d+[.)]\s*)?\**(?:Q|Question)\s*\d*\s*\**\s*[:.]\**\s*(?P<q>.+?)\s*\n+[\s*>-]*\**(?:A|Answer)\s*\d*\s*\**\s*[:.]\**\s*"
    r"(?P<a>.+?)(?=\n+[\s*#>-]*(?:\d+[.)]\s*)?\**(?:Q|Question)\s*\d*\s*\**\s*[:.]|\n\s*\n|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)


def request(passage: Passage, number: int, task: str = "") -> list[Message]:
    """Return what a model is asked about a passage."""
    title = f"Title: {passage.title}\n" if passage.title else ""
    heading = f"Section: {passage.heading}\n" if passage.heading and passage.heading != passage.title else ""
    asked = (task or TASK).format(number=number, title=title + heading, text=passage.text)
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": asked}]


def task_mistake(task: str) -> tuple[str, str] | None:
    """Return what is wrong with a task of the user's own, and what to write."""
    try:
        probe = task.format(number=7, title="\x00", text="\x01")
    except (KeyError, IndexError, ValueError) as error:
        what = f"the task cannot be filled in ({type(error).__name__}: {error})"
        return what, "use {text}, {title} and {number}; write {{ and }} for braces"
    return None if "\x01" in probe else ("the task does not hold {text}", "write {text} where the passage belongs")


def pairs(answer: str) -> list[tuple[str, str]]:
    """Return the questions and answers in what a model wrote."""
    found = list(_from_json(answer)) or [(match["q"], match["a"]) for match in _LINES.finditer(answer)]
    return [(" ".join(question.split()), shortened.strip()) for question, shortened in found]


def _from_json(answer: str) -> Iterator[tuple[str, str]]:
    for match in _OBJECT.finditer(answer):
        try:
            value = json.loads(match[0], strict=False)
        except ValueError:
            continue
        question, said = _text(value, "question", "q"), _text(value, "answer", "a")
        if question and said:
            yield question, said


def _text(value: dict[str, Any], *names: str) -> str:
    lowered = {str(name).lower(): item for name, item in value.items()}
    return next((lowered[name] for name in names if isinstance(lowered.get(name), str)), "")
