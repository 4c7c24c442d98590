"""The client against a real HTTP server on this machine: what passes by itself is waited for, what does not is told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from chat_server import Server, answered, failed

from data_prep.synthesis.endpoint import HOPELESS, Endpoint, Refusal, key_of, retry_after, url_mistake
from recipes.errors import UserError

ASK = [{"role": "user", "content": "Where?"}]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def client(server: Server, **settings: Any) -> Endpoint:
    return Endpoint(server.url, "a-model", **{"retries": 2, "first_wait": 0.01, "timeout": 5.0, **settings})


def test_a_request_is_a_chat_completion_with_key_model_and_seed(server: Server) -> None:
    said = client(server, key="secret", parameters={"temperature": 0.5}).complete(ASK, seed=7)
    assert said == "Here."
    assert server.paths == ["/v1/chat/completions"]
    assert server.seen == [{"model": "a-model", "messages": ASK, "seed": 7, "stream": False, "temperature": 0.5}]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_without_a_key_none_is_sent(server: Server) -> None:
    client(server).complete(ASK, seed=1)
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_passes_is_tried_again(server: Server, status: int) -> None:
    server.replies = [failed(status), failed(status), answered("Here.")]
    assert client(server).complete(ASK, seed=1) == "Here."
    assert len(server.seen) == 3


def test_waits_double_and_the_server_may_ask_for_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.replies = [failed(500), failed(500), failed(429, Retry_After="7"), failed(500), answered("Here.")]
    assert client(server, retries=4, first_wait=1.0).complete(ASK, seed=1) == "Here."
    assert waits == [1, 2, 7, 8]


def test_a_wait_has_a_limit(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.replies = [failed(429, Retry_After="86400"), answered("Here.")]
    client(server).complete(ASK, seed=1)
    assert waits == [60]


def test_all_tries_in_vain(server: Server) -> None:
    server.replies = [failed(503, {"error": {"message": "model is\nloading"}})]
    with pytest.raises(UserError) as caught:
        client(server).complete(ASK, seed=1)
    assert str(caught.value) == (
        f"{server.url}: no answer in 3 tries (the last: status 503 (model is loading)); "
        "run the same command when the server is well again; what it has answered is kept"
    )


def test_a_server_that_is_silent(server: Server) -> None:
    server.replies = [lambda *_: time.sleep(0.5), answered("Here.")]
    assert client(server, timeout=0.1).complete(ASK, seed=1) == "Here."
    server.seen.clear()
    server.replies = [lambda *_: time.sleep(0.5)]
    with pytest.raises(UserError, match=r"no answer in 1 tries \(the last: no answer within 0\.1 s\)"):
        client(server, timeout=0.1, retries=0).complete(ASK, seed=1)


def test_a_server_that_drips(server: Server) -> None:
    """The limit is for the whole answer: each byte alone comes in time."""

    def drip(handler: BaseHTTPRequestHandler, _: object) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(100):
            try:
                handler.wfile.write(b" ")
                handler.wfile.flush()
            except OSError:
                return
            time.sleep(0.05)

    server.replies = [drip]
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no whole answer within 0\.3 s"):
        client(server, timeout=0.3, retries=0).complete(ASK, seed=1)
    assert time.monotonic() - start < 2


def test_a_connection_that_breaks_in_the_middle(server: Server) -> None:
    def cut(handler: BaseHTTPRequestHandler, _: object) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.close_connection = True

    server.replies = [cut, answered("Here.")]
    assert client(server).complete(ASK, seed=1) == "Here."
    server.seen.clear()
    server.replies = [cut]
    with pytest.raises(UserError, match=r"the connection broke \(IncompleteRead\)"):
        client(server).complete(ASK, seed=1)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>Welcome to  nginx</html>", "not a chat completion: '<html>Welcome to nginx</html>'"),
        ({"choices": []}, "not a chat completion: '{\"choices\": []}'"),
        ({"choices": [{"text": "old"}]}, "not a chat completion"),
        ([1], "not a chat completion: '[1]'"),
        ({"choices": [{"message": {"content": [{"type": "text"}]}}]}, "an answer that is no text"),
    ],
)
def test_bad_json_is_tried_again_and_then_told(server: Server, body: Any, told: str) -> None:
    server.replies = [(200, body, {}), answered("Here.")]
    assert client(server).complete(ASK, seed=1) == "Here."
    server.seen.clear()
    server.replies = [(200, body, {})]
    with pytest.raises(UserError) as caught:
        client(server).complete(ASK, seed=1)
    assert told in str(caught.value)


def test_no_content_is_an_empty_answer(server: Server) -> None:
    server.replies = [answered(None)]
    assert client(server).complete(ASK, seed=1) == ""


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_at_once_and_is_not_shown(server: Server, status: int) -> None:
    server.replies = [failed(status, {"error": {"message": "Incorrect API key provided"}})]
    with pytest.raises(UserError) as caught:
        client(server, key="sk-very-secret").complete(ASK, seed=1)
    assert len(server.seen) == 1
    assert str(caught.value) == (
        f"{server.url}: the server refuses the key: status {status} (Incorrect API key provided); "
        "put a key that is allowed to use this model into the variable that generator.api_key_env names"
    )


def test_an_unknown_model_or_address_stops_at_once(server: Server) -> None:
    server.replies = [failed(404, {"error": {"message": "The model `a-model` does not exist."}})]
    with pytest.raises(
        UserError, match=r"no such address or model: status 404 \(The model `a-model` does not exist\.\)"
    ):
        client(server).complete(ASK, seed=1)
    assert len(server.seen) == 1


def test_a_redirect_is_not_followed(server: Server) -> None:
    """The key would go to another server."""
    server.replies = [failed(307, Location="http://127.0.0.1:9/v1/chat/completions")]
    with pytest.raises(UserError, match=r"the server sends on to http://127\.0\.0\.1:9/v1: status 307; write that URL"):
        client(server, key="secret").complete(ASK, seed=1)
    assert len(server.seen) == 1


def test_one_bad_request_is_one_bad_row(server: Server) -> None:
    server.replies = [failed(400, {"error": {"message": "too long"}}), answered("Here."), failed(400)]
    one = client(server)
    assert one.complete(ASK, seed=1) == Refusal("the server refuses the request (400)")
    assert one.complete(ASK, seed=1) == "Here."
    assert [one.complete(ASK, seed=1) for _ in range(HOPELESS)] == [
        Refusal("the server refuses the request (400)")
    ] * HOPELESS


def test_nothing_but_bad_requests_stop(server: Server) -> None:
    server.replies = [failed(400, {"error": {"message": "unknown field top_k"}})]
    one = client(server)
    for _ in range(HOPELESS - 1):
        assert isinstance(one.complete(ASK, seed=1), Refusal)
    with pytest.raises(
        UserError, match=r"refuses every request: status 400 \(unknown field top_k\); correct what it names"
    ):
        one.complete(ASK, seed=1)


def test_nobody_listens(server: Server) -> None:
    server.close()
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        client(server, retries=5, first_wait=10.0).complete(ASK, seed=1)
    assert str(caught.value) == (
        f"{server.url}: cannot be reached ([Errno 111] Connection refused); start the server, or correct generator.url"
    )
    assert time.monotonic() - start < 2


def test_a_server_that_goes_away_is_waited_for(server: Server) -> None:
    one = client(server)
    assert one.complete(ASK, seed=1) == "Here."
    server.close()
    with pytest.raises(UserError, match=r"no answer in 3 tries \(the last: cannot be reached \(\[Errno 111\]"):
        one.complete(ASK, seed=1)


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("localhost:8000", "is no URL of an http or https server"),
        ("ftp://x/v1", "is no URL of an http or https server"),
        ("http://", "is no URL of an http or https server"),
        ("http://x:port/v1", "is no URL ("),
        ("http://me:pass@x/v1", "the URL holds a user or a password"),
        ("http://x/v1?key=1", "has a query or a fragment"),
        ("http://x/v1/chat/completions", "is the address of one call"),
    ],
)
def test_a_url_that_is_none(url: str, what: str) -> None:
    found = url_mistake(url)
    assert found is not None and what in found[0]
    assert "pass@" not in " ".join(found)


def test_urls_that_are_right() -> None:
    for url in ("http://127.0.0.1:8000/v1", "https://api.example.org/v1/", "http://[::1]:80"):
        assert url_mistake(url) is None


def test_a_key_comes_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", " abc\n")
    assert (key_of("SOME_KEY"), key_of(""), key_of("NO_SUCH_KEY_AT_ALL")) == ("abc", "", "")


def test_a_date_to_wait_for_is_no_number() -> None:
    from email.message import Message

    headers = Message()
    headers["Retry-After"] = "Wed, 21 Oct 2026 07:28:00 GMT"
    assert retry_after(headers) == 0
