"""Who writes: the section's mistakes, the order and the cache of answers, what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply, Server, answered, failed

from data_prep.synthesis.generator import TOO_LONG, Answer, Cache, Generator, Writer
from recipes.errors import UserError
from recipes.sections import Generation

ROOT = Path(__file__).resolve().parents[2]


def echo(_: object, body: dict[str, Any]) -> Reply:
    """Answer with what was asked; every other one late, so that answers overtake each other."""
    asked = body["messages"][-1]["content"]
    time.sleep(0.02 if asked[-1] in "02468" else 0)
    return answered(f"said: {asked}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server(echo)
    yield running
    running.close()


def requests(count: int) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": f"Question {number}"}] for number in range(count)]


def endpoint(server: Server, **keys: Any) -> Generator:
    given = {"kind": "endpoint", "url": server.url, "model": "m", "first_wait_seconds": 0.01, "max_retries": 1}
    return Generator(**{**given, **keys})


def said(settings: Generator, scratch: Path, count: int, seed: int = 1) -> list[Answer]:
    with Writer(settings, scratch, seed) as writer:
        return list(writer.answers(requests(count)))


def test_answers_come_in_order_and_no_more_than_wanted_are_under_way(server: Server, tmp_path: Path) -> None:
    expected = [Answer(f"said: Question {number}") for number in range(40)]
    assert said(endpoint(server, max_concurrency=4), tmp_path, 40) == expected
    assert 2 <= server.most_under_way <= 4


def test_seeds_depend_on_the_request_and_the_recipe_only(server: Server, tmp_path: Path) -> None:
    said(endpoint(server, max_concurrency=1), tmp_path / "a", 5)
    said(endpoint(server, max_concurrency=4), tmp_path / "b", 5)
    said(endpoint(server), tmp_path / "c", 5, seed=2)
    seeds = [(body["messages"][-1]["content"], body["seed"]) for body in server.seen]
    assert sorted(seeds[:5]) == sorted(seeds[5:10])
    assert not set(seeds[:5]) & set(seeds[10:])
    assert len({seed for _, seed in seeds[:5]}) == 5


def test_the_recipe_says_how_answers_are_sampled(server: Server, tmp_path: Path) -> None:
    said(endpoint(server, generation=Generation(max_new_tokens=9, temperature=0.5, top_p=0.9)), tmp_path / "a", 1)
    assert {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9}.items() <= server.seen[0].items()
    assert "top_k" not in server.seen[0]
    said(endpoint(server, generation=Generation(do_sample=False, top_k=5)), tmp_path / "b", 1)
    assert {"temperature": 0.0, "top_k": 5}.items() <= server.seen[1].items()


def test_nothing_is_asked_twice(server: Server, tmp_path: Path) -> None:
    first = said(endpoint(server), tmp_path, 10)
    assert said(endpoint(server), tmp_path, 12)[:10] == first
    assert sorted(server.asked) == sorted(f"Question {number}" for number in range(12))


def test_refusals_are_kept_too(server: Server, tmp_path: Path) -> None:
    server.replies = [answered("Here."), failed(413), answered("Here.")]
    told = said(endpoint(server, max_concurrency=1), tmp_path, 3)
    assert told == [Answer("Here."), Answer("", "the server refuses the request (413)"), Answer("Here.")]
    assert said(endpoint(server), tmp_path, 3) == told
    assert len(server.seen) == 3


def test_what_was_answered_before_the_server_failed_is_kept(server: Server, tmp_path: Path) -> None:
    server.replies = [echo, echo, echo, failed(500)]
    with pytest.raises(UserError, match="no answer in 2 tries"):
        said(endpoint(server, max_concurrency=1), tmp_path, 6)
    server.replies = [echo]
    server.seen.clear()
    assert [answer.text for answer in said(endpoint(server), tmp_path, 6)] == [f"said: Question {n}" for n in range(6)]
    assert sorted(server.asked) == ["Question 3", "Question 4", "Question 5"]


KILLED = """
import sys
from pathlib import Path
from data_prep.synthesis.generator import Generator, Writer
settings = Generator(kind="endpoint", url=sys.argv[1], model="m", max_concurrency=2)
requests = [[{"role": "user", "content": f"Question {number}"}] for number in range(200)]
with Writer(settings, Path(sys.argv[2]), 1) as writer:
    list(writer.answers(requests))
