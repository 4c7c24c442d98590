"""The terminal's table: one row for each checkpoint, one column for each measure, in at most WIDTH characters."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from eval.comparison import Score
from eval.report import words
from eval.results import Results, TaskSummary

WIDTH = 100
GAPS = ("  ", " ")
Column = list[str]


def terminal(results: Results) -> str:
    """Return the table with its warnings, verdicts and the line that starts the app."""
    parts = [_boxed_warnings(results), *_blocks(results), _list("Reward model", words.reward_lines(results))]
    parts.append(_list("Paired comparisons", words.verdicts(results)))
    parts.append(textwrap.fill(words.explanation(), WIDTH))
    if missing := words.not_searched(results, most=1):
        parts.append(textwrap.fill(missing, WIDTH))
    if results.app:
        parts.append(f"Talk to these checkpoints:  {results.app}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _boxed_warnings(results: Results) -> str:
    lines = [
        line
        for warning in words.warnings(results)
        for line in textwrap.wrap(warning, WIDTH - 2, initial_indent="! ", subsequent_indent="!   ")
    ]
    return "\n".join(["!" * WIDTH, *lines, "!" * WIDTH]) if lines else ""


def _list(title: str, lines: Sequence[str]) -> str:
    wrapped = [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="      ") for line in lines]
    return "\n".join([title, *wrapped]) if wrapped else ""


def _blocks(results: Results) -> Iterator[str]:
    """Yield the table: with narrow gaps where that makes it fit, else in blocks one below the other."""
    names = ["", "", *(one.name for one in results.checkpoints)]
    columns = [_column(results, *column) for column in results.columns()]
    gap = next((gap for gap in GAPS if _width([names, *columns], gap) <= WIDTH), GAPS[0])
    block: list[Column] = []
    for column in columns:
        if block and _width([names, *block, column], gap) > WIDTH:
            yield _drawn([names, *block], gap)
            block = []
        block.append(column)
    if block:
        yield _drawn([names, *block], gap)


def _column(results: Results, task: TaskSummary, measure: str, scores: Sequence[Score]) -> Column:
    places = words.decimals(scores)
    cells = {score.checkpoint: words.figure(score, places) for score in scores}
    return [scores[0].task, words.heading(scores[0]), *(cells.get(one.name, "-") for one in results.checkpoints)]


def _width(columns: Sequence[Column], gap: str) -> int:
    return sum(max(map(len, column)) for column in columns) + len(gap) * (len(columns) - 1)


def _drawn(columns: Sequence[Column], gap: str) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = []
    for row in range(len(columns[0])):
        cells = [column[row] for column in columns]
        first = cells[0].ljust(widths[0])
        lines.append(gap.join([first, *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]))
    lines.insert(2, "─" * _width(columns, gap))
    return "\n".join(line.rstrip() for line in lines)
