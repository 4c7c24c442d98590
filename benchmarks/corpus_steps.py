"""Where the time of `stage: corpus` goes: MB per CPU second of each step, beside the fastest that is known for it.

    python benchmarks/corpus_steps.py DOCUMENTS.jsonl ... [--megabytes 10]

One process takes the sample of `corpus_vs_datatrove.py` through the same chain, document by document, so that steps
share the words that they have split, as they do in the stage; each step's own time is added up. MB are those of the
text that enters the step. The limit of a step is the fastest measured for its kind of work on a machine of this size:
a library's, or the plain operation that the step cannot do without (limits marked * are measured here).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from corpus_vs_datatrove import BANDS, ROWS, SHINGLE, THRESHOLD, sample

# MB per CPU second, and what does it.
LIMITS = {
    "gopher_quality": (9.7, "the same rules, vectorised in polars"),
    "gopher_repetition": (11, "the same rules on regex words"),
    "c4_quality": (11, "the same rules on regex words"),
    "fineweb_quality": (11, "the same rules on regex words"),
    "personal_data": (260, "two Rust regexes through polars"),
    "sketches": (67, "rensa, from ready words"),
}
FILTERS: dict[str, dict[str, Any]] = {
    "length": {},
    "gopher_quality": {"words": "tokens"},
    "gopher_repetition": {"words": "tokens"},
    "c4_quality": {},
    "fineweb_quality": {"char_duplicates_ratio": 0.01},
    "personal_data": {"kinds": ["EMAIL", "IP"]},
}


class Steps:
    """CPU seconds and bytes by step."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()

    def timed(self, name: str, size: int, act: Callable[[], Any]) -> Any:
        """Do something on so many bytes as part of a step."""
        began = time.process_time_ns()
        result = act()
        self.seconds[name] += (time.process_time_ns() - began) / 1e9
        self.bytes[name] += size
        return result


def chain(data: Path, work: Path, steps: Steps) -> None:
    """Take the documents through every step."""
    from data_prep import filters, readers
    from data_prep.corpus import duplicates
    from data_prep.corpus.passes import row_of
    from data_prep.corpus.sketches import Sketches
    from data_prep.engine import workers
    from data_prep.engine.phases import Phases
    from data_prep.engine.progress import Progress
    from data_prep.records import to_line

    found = filters.modules()
    checks = {name: found[name].build(found[name].Settings(**settings)) for name, settings in FILTERS.items()}
    sketches = Sketches(0, shingle=SHINGLE, bands=BANDS, rows=ROWS)
    total = sum(file.stat().st_size for file in data.iterdir())
    documents = steps.timed("reading", total, lambda: list(readers.read(data, "data")))
    left = 0
    for document in documents:
        size = len(document.text.encode())
        for name, check in checks.items():
            if steps.timed(name, size, lambda check=check, document=document: check(document)):
                break
        else:
            left += size
            steps.timed("sketches", size, lambda document=document: sketches.add(document.text, document.id, "data"))
            steps.timed("writing", size, lambda document=document: to_line(row_of(document)))
    steps.timed("saving sketches", left, lambda: sketches.save(work / "0"))
    search = duplicates.Search((str(work / "0"),), str(work / "found"), THRESHOLD, "first")
    with workers.opened(1, "", work) as crew:
        phases = Phases(work / "phases", crew, Progress(shown=False))
        steps.timed("finding copies", left, lambda: duplicates.find(search, phases, "duplicates", left))


def plain(data: Path) -> Iterator[tuple[str, float, str]]:
    """Measure what the steps cannot do without."""
    lines = [line for file in sorted(data.iterdir()) for line in file.read_bytes().splitlines()]
    texts = [json.loads(line)["text"] for line in lines]
    size = sum(map(len, lines)) / 1e6
    for name, act, what in (
        ("reading", lambda: [json.loads(line) for line in lines], "json.loads alone*"),
        ("writing", lambda: [json.dumps(text, ensure_ascii=False) for text in texts], "json.dumps of the text alone*"),
        ("length", lambda: [len(text.split()) for text in texts], "str.split alone*"),
    ):
        began = time.process_time()
        act()
        yield name, size / (time.process_time() - began), what


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--megabytes", type=float, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data, work = Path(name, "data"), Path(name, "work")
        sample(arguments.documents, data, arguments.megabytes)
        steps = Steps()
        for round_ in ("first", "second"):  # the first warms imports and tables up
            steps = Steps()
            (work / round_).mkdir(parents=True)
            chain(data, work / round_, steps)
        limits = LIMITS | {name: (speed, what) for name, speed, what in plain(data)}
    whole = sum(steps.seconds.values())
    print(f"{'step':18}{'MB in':>7}{'CPU s':>8}{'share':>7}{'MB/CPU s':>10}{'limit':>8}{'distance':>10}  what")
    for step, seconds in steps.seconds.items():
        speed = steps.bytes[step] / 1e6 / seconds
        limit, what = limits.get(step, (0.0, ""))
        far = f"{limit:8.0f}{limit / speed:9.1f}x  {what}" if limit else ""
        print(f"{step:18}{steps.bytes[step] / 1e6:7.1f}{seconds:8.2f}{seconds / whole:7.0%}{speed:10.1f}{far}")
    print(
        f"{'all':18}{steps.bytes['reading'] / 1e6:7.1f}{whole:8.2f}{'':7}{steps.bytes['reading'] / 1e6 / whole:10.1f}"
    )


if __name__ == "__main__":
    main()
