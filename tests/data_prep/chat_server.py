"""A chat-completions server on this machine, for tests: real HTTP, answers as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]
Replying = Callable[[BaseHTTPRequestHandler, dict[str, Any]], Reply | None]


def answered(text: Any) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}


def failed(status: int, body: Any = b"", **headers: str) -> Reply:
    return status, body, {name.replace("_", "-"): text for name, text in headers.items()}


class Server:
    """Answers from a list of replies, one a request; the last is repeated.

    A function is called with the handler and the request's body; it returns a reply, or None when it has sent its own.
    """

    def __init__(self, *replies: Reply | Replying) -> None:
        self.replies: list[Reply | Replying] = list(replies) or [answered("Here.")]
        self.seen: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                reply = outer._next(self, body)
                sent = reply(self, body) if callable(reply) else reply
                with outer.lock:
                    outer.under_way -= 1
                if sent is not None:
                    self.send(*sent)

            def send(self, status: int, value: Any, headers: dict[str, str]) -> None:
                data = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                for name, text in headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def _next(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> Reply | Replying:
        with self.lock:
            self.seen.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            return self.replies[min(len(self.seen), len(self.replies)) - 1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/v1"

    @property
    def asked(self) -> list[str]:
        """Return the last message of each request."""
        return [body["messages"][-1]["content"] for body in self.seen]

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
