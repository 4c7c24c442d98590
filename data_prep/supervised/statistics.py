"""Figures of a set of supervised rows: how many of what, how long, and how even.

Lengths are in characters, in tokens where a tokenizer was named. Percentiles are by nearest rank. The language is that
of prompt and answer together, as far as `data_prep.filters.language` can tell it.

Memory: a few whole numbers a row.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_prep.supervised.turns import Parts

PERCENTILES = (5, 25, 50, 75, 95, 100)
SAMPLE = 1000  # characters by which the language is told
SHOWN = 20
SHORT = 80  # characters: longer answers hardly repeat, and all of them would have to be held


def _numbers() -> array[int]:
    return array("q")


@dataclass
class Figures:
    """What is counted over all rows."""

    rows: Counter[str] = field(default_factory=Counter)
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    turns: Counter[int] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    longer: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, array[int]] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any], side: str, source: str, tokens: int) -> None:
        """Count one row that is written."""
        self.rows[side] += 1
        self.sources.setdefault(source, Counter())[side] += 1
        prompt, answers = _said(row)
        self._lengths(prompt, answers, tokens)
        for label in _labels(row):
            self.labels.setdefault(label, Counter())[side] += 1
        if "messages" in row or "prompt" in row:
            turns = row["messages"] if "messages" in row else row["prompt"]
            self.turns[sum(turn["role"] == "user" for turn in turns)] += 1
            self.systems[turns[0]["content"] if turns[0]["role"] == "system" else ""] += 1
        self.languages[_language("\n".join((prompt[:SAMPLE], *(answer[:SAMPLE] for answer in answers[:1]))))] += 1
        if "chosen" in row:
            chosen, rejected = map(len, answers)
            self.longer["chosen" if chosen > rejected else "rejected" if rejected > chosen else "equal"] += 1
        elif answers and len(answers[0]) <= SHORT:
            self.answers[answers[0].casefold()] += 1

    def _lengths(self, prompt: str, answers: Sequence[str], tokens: int) -> None:
        names = ("chosen", "rejected") if len(answers) == 2 else ("answer",)
        for name, text in (("prompt", prompt), *zip(names, answers, strict=False)):
            self.lengths.setdefault(name, _numbers()).append(len(text))
        if tokens:
            self.lengths.setdefault("tokens", _numbers()).append(tokens)

    def summary(self) -> dict[str, Any]:
        """Return the figures for `statistics.json`."""
        rows = sum(self.rows.values())
        found: dict[str, Any] = {
            "rows": {"all": rows, **self.rows},
            "sources": {source: dict(sides) for source, sides in sorted(self.sources.items())},
            "lengths": {name: percentiles(values) for name, values in self.lengths.items()},
            "histograms": {name: histogram(values) for name, values in self.lengths.items()},
            "languages": dict(_ordered(self.languages)),
        }
        if self.turns:
            found["user_turns"] = {str(turns): count for turns, count in sorted(self.turns.items())}
            found["systems"] = {"with": rows - self.systems[""], "different": len(set(self.systems) - {""}),
                                "most_frequent": dict(_ordered(self.systems, 5))}  # fmt: skip
        if self.labels:
            found["labels"] = {name: dict(sides) for name, sides in sorted(self.labels.items())}
            found["label_balance"] = balance([sum(sides.values()) for sides in self.labels.values()])
        if self.longer:
            found["chosen_longer"] = {**self.longer, "share": _longer_share(self.longer)}
        if self.answers and (repeated := [(one, count) for one, count in _ordered(self.answers, 5) if count > 1]):
            found["repeated_answers"] = dict(repeated)
        return found


def percentiles(values: Sequence[int]) -> dict[str, float]:
    """Return the mean and percentiles by nearest rank; p100 is the longest."""
    ordered = sorted(values)
    ranks = {f"p{share}": ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)] for share in PERCENTILES}
    return {"mean": round(sum(ordered) / len(ordered), 1), **ranks}


def histogram(values: Sequence[int]) -> dict[str, int]:
    """Return how many values lie from each power of two to below the next, by that power; 0 lies below 1."""
    counts = Counter(value.bit_length() for value in values)
    return {str(2 ** (bits - 1) if bits else 0): counts[bits] for bits in range(min(counts), max(counts) + 1)}


def balance(counts: Sequence[int]) -> dict[str, float]:
    """Return how even labels are: entropy over that of an even spread (Pielou's evenness), and the extremes' ratio."""
    total = sum(counts)
    entropy = -sum(count / total * math.log(count / total) for count in counts if count)
    evenness = entropy / math.log(len(counts)) if len(counts) > 1 else 1.0
    least, most = min(counts), max(counts)
    return {"labels": len(counts), "least": least, "most": most, "ratio": round(most / least, 3),
            "evenness": round(evenness, 4)}  # fmt: skip


def table(summary: Mapping[str, Any]) -> str:
    """Return the figures as lines for a terminal."""
    lines = [f"{'characters':<12}" + "".join(f"{name:>9}" for name in ("mean", *(f"p{p}" for p in PERCENTILES)))]
    for name, values in summary["lengths"].items():
        lines.append(f"{name:<12}" + "".join(f"{value:>9,.0f}" for value in values.values()))
    if "user_turns" in summary:
        lines.append("user turns   " + _listed(summary["user_turns"]))
    if "labels" in summary:
        sums = {name: sum(sides.values()) for name, sides in summary["labels"].items()}
        even = summary["label_balance"]
        lines.append(f"labels       {len(sums)}, from {even['least']:,} to {even['most']:,} rows, evenness "
                     f"{even['evenness']:.2f}: {_listed(dict(_ordered(Counter(sums), 6)))}")  # fmt: skip
    if "chosen_longer" in summary:
        share = summary["chosen_longer"]["share"]
        lines.append(f"chosen is the longer answer in {share:.0%} of the pairs of unequal length")
    if summary.get("systems", {}).get("with"):
        lines.append(
            f"system text  in {summary['systems']['with']:,} rows, {summary['systems']['different']:,} different"
        )
    lines.append("languages    " + _listed(dict(list(summary["languages"].items())[:6])))
    return "\n".join(lines)


def short(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the few figures that go into the manifest."""
    found = {f"{name}_p50": values["p50"] for name, values in summary["lengths"].items()}
    found |= {f"{name}_p95": values["p95"] for name, values in summary["lengths"].items()}
    if "chosen_longer" in summary:
        found["chosen_longer_share"] = summary["chosen_longer"]["share"]
    if "label_balance" in summary:
        found |= {"labels": summary["label_balance"]["labels"], "label_evenness": summary["label_balance"]["evenness"]}
    return found


def _longer_share(longer: Mapping[str, int]) -> float:
    unequal = longer.get("chosen", 0) + longer.get("rejected", 0)
    return round(longer.get("chosen", 0) / unequal, 4) if unequal else 0.5


def _said(row: Parts | Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what a row asks and what it answers."""
    if "messages" in row:
        turns = row["messages"]
        last = max((index for index, turn in enumerate(turns) if turn["role"] == "user"), default=0)
        return _joined(turns[: last + 1]), [_joined(turns[last + 1 :])]
    if "prompt" in row:
        return _joined(row["prompt"]), [
            _joined(row[name]) for name in ("chosen", "rejected", "completion") if name in row
        ]
    if "source" in row:
        return row["source"], [row["target"]]
    return (
        " ".join(row["tokens"]) if "tokens" in row else "\n".join(filter(None, (row["text"], row.get("text_pair"))))
    ), []


def _labels(row: Mapping[str, Any]) -> list[str]:
    if "label" in row:
        return ["good" if row["label"] else "bad"]
    return list(row.get("labels", row.get("tags", ())))


def _joined(turns: Sequence[Mapping[str, str]]) -> str:
    return "\n".join(turn["content"] for turn in turns)


def _language(text: str) -> str:
    from data_prep.filters.language import detect

    return detect(text) or "unknown"


def _ordered(counts: Counter[str], most: int | None = None) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
