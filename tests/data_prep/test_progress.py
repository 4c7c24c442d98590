"""A long run shows itself: a bar on a terminal, lines in a log, nothing when there is nothing to do."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from data_prep.engine import progress

COUNTED = """
import time
from data_prep.engine.progress import Progress
with Progress().counted("asking", 3, "passages") as done:
    for index in range(3):
        time.sleep(0.3)
        done(index)
    time.sleep(0.3)
"""
RUN = """
import time
from data_prep.engine.progress import Progress
with Progress().phase("reading", [3_000_000, 500_000, 250_000, 250_000], {1, 2, 3}) as done:
    for index in (1, 2, 3):
        time.sleep(0.3)
        done(index)
    time.sleep(0.3)
"""


def test_a_log_gets_lines_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "EACH", 0.1)
    monkeypatch.setattr(progress, "QUIET", 0.1)
    with progress.Progress().phase("reading", [5_000_000, 2_000_000, 2_000_000], {1, 2}) as done:
        time.sleep(0.2)
        done(1)
        done(2)
    first, last = capsys.readouterr().err.splitlines()
    found = re.fullmatch(r"reading: 2 of 4 MB, (\d+\.\d) MB/s, 0 s, 0 s left", first)
    assert found
    assert 5 < float(found.group(1)) <= 10  # two megabytes in a little more than a fifth of a second
    assert re.fullmatch(r"reading: 4 of 4 MB, \d+\.\d MB/s, 0 s", last)


def test_counts_are_told_with_their_unit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "EACH", 0.1)
    monkeypatch.setattr(progress, "QUIET", 0.1)
    with progress.Progress().counted("asking", 4, "passages") as done:
        time.sleep(0.2)
        done(0)
    first, last = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"asking: 1 of 4 passages, [45]\.\d a second, 0 s, 1 s left", first)
    assert re.fullmatch(r"asking: 4 of 4 passages, \d+\.\d a second, 0 s", last)


def test_a_short_phase_and_one_with_nothing_to_do_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Progress().phase("reading", [1], {0}) as done:
        done(0)
    with progress.Progress().phase("reading", [1], set()):
        pass
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_that_begins_where_the_last_run_ended() -> None:
    text = _on_a_terminal(RUN)
    assert "reading" in text
    assert "3.0/4.0 MB" in text
    assert "4.0/4.0 MB" in text
    assert re.search(r"\d [Mk]B/s", text)


def test_a_terminal_gets_a_bar_of_counts() -> None:
    text = _on_a_terminal(COUNTED)
    assert re.search(r"asking.* 3/3 passages, [2-4]\.\d a second", text)


def _on_a_terminal(script: str) -> str:
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=writer, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    )
    os.close(writer)
    shown = b""
    while True:
        try:
            part = os.read(reader, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(reader)
    assert process.wait() == 0
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
