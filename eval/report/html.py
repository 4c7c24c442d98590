"""The report as one HTML file that needs nothing else: no network, no script, plots as inline SVG.

Whatever comes from data or recipes (names, questions, answers, paths) is escaped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from eval.comparison import Comparison, Score
from eval.report import plots, words
from eval.results import Answered, Results, Said, Step, TaskSummary

VERDICT_COLOURS = {"better": "#1a7f4b", "worse": "#b3261e", "no evidence": "#7a8490"}


def page(results: Results) -> str:
    """Return the report."""
    sections = [
        _warnings(results),
        _section("In short", _in_short(results)),
        _section("Scores", _scores(results), _reward_model(results)),
        _section("By checkpoint", _plots(results)),
        _section("Is the difference real?", *_comparisons(results)),
        _section("Answers side by side", _samples(results)),
        _section("How they were trained", _curves(results), _lineage(results)),
        _section("Tasks and settings", _tasks(results), _settings(results)),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Benchmark: {_names(results)}</title>\n<style>{_style()}</style>\n</head>\n<body>\n<main>\n"
        f"{_header(results)}{''.join(sections)}</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _names(results: Results) -> str:
    return escape(", ".join(one.name for one in results.checkpoints))


def _section(title: str, *parts: str) -> str:
    body = "".join(part for part in parts if part)
    return f"<section>\n<h2>{title}</h2>\n{body}</section>\n" if body else ""


def _header(results: Results) -> str:
    asked = sum(task.items for task in results.tasks)
    facts = f"{len(results.checkpoints)} checkpoints, {len(results.tasks)} tasks, {asked:,} items"
    app = f'<p class="app">Talk to these checkpoints: <code>{escape(results.app)}</code></p>' if results.app else ""
    return f"<header>\n<h1>Benchmark</h1>\n<p>{facts}. {escape(words.explanation())}</p>\n{app}</header>\n"


def _warnings(results: Results) -> str:
    boxes = [f'<p class="warning">{escape(one)}</p>\n' for one in words.warnings(results)]
    if missing := words.not_searched(results):
        boxes.append(f'<p class="note">{escape(missing)}</p>\n')
    return "".join(boxes)


def _in_short(results: Results) -> str:
    """Return for each pair what got better and what got worse."""
    rows = []
    for before, after in dict.fromkeys((one.before, one.after) for one in results.comparisons):
        there = [one for one in results.comparisons if (one.before, one.after) == (before, after)]
        rows.append(
            [
                f'{_dot(results, before)} <span class="arrow">→</span> {_dot(results, after)}',
                *(_listed([one for one in there if one.verdict == verdict]) for verdict in VERDICT_COLOURS),
            ]
        )
    head = ["", *(f'<span style="color:{fill}">{name}</span>' for name, fill in VERDICT_COLOURS.items())]
    return _table(head, rows, texts=4, kind="pairs short") if rows else ""


def _listed(comparisons: Sequence[Comparison]) -> str:
    return escape(", ".join(f"{one.task} {one.label}" for one in comparisons)) or "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int = 1, kind: str = "") -> str:
    """Return a table of cells that are HTML already; the first `texts` columns are text, the others figures."""

    def row(cells: Sequence[str], tag: str) -> str:
        marked = (f"<{tag}{'' if place < texts else ' class=f'}>{one}</{tag}>" for place, one in enumerate(cells))
        return f"<tr>{''.join(marked)}</tr>\n"

    body = "".join(row(cells, "td") for cells in rows)
    table = f'<table class="{kind}">\n<thead>{row(head, "th")}</thead>\n<tbody>{body}</tbody></table>'
    return f'<div class="wide">{table}</div>\n'


def _dot(results: Results, name: str) -> str:
    names = [one.name for one in results.checkpoints]
    fill = plots.colour(names.index(name)) if name in names else plots.SOFT
    return f'<span class="dot" style="background:{fill}"></span>{escape(name)}'


def _scores(results: Results) -> str:
    columns = results.columns()
    if not columns:
        return ""
    head = ["checkpoint"]
    head += [f"<small>{escape(task.name)}</small><br>{escape(words.heading(there[0]))}" for task, _, there in columns]
    rows = []
    for checkpoint in results.checkpoints:
        row = [_dot(results, checkpoint.name)]
        row += [_score(results.score(checkpoint.name, task.name, measure), there) for task, measure, there in columns]
        rows.append(row)
    return _table(head, rows, kind="scores")


def _score(score: Score | None, column: Sequence[Score]) -> str:
    if score is None:
        return "–"
    value, width = words.figure(score, words.decimals(column)).split(" ")
    if len(column) > 1 and score.checkpoint in words.best(column):
        value = f"<b>{value}</b>"
    hint = f"{score.low:.4g} to {score.high:.4g}, {score.n} items, {score.sources} independent, {score.method}"
    return f'<span title="{escape(hint)}">{value} <i>{width}</i></span>'


def _reward_model(results: Results) -> str:
    rows = [
        [
            escape(one.task),
            escape(one.label),
            f"{one.value:.3f}",
            f"[{one.low:.3f}, {one.high:.3f}]",
            str(one.n),
        ]
        for one in results.reward_scores()
    ]
    head = ["task", "measure", "right", "95 % interval", "pairs"]
    return "<h3>Reward model</h3>\n" + _table(head, rows, texts=2) if rows else ""


def _plots(results: Results) -> str:
    shown = [_plot(results, task, there) for task, _, there in results.columns() if _can_be_drawn(there)]
    return f'<div class="plots">{"".join(shown)}</div>\n' if shown else ""


def _can_be_drawn(scores: Sequence[Score]) -> bool:
    return all(math.isfinite(value) for score in scores for value in (score.low, score.value, score.high))


def _plot(results: Results, task: TaskSummary, scores: Sequence[Score]) -> str:
    order = [one.name for one in results.checkpoints]
    parents = {one.name: one.parent for one in results.checkpoints}
    place = {score.checkpoint: index for index, score in enumerate(scores)}
    several = [
        plots.Point(
            one.checkpoint,
            one.value,
            one.low,
            one.high,
            plots.colour(order.index(one.checkpoint)),
            place.get(parents[one.checkpoint] or ""),
        )
        for one in scores
    ]
    direction = "" if scores[0].higher_is_better else " (lower is better)"
    return f"<figure>{plots.points(f'{task.name}: {scores[0].label}{direction}', several)}</figure>\n"


def _comparisons(results: Results) -> Iterator[str]:
    pairs = list(dict.fromkeys((one.before, one.after) for one in results.comparisons))
    limits = {
        (one.task, one.measure): max(
            max(abs(c.low), abs(c.high), abs(c.difference), 1e-9)
            for c in results.comparisons
            if (c.task, c.measure) == (one.task, one.measure)
        )
        for one in results.comparisons
    }
    if pairs:
        yield (
            "<p>Differences on the items that both were asked. <i>Detectable</i>: the smallest true difference that "
            "this many items would have shown four times out of five.</p>\n"
        )
    for before, after in pairs:
        there = [one for one in results.comparisons if (one.before, one.after) == (before, after)]
        yield f"<h3>{_dot(results, before)} <span class=arrow>→</span> {_dot(results, after)}</h3>\n"
        head = ["measure", "verdict", "difference", "95 % interval", "", "adjusted p", "detectable"]
        yield _table(head, [_compared(one, limits[one.task, one.measure]) for one in there], texts=2, kind="pairs")


def _compared(one: Comparison, limit: float) -> list[str]:
    fill = VERDICT_COLOURS[one.verdict]
    hint = escape(f"{one.items} items, {one.method}, unadjusted p {words.p_value(one.p)}")
    return [
        f"{escape(one.task)}: {escape(one.label)}",
        f'<b class="verdict" style="color:{fill}">{one.verdict}</b>',
        words.signed(one.difference),
        f"[{words.signed(one.low)}, {words.signed(one.high)}]",
        plots.difference(one.low, one.difference, one.high, limit, fill),
        f'<span title="{hint}">{escape(words.p_value(one.p_adjusted))}</span>',
        f"±{one.smallest_seen:.3f}",
    ]


def _samples(results: Results) -> str:
    if not results.samples:
        return ""
    cards = "".join(_sample(results, one) for one in results.samples)
    return f"<p>Drawn at random, not picked; all of them are in <code>answers.jsonl</code>.</p>\n{cards}"


def _sample(results: Results, one: Answered) -> str:
    answers = "".join(_said(results, name, said) for name, said in one.answers.items())
    expected = f'<p class="expected">expected: {escape(one.expected)}</p>' if one.expected else ""
    return (
        f'<article><p class="question">{escape(one.shown)} <small>{escape(one.task)}</small></p>{expected}'
        f'<div class="answers">{answers}</div></article>\n'
    )


def _said(results: Results, name: str, said: Said) -> str:
    value = "" if said.value is None else _mark(said.value)
    text = escape(said.text) or "<em>(nothing)</em>"
    body = text if said.asked else "<em>not asked: the prompt does not fit</em>"
    return f'<div><p class="who">{_dot(results, name)}{value}</p><p>{body}</p></div>'


def _mark(value: float) -> str:
    """Return an item's own score: a tick or a cross where it is all or nothing."""
    if value in (0.0, 1.0):
        return '<span class="right">✓</span>' if value else '<span class="wrong">✗</span>'
    return f'<span class="part">{value:.2f}</span>'


