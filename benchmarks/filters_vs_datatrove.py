"""Our quality filters against datatrove's: the same documents, the same thresholds, one run on this machine.

    python benchmarks/filters_vs_datatrove.py DOCUMENTS.jsonl --datatrove-python VENV/bin/python [--limit 4000]

DOCUMENTS has one object with `text` on each line. datatrove (`pip install "datatrove[processing,multilingual]" spacy`)
runs in the interpreter named, so that its dependencies do not have to fit ours. Each side judges each document by each
rule alone, with nothing cached from the rule before, and then by all of them in a row, where both sides may share the
words that they have split. Printed for each rule: the share of equal keep/drop decisions, what only one side drops, the
share of equal texts among those that both keep (C4's rules remove lines), MB of UTF-8 per CPU second of both, and their
ratio. `--differences FILE` writes what differs with both reasons.

Two readings of the Gopher rules are compared, as the paper does not say what a word is: "tokens" counts punctuation
marks as words, as datatrove does, and must agree with it; the other is our default.

Imports, models and the first 50 documents (which warm both sides up) are not timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

RULES = ("gopher_quality", "gopher_repetition", "c4_quality", "fineweb_quality")
WARM_UP = 50
# Returns the reason to drop a text ("" to keep it), and the text that is left.
Judge = Callable[[str], tuple[str, str]]


def ours() -> dict[str, Judge]:
    """Return our filters, at datatrove's thresholds."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from data_prep import filters
    from data_prep.records import Document

    chains = {
        # Gopher's rule on the number of words is a filter of its own here.
        "gopher_quality": {"length": {"min_words": 50, "max_words": 100_000}, "gopher_quality": {"words": "tokens"}},
        "gopher_quality (our default)": {"length": {}, "gopher_quality": {"words": "whitespace"}},
        "gopher_repetition": {"gopher_repetition": {"words": "tokens"}},
        "gopher_repetition (our default)": {"gopher_repetition": {"words": "folded"}},
        "c4_quality": {"c4_quality": {}},
        "fineweb_quality": {"fineweb_quality": {"char_duplicates_ratio": 0.01}},
    }

    def judge(chain: dict[str, dict[str, Any]]) -> Judge:
        found = filters.modules()
        checks = [found[name].build(found[name].Settings(**settings)) for name, settings in chain.items()]

        def one(text: str) -> tuple[str, str]:
            document = Document("", text, "")
            for check in checks:
                drop = check(document)
                if drop:
                    return str(drop.reason), ""
            return "", document.text

        return one

    judges = {name: judge(chain) for name, chain in chains.items()}
    judges["all in a row"] = judge({name: one for rule in RULES for name, one in chains[rule].items()})
    default: dict[str, dict[str, Any]] = {name: {} for name in ("length", *RULES)}
    judges["all in a row (our defaults)"] = judge(default)
    return judges


def theirs() -> dict[str, Judge]:
    """Return datatrove's filters as they come."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )
    from datatrove.utils.text import split_into_parts

    steps = dict(
        zip(
            RULES,
            (GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter()),
            strict=True,
        )
    )

    def judge(names: tuple[str, ...]) -> Judge:
        def one(text: str) -> tuple[str, str]:
            document = Document(text=text, id="")
            for name in names:
                result = steps[name].filter(document)
                if result is not True:
                    return (result[1] if isinstance(result, tuple) else "dropped"), ""
            return "", document.text

        return one

    split_into_parts.cache_clear()
    judges = {name: judge((name,)) for name in RULES}
    judges["gopher_quality (our default)"] = judges["gopher_quality"]
    judges["gopher_repetition (our default)"] = judges["gopher_repetition"]
    judges["all in a row"] = judges["all in a row (our defaults)"] = judge(RULES)
    return judges


def measured(judges: dict[str, Judge], texts: list[str]) -> dict[str, dict[str, Any]]:
    """Return the reasons and the CPU seconds of each judge."""
    found = {}
    for name, judge in judges.items():
        for text in texts[:WARM_UP]:
            judge(text)
        start = time.process_time()
        answers = [judge(text) for text in texts]
        seconds = time.process_time() - start
        sums = [zlib.crc32(text.encode("utf-8", "replace")) for _, text in answers]
        found[name] = {"seconds": seconds, "reasons": [reason for reason, _ in answers], "texts": sums}
    return found


def texts_of(path: str, limit: int | None) -> list[str]:
    """Return the texts of a file of JSON lines."""
    with open(path, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file if line.strip()]
    return texts[:limit]


def table(texts: list[str], left: dict[str, Any], right: dict[str, Any]) -> str:
    """Return one line for each rule."""
    megabytes = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    lines = [f"{len(texts)} documents, {megabytes:.1f} MB of UTF-8; MB per CPU second"]
    columns = ("equal", "only we", "only they", "texts", "we", "they", "ratio")
    lines.append(f"{'rule':34}" + "".join(f"{column:>10}" for column in columns))
    for name, mine in left.items():
        their = right[name]
        # Dropped by us, dropped by them.
        pairs = [(bool(a), bool(b)) for a, b in zip(mine["reasons"], their["reasons"], strict=True)]
        kept = [row for row, pair in enumerate(pairs) if pair == (False, False)]
        equal = sum(a == b for a, b in pairs) / len(texts)
        same = sum(mine["texts"][row] == their["texts"][row] for row in kept) / max(1, len(kept))
        we, they = megabytes / mine["seconds"], megabytes / their["seconds"]
        lines.append(
            f"{name:34}{equal:10.2%}{pairs.count((True, False)):10}{pairs.count((False, True)):10}{same:10.2%}"
            f"{we:10.2f}{they:10.2f}{we / they:10.1f}"
        )
    return "\n".join(lines)


def differences(path: str, texts: list[str], left: dict[str, Any], right: dict[str, Any]) -> None:
    """Write what the two sides disagree about."""
    with open(path, "w", encoding="utf-8") as file:
        for name, mine in left.items():
            for row, (a, b) in enumerate(zip(mine["reasons"], right[name]["reasons"], strict=True)):
                if bool(a) != bool(b):
                    said = {"rule": name, "row": row, "ours": a, "theirs": b, "start": texts[row][:200]}
                    file.write(json.dumps(said, ensure_ascii=False) + "\n")


def main() -> None:
    """Run both sides one after the other and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("documents")
    parser.add_argument("--datatrove-python", required=True)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--differences")
    parser.add_argument("--theirs-only", help=argparse.SUPPRESS)  # how the other interpreter is called
    arguments = parser.parse_args()
    texts = texts_of(arguments.documents, arguments.limit)
    if arguments.theirs_only:
        Path(arguments.theirs_only).write_text(json.dumps(measured(theirs(), texts)))
        return
    left = measured(ours(), texts)
    right = _in_the_other_interpreter(arguments)
    print(table(texts, left, right))
    if arguments.differences:
        differences(arguments.differences, texts, left, right)


def _in_the_other_interpreter(arguments: argparse.Namespace) -> dict[str, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        answer = f"{folder}/answer.json"
        command = [arguments.datatrove_python, __file__, arguments.documents, "--datatrove-python", "-"]
        command += ["--theirs-only", answer] + (["--limit", str(arguments.limit)] if arguments.limit else [])
        subprocess.run(command, check=True)
        found: dict[str, Any] = json.loads(Path(answer).read_text())
        return found


if __name__ == "__main__":
    main()
