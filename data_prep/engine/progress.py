"""What a long run shows: one bar a phase on a terminal (share done, MB/s, time left), a line a phase in a log.

Sizes are bytes, or counts of a `unit`, such as passages.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

QUIET = 2.0  # seconds: a shorter phase has no line in a log
EACH = 30.0  # seconds between two lines of a long phase in a log


class Progress:
    """Shows phases on standard error; nothing of it reaches the result."""

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown

    @contextlib.contextmanager
    def phase(
        self, title: str, sizes: Sequence[int], todo: set[int], unit: str = ""
    ) -> Iterator[Callable[[int], None]]:
        """Yield a function to call with the number of each task that is finished."""
        if not self._shown or not todo:
            yield lambda index: None
        elif sys.stderr.isatty():
            with _bar(title, sizes, todo, unit) as done:
                yield done
        else:
            yield from _lines(title, sizes, todo, unit)

    @contextlib.contextmanager
    def counted(self, title: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """Yield a function to call with the number of each of `total` things of a kind that is done."""
        with self.phase(title, [1] * total, set(range(total)), unit) as done:
            yield done


@contextlib.contextmanager
def _bar(title: str, sizes: Sequence[int], todo: set[int], unit: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.progress import Progress as Bars

    counts = (MofNCompleteColumn(), TextColumn(f"{unit}, {{task.fields[rate]:.1f}} a second"))
    columns = (TextColumn("{task.description:<22}"), BarColumn(),
               *(counts if unit else (DownloadColumn(), TransferSpeedColumn())), TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        sized = sum(sizes)
        total = sized or len(sizes)
        before = sum(size for index, size in enumerate(sizes) if index not in todo)
        bar = bars.add_task(title, total=total, completed=before, rate=0.0)

        def done(index: int) -> None:
            bars.advance(bar, sizes[index] if sized else 1)
            bars.update(bar, rate=bars.tasks[0].speed or 0.0)

        yield done


def _lines(title: str, sizes: Sequence[int], todo: set[int], unit: str) -> Iterator[Callable[[int], None]]:
    started = said = time.monotonic()
    finished: list[int] = []
    total = sum(sizes[index] for index in todo)

    def done(index: int) -> None:
        nonlocal said
        finished.append(index)
        if time.monotonic() - said > EACH:
            said = time.monotonic()
            _tell(title, sum(sizes[one] for one in finished), total, said - started, unit, left=True)

    yield done
    if time.monotonic() - started > QUIET:
        _tell(title, total, total, time.monotonic() - started, unit, left=False)


def _tell(title: str, size: int, total: int, seconds: float, unit: str, *, left: bool) -> None:
    rate = size / seconds
    rest = f", {(total - size) / max(size, 1) * seconds:.0f} s left" if left else ""
    amount = f"{size / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate / 1e6:.1f} MB/s" if total else ""
    if unit:
        amount = f"{size:,} of {total:,} {unit}, {rate:.1f} a second"
    print(f"{title}: {amount or 'done'}, {seconds:.0f} s{rest}", file=sys.stderr, flush=True)