def _curves(results: Results) -> str:
    figures = [figure for step in results.steps for figure in _curves_of(step)]
    return f'<div class="plots">{"".join(figures)}</div>\n' if figures else ""


def _curves_of(step: Step) -> Iterator[str]:
    """Yield the loss, and what is on other scales in plots of its own."""
    loss = {name: line for name, line in step.curves.items() if name.endswith("loss")}
    others = [{name: line} for name, line in step.curves.items() if not name.endswith("loss") and len(line) > 1]
    for lines in [loss, *others]:
        if lines:
            yield f"<figure>{plots.curves(step.stage, lines)}</figure>\n"


def _lineage(results: Results) -> str:
    chains = "".join(
        f"<li>{_dot(results, name)}: {' ← '.join(escape(step) for step in chain)}</li>\n"
        for name, chain in results.chains.items()
    )
    rows = [
        [
            escape(step.stage),
            f"<code>{escape(step.folder)}</code>",
            "<br>".join(f"<code>{escape(one)}</code>" for one in step.trained_on),
            f"{step.seconds:.0f} s",
            f"<code>{step.content[:12]}</code>",
        ]
        for step in results.steps
    ]
    head = ["stage", "folder", "trained on", "time", "content"]
    table = _table(head, rows, texts=3) if rows else ""
    return f'<h3>Lineage</h3>\n<ul class="chains">{chains}</ul>\n{table}'


def _tasks(results: Results) -> str:
    rows = [[escape(one.name), one.kind, f"<code>{escape(one.file)}</code>", str(one.items)] for one in results.tasks]
    return _table(["task", "kind", "file", "items"], rows, texts=3)


def _settings(results: Results) -> str:
    notes = {task.name: task.notes for task in results.tasks if task.notes}
    return _folded("Notes of the tasks", notes) + _folded("The recipe, with every default", results.recipe)


def _folded(title: str, value: Any) -> str:
    text = escape(json.dumps(value, indent=1, ensure_ascii=False))
    return f"<details><summary>{escape(title)}</summary><pre>{text}</pre></details>\n"
