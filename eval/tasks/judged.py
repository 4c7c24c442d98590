"""Answers judged by a function and by the reward model, and compared with the baseline checkpoint's answers.

`judge: module:function` names a Python function (prompt, answer, meta) -> {"name": value, ...}; its key `by` decides
who wins. `win_rate` is the share of prompts on which a checkpoint's answer is judged better than the baseline's, with
ties as half; 0.5 is the baseline itself. `reward` is the mean score by the recipe's reward model; without a judge it
decides who wins, which says little about a policy that was trained on that very reward.

Rows: `prompt` (text or messages, or made of columns through the template `user`) and what the judge wants in `meta`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import Field

from data_prep import hooks
from eval.metrics import mean
from eval.subjects import Policy, scores
from eval.task import Item, Measure, Message, Outcome, TaskSection, prompt_of, spread
from recipes.errors import UserError
from recipes.sections import Fault

SUBJECT = "policy"
WRITES = True
MAIN = ("total", "win_rate", "reward")
Judge = Callable[[list[Message], str, dict[str, Any]], dict[str, float]]
REWARD, WIN = "reward", "win_rate"
# Differences of rewards and scores below this are rounding, and a tie.
SAME = 1e-9


class Task(TaskSection):
    """Answers judged by a function."""

    kind: Literal["judged"] = "judged"
    judge: str | None = Field(
        None, pattern=r"^[\w.]+:\w+$", description="`module:function`, called with (prompt, answer, meta)."
    )
    by: str | None = Field(None, description="What decides who wins; default: the judge's `total`, else `reward`.")
    user: str | None = Field(None, description="The question, made of columns: `{question}`. Absent: column `prompt`.")

    @property
    def decides(self) -> str:
        """The measure that decides who wins."""
        return self.by or ("total" if self.judge else REWARD)


def faults(task: Task, recipe: Any) -> list[Fault]:
    """Refuse a judge that cannot be imported, and answers without anyone to judge them."""
    if task.judge is None:
        write = "name a function under `judge`, or a `reward_model`"
        return [] if recipe.reward_model else [Fault(("judge",), "there is neither a judge nor a reward model", write)]
    try:
        hooks.load(task.judge, "judge")
    except UserError as error:
        return [
            Fault(("judge",), error.what, "`module:function` of a module that Python finds from the working folder")
        ]
    return []


def load_judge(task: Task) -> Judge:
    """Return the judge's function; one that says nothing where there is none."""
    if task.judge is None:
        return lambda prompt, answer, meta: {}
    return hooks.load(task.judge, "judge")


def parse(task: Task, row: dict[str, Any]) -> Item:
    """Return a row as an item.

    Raises:
        ValueError: a column is missing.
    """
    prompt = prompt_of(task.user, row)
    references = row.get("references") or [""]
    last = prompt[-1]["content"]
    return Item("", last, last, str(references[0]), {"prompt": prompt, "meta": row.get("meta", {})})


def measure(task: Task, items: Sequence[Item], subject: Policy) -> Outcome:
    """Let the model answer, and have the answers judged."""
    given = subject.answers([item.data["prompt"] for item in items])
    asked = [one is not None for one in given]
    judge = load_judge(task)
    verdicts = [
        judge(item.data["prompt"], one.text, item.data["meta"])
        for item, one in zip(items, given, strict=True)
        if one is not None
    ]
    # With nothing asked, the measure that decides is there all the same, empty.
    names: list[str] = list(verdicts[0]) if verdicts else [task.decides]
    columns = {name: [float(verdict[name]) for verdict in verdicts] for name in names}
    if subject.reward is not None:
        columns[REWARD] = rewards(subject, items, given)
    measures = {
        name: Measure("mean", name.replace("_", " "), spread(mean.statistics(values), asked))
        for name, values in columns.items()
    }
    notes = {"judge": task.judge, "win_rate is by": task.decides}
    return Outcome(measures, asked, [one.text if one else "" for one in given], notes)


def rewards(subject: Policy, items: Sequence[Item], given: Sequence[Any]) -> list[float]:
    """Return the reward of each answer; one that was cut is scored without an end of turn, which it did not write."""
    from finetune import chat

    assert subject.reward is not None
    tokenizer = subject.reward.tokenizer
    sequences = []
    for item, answer in zip(items, given, strict=True):
        if answer is None:
            continue
        if answer.finished:
            whole = [*item.data["prompt"], {"role": "assistant", "content": answer.text}]
            sequences.append(chat.render(tokenizer, whole).input_ids)
        else:
            text = tokenizer.encode(answer.text, add_special_tokens=False)
            sequences.append(chat.prompt_ids(tokenizer, item.data["prompt"]) + text)
    return scores(subject.reward, sequences)


def against(task: Task, outcome: Outcome, baseline: Outcome) -> dict[str, Measure]:
    """Return how often the answers are judged better than the baseline's, on prompts that both were asked."""
    rows: list[tuple[float, ...]] = []
    for mine, theirs in zip(outcome.measures[task.decides].rows, baseline.measures[task.decides].rows, strict=True):
        gap = mine[0] - theirs[0]
        both = mine[1] and theirs[1]
        rows.append((0.5 if abs(gap) < SAME else float(gap > 0), 1.0) if both else (0.0, 0.0))
    return {WIN: Measure("mean", "win rate", rows)}
