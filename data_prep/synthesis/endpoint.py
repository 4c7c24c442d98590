"""A client for OpenAI-compatible servers (`POST <url>/chat/completions`), on the standard library alone.

vLLM, llama.cpp, Ollama, text-generation-inference and the commercial services speak this protocol. What can pass by
itself (a time-out, a lost connection, status 408, 409, 429 and 5xx, an answer that is cut off) is tried again after a
wait that doubles each time, or as long as the server asks for. What cannot (a wrong key, an unknown model, a wrong
URL) stops at once with what to do about it. A request that the server finds fault with (400, 413, 422: a prompt
that is too long, say) is one bad row among many: it comes back as `Refusal`, unless nothing but refusals come.

Redirects are not followed: the key would go with them.

Left out: streaming, tools, images, HTTP/2.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.message import Message as Headers
from typing import Any, NoReturn
from urllib.parse import urlsplit

from data_prep.records import Message
from recipes.errors import UserError

PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
ONE_ROW = {400, 413, 422}
LARGEST = 16 * 1024 * 1024  # bytes of an answer: more is no answer to what we ask
LONGEST_WAIT = 60.0  # seconds
HOPELESS = 8  # refusals without a single answer: not the rows are wrong but what is asked with them


@dataclass(frozen=True)
class Refusal:
    """A request that the server does not answer, and why."""

    reason: str


class _Passing(Exception):
    """Something that may be gone at the next try; `wait` is what the server asks for, in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class Endpoint:
    """A server, the model's name there, and how patient to be with it; may be used by several threads at once."""

    url: str
    model: str
    key: str = ""
    timeout: float = 120.0  # seconds for one whole answer
    retries: int = 5
    first_wait: float = 1.0  # seconds before the second try
    parameters: dict[str, Any] = field(default_factory=dict)
    _answered: bool = False
    _refused: int = 0
    _opener: urllib.request.OpenerDirector = field(default_factory=lambda: urllib.request.build_opener(_NoRedirect()))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, messages: Sequence[Message], *, seed: int) -> str | Refusal:
        """Return the assistant's answer.

        Raises:
            UserError: the server cannot be used, or gave no answer in all tries.
        """
        body = {"model": self.model, "messages": list(messages), "seed": seed, "stream": False, **self.parameters}
        data = json.dumps(body).encode()
        said: list[str] = []
        for attempt in range(self.retries + 1):
            try:
                return self._once(data)
            except _Passing as problem:
                said.append(str(problem))
                if attempt < self.retries:
                    time.sleep(min(LONGEST_WAIT, problem.wait or self.first_wait * 2**attempt))
        raise UserError(
            self.url, f"no answer in {self.retries + 1} tries (the last: {said[-1]})",
            "run the same command when the server is well again; what it has answered is kept",
        )  # fmt: skip

    def _once(self, data: bytes) -> str | Refusal:
        try:
            text = answer_in(self._post(data))
        except urllib.error.HTTPError as error:
            return self._status(error)
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _Passing(f"no answer within {self.timeout:g} s") from None
            self._unreachable(error.reason)
        except TimeoutError:
            raise _Passing(f"no answer within {self.timeout:g} s") from None
        except (http.client.HTTPException, ConnectionError) as error:
            raise _Passing(f"the connection broke ({type(error).__name__})") from None
        self._answered = True
        return text

    def _post(self, data: bytes) -> bytes:
        """Send a request and return the answer's body; the time limit is for the whole, not for each packet."""
        deadline = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "tuneloop"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", data, headers)
        body = bytearray()
        with self._opener.open(request, timeout=self.timeout) as response:
            while piece := response.read1(65536):
                body += piece
                if len(body) > LARGEST or time.monotonic() > deadline:
                    too_long = f"an answer of more than {LARGEST >> 20} MiB"
                    raise _Passing(too_long if len(body) > LARGEST else f"no whole answer within {self.timeout:g} s")
            if response.length:  # read1, unlike read, ends quietly where the connection does
                raise http.client.IncompleteRead(bytes(body), response.length)
        return bytes(body)

    def _status(self, error: urllib.error.HTTPError) -> Refusal:
        """Say what a status that is no success means."""
        said = complaint(_body(error))
        told = f"status {error.code}" + (f" ({said})" if said else "")
        if error.code in PASSING:
            raise _Passing(told, retry_after(error.headers))
        if error.code in (401, 403):
            write = "put a key that is allowed to use this model into the variable that generator.api_key_env names"
            raise UserError(self.url, f"the server refuses the key: {told}", write)
        if 300 <= error.code < 400:
            place = str(error.headers.get("Location", "another place")).removesuffix("/chat/completions")
            raise UserError(self.url, f"the server sends on to {place}: {told}", "write that URL if you trust it")
        if error.code in ONE_ROW:
            with self._lock:
                self._refused += 1
            if not self._answered and self._refused >= HOPELESS:
                raise UserError(self.url, f"the server refuses every request: {told}", "correct what it names")
            return Refusal(f"the server refuses the request ({error.code})")
        write = f"write a URL that ends like http://127.0.0.1:8000/v1, and a model it serves (not {self.model!r})"
        raise UserError(self.url, f"the server knows no such address or model: {told}", write)

    def _unreachable(self, reason: object) -> NoReturn:
        """Tell a server that is not there from one that has gone for a while."""
        if self._answered:
            raise _Passing(f"cannot be reached ({reason})")
        raise UserError(self.url, f"cannot be reached ({reason})", "start the server, or correct generator.url")


def answer_in(body: bytes) -> str:
    """Return the text in a chat completion.

    Raises:
        _Passing: it holds none.
    """
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        seen = " ".join(body[:80].decode("utf-8", "replace").split())
        raise _Passing(f"not a chat completion: {seen!r}") from None
    if content is None:  # a model that used up its tokens for thinking, or a content filter
        return ""
    if not isinstance(content, str):
        raise _Passing(f"an answer that is no text: {content!r:.80}")
    return content


def complaint(body: bytes) -> str:
    """Return what an error's body says, in one line."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return " ".join(value.split())[:200] if isinstance(value, str) else ""


def retry_after(headers: Headers) -> float:
    """Return the seconds that the server asks to wait; 0 where it does not say (or says a date)."""
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:
        return 0.0


def _body(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(65536)
    except (OSError, http.client.HTTPException):
        return b""


def url_mistake(url: str) -> tuple[str, str] | None:
    """Return what is wrong with an endpoint's URL, and what to write, or None."""
    example = "http://127.0.0.1:8000/v1"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises for a port that is no number)
    except ValueError as error:
        return f"{url!r} is no URL ({error})", f"a URL such as {example}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{url!r} is no URL of an http or https server", f"a URL such as {example}"
    if parts.username or parts.password:
        return "the URL holds a user or a password", "put the key in an environment variable: generator.api_key_env"
    if parts.query or parts.fragment:
        return f"{url!r} has a query or a fragment", f"a URL such as {example}"
    if parts.path.rstrip("/").endswith("/chat/completions"):
        return f"{url!r} is the address of one call", f"write {url.rstrip('/').removesuffix('/chat/completions')}"
    return None


def key_of(variable: str) -> str:
    """Return the key in an environment variable; no variable, no key."""
    return os.environ.get(variable, "").strip() if variable else ""
