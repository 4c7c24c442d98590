"""What a long run shows: one bar a phase on a terminal (share done, MB/s, time left), a line a phase in a log."""

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
    def phase(self, title: str, sizes: Sequence[int], todo: set[int]) -> Iterator[Callable[[int], None]]:
        """Yield a function to call with the number of each task that is finished."""
        if not self._shown or not todo:
            yield lambda index: None
        elif sys.stderr.isatty():
            with _bar(title, sizes, todo) as done:
                yield done
        else:
            yield from _lines(title, sizes, todo)


@contextlib.contextmanager
def _bar(title: str, sizes: Sequence[int], todo: set[int]) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<22}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        total = sum(sizes) or len(sizes)
        before = sum(size for index, size in enumerate(sizes) if index not in todo)
        bar = bars.add_task(title, total=total, completed=before)
        yield lambda index: bars.advance(bar, sizes[index] if sum(sizes) else 1)


def _lines(title: str, sizes: Sequence[int], todo: set[int]) -> Iterator[Callable[[int], None]]:
    started = said = time.monotonic()
    finished: list[int] = []
    total = sum(sizes[index] for index in todo)

    def done(index: int) -> None:
        nonlocal said
        finished.append(index)
        if time.monotonic() - said > EACH:
            said = time.monotonic()
            _tell(title, sum(sizes[one] for one in finished), total, said - started, left=True)

    yield done
    if time.monotonic() - started > QUIET:
        _tell(title, total, total, time.monotonic() - started, left=False)


def _tell(title: str, size: int, total: int, seconds: float, *, left: bool) -> None:
    rate = size / seconds / 1e6
    rest = f", {(total - size) / max(size, 1) * seconds:.0f} s left" if left else ""
    amount = f"{size / 1e6:,.0f} of {total / 1e6:,.0f} MB, {rate:.1f} MB/s" if total else ""
    print(f"{title}: {amount or 'done'}, {seconds:.0f} s{rest}", file=sys.stderr, flush=True)