"""


def test_a_kill_loses_nothing_that_was_answered(server: Server, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, server.url, str(tmp_path)], env=environment)
    while len(server.seen) < 30:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.05)  # let the server finish what was under way
    before = len(server.seen)
    kept = len((tmp_path / "answers.jsonl").read_bytes().splitlines())
    assert before - 2 <= kept <= before < 200
    assert [answer.text for answer in said(endpoint(server), tmp_path, 200)] == [
        f"said: Question {number}" for number in range(200)
    ]
    assert len(server.seen) <= 200 + 2  # at most the two under way at the kill were asked again


@pytest.mark.parametrize("tail", [b'["key", "te', b'["key", "text", ""]', b"\xff\xfe"])
def test_half_a_line_at_the_end_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    whole = json.dumps(["a", "one", ""]).encode() + b"\n"
    path.write_bytes(whole + tail)
    cache = Cache(path)
    assert cache.answers == {"a": Answer("one")}
    cache.put("b", Answer("\ud800 two", ""))
    cache.close()
    again = Cache(path)
    assert again.answers == {"a": Answer("one"), "b": Answer("\ud800 two")}
    again.close()


CALLS: list[tuple[list[str], int]] = []


def runtime(settings: dict[str, Any]) -> Any:
    """A runtime as a user may plug one in: answers with the batch's seed, and finds long texts too long."""

    def answers(conversations: list[list[dict[str, str]]], seed: int) -> list[str | None]:
        asked = [messages[-1]["content"] for messages in conversations]
        CALLS.append((asked, seed))
        return [None if text.endswith("3") else f"{text} {seed} {settings['model_name_or_path']}" for text in asked]

    return answers


def short(settings: dict[str, Any]) -> Any:
    """A runtime that loses answers."""
    return lambda conversations, seed: ["one"]


def model(**keys: Any) -> Generator:
    given = {"kind": "model", "model_name_or_path": "x/y", "function": "test_generator:runtime", "batch_size": 4}
    return Generator(**{**given, **keys})


def test_a_local_model_gets_the_same_groups_with_the_same_seeds(tmp_path: Path) -> None:
    CALLS.clear()
    whole = said(model(), tmp_path / "a", 10)
    assert [len(asked) for asked, _ in CALLS] == [4, 4, 2]
    assert len({seed for _, seed in CALLS}) == 3
    assert whole[3] == Answer("", TOO_LONG)
    assert whole[0].text == f"Question 0 {CALLS[0][1]} x/y"
    before = list(CALLS)
    # Cut in the middle of the second group: that group is asked again as a whole, the first is not.
    lines = (tmp_path / "a" / "answers.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "answers.jsonl").write_bytes(b"".join(lines[:6]))
    CALLS.clear()
    assert said(model(), tmp_path / "b", 10) == whole
    assert before[1:] == CALLS


def test_a_runtime_that_loses_answers_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        said(model(function="test_generator:short"), tmp_path, 3)
    assert str(caught.value) == (
        "generator.function test_generator:short: it gave 1 answers to 3 requests; one answer for each, in order"
    )
    with pytest.raises(UserError, match="test_generator:nothing cannot be imported"):
        said(model(function="test_generator:nothing"), tmp_path, 3)


@pytest.mark.parametrize(
    ("keys", "key", "what", "write"),
    [
        ({"kind": "endpoint", "model": "m"}, (), "kind: endpoint needs `url`", "add `url: ...`"),
        ({"kind": "endpoint", "url": "http://x/v1"}, (), "kind: endpoint needs `model`", "add `model: ...`"),
        ({"kind": "model"}, (), "kind: model needs `model_name_or_path`", "add `model_name_or_path: ...`"),
        ({"kind": "endpoint", "url": "x:1", "model": "m"}, ("url",), "'x:1' is no URL of an http or https server",
         "a URL such as http://127.0.0.1:8000/v1"),
        ({"kind": "endpoint", "url": "http://x/v1", "model": "m", "api_key_env": "NO_SUCH_KEY"}, ("api_key_env",),
         "the environment variable NO_SUCH_KEY is not set",
         "export NO_SUCH_KEY=..., or leave the key out for a server that wants none"),
        ({"kind": "endpoint", "url": "http://x/v1", "model": "m", "api_key_env": "EMPTY_KEY"}, ("api_key_env",),
         "the environment variable EMPTY_KEY is empty",
         "export EMPTY_KEY=..., or leave the key out for a server that wants none"),
        ({"kind": "rules", "url": "http://x/v1"}, ("url",), "`url` means nothing for kind: rules",
         "remove it, or write kind: endpoint"),
        ({"kind": "rules", "generation": {}}, ("generation",), "rules generate nothing",
         "remove it, or write kind: model"),
        ({"kind": "model", "model_name_or_path": "m", "function": "nocolon"}, ("function",),
         "nocolon: does not name a function: write module:function", "finetune.answering:load, or your own"),
        ({"kind": "model", "model_name_or_path": "m", "function": "no_such_module:load"}, ("function",),
         "no_such_module:load: there is no module no_such_module; it may lie in the working folder",
         "finetune.answering:load, or your own"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place_and_words(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any], key: tuple[str, ...], what: str, write: str
) -> None:
    monkeypatch.setenv("EMPTY_KEY", "")
    (fault,) = Generator(**keys).faults()
    assert (fault.key, fault.what, fault.write) == (("generator", *key), what, write)


def test_right_sections_have_no_fault() -> None:
    assert Generator().faults() == []
    assert Generator(kind="model", model_name_or_path="m").faults() == []
    assert Generator(kind="endpoint", url="http://x/v1", model="m").faults() == []
