"""The report as Markdown, for wikis, pull requests and other programs."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report import words
from eval.results import Answered, Results


def markdown(results: Results) -> str:
    """Return the report."""
    parts = ["# Benchmark", *(f"> **{warning}**" for warning in words.warnings(results)), _scores(results)]
    parts += [words.explanation(), _bullets("Reward model", words.reward_lines(results)), _comparisons(results)]
    parts += [_tasks(results), _samples(results), _lineage(results)]
    if missing := words.not_searched(results):
        parts.append(missing)
    if results.app:
        parts.append(f"Talk to these checkpoints: `{results.app}`")
    return "\n\n".join(part for part in parts if part) + "\n"


def cell(text: str) -> str:
    """Return a text that stays within one cell of a table and is not taken for markup."""
    line = " ".join(text.split())
    for mark in "\\`*_[]<>|#":
        line = line.replace(mark, f"\\{mark}")
    return line


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1) -> str:
    rule = ["---" if place < text_columns else "---:" for place in range(len(head))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def _scores(results: Results) -> str:
    columns = results.columns()
    head = ["checkpoint", *(f"{cell(task.name)}: {words.heading(scores[0])}" for task, _, scores in columns)]
    rows = []
    for checkpoint in results.checkpoints:
        row = [cell(checkpoint.name)]
        for task, measure, scores in columns:
            score = results.score(checkpoint.name, task.name, measure)
            row.append(words.figure(score, words.decimals(scores)) if score else "-")
        rows.append(row)
    return _table(head, rows)


def _bullets(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)]) if lines else ""


def _comparisons(results: Results) -> str:
    if not results.comparisons:
        return ""
    rows = [
        [
            f"{cell(one.before)} → {cell(one.after)}",
            f"{cell(one.task)}: {one.label}",
            f"**{one.verdict}**" if one.verdict != "no evidence" else one.verdict,
            words.signed(one.difference),
            f"[{words.signed(one.low)}, {words.signed(one.high)}]",
            words.p_value(one.p_adjusted),
            str(one.items),
        ]
        for one in results.comparisons
    ]
    head = ["pair", "measure", "verdict", "difference", "95 % interval", "adjusted p", "items"]
    return "## Paired comparisons\n\n" + _table(head, rows, text_columns=3)


def _tasks(results: Results) -> str:
    rows = [[cell(one.name), one.kind, f"`{one.file}`", str(one.items)] for one in results.tasks]
    return "## Tasks\n\n" + _table(["task", "kind", "file", "items"], rows, text_columns=3)


def _samples(results: Results) -> str:
    parts = [_sample(one) for one in results.samples]
    return "\n\n".join(["## Answers side by side (drawn at random)", *parts]) if parts else ""


def _sample(one: Answered) -> str:
    rows = [[cell(name), cell(said.text) if said.asked else "(not asked)"] for name, said in one.answers.items()]
    expected = f" (expected: {cell(one.expected)})" if one.expected else ""
    return f"**{cell(words.shortened(one.shown, 300))}**{expected}\n\n" + _table(
        ["checkpoint", "answer"], rows, text_columns=2
    )


def _lineage(results: Results) -> str:
    return _bullets(
        "Lineage", [f"{cell(name)}: {' ← '.join(map(cell, chain))}" for name, chain in results.chains.items()]
    )
