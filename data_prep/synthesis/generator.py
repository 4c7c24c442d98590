"""Who writes what rules cannot: a local model or a server, behind one function that never does the same work twice.

`Generator` is the section of a recipe. `Writer.answers` takes requests (each a list of messages) and yields their
answers in the same order. Every answer goes to a file in the stage's scratch folder as soon as it is there, so a
killed run asks for nothing again. A request's seed comes from the recipe's seed and the request alone, not from
when it is asked.

This floor knows no torch. For `kind: model` the recipe names a function, `module:name` (by default the toolkit's own
sampler, one floor up), that is looked up when the stage runs. It takes the settings as a dictionary and returns a
function from a list of conversations and a seed to their answers (None where a conversation is too long for the
model). Another runtime is plugged in the same way.

A local model gets requests in groups of `batch_size`, always the same ones: with the same weights on the same machine
the answers are then the same, however often the run was cut.
"""

from __future__ import annotations

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from pydantic import Field

from data_prep import hooks
from recipes.errors import UserError
from recipes.sections import Fault, Generation, ModelRef, Section

if TYPE_CHECKING:
    from data_prep.records import Message
    from data_prep.synthesis.endpoint import Endpoint

Hook = Callable[[list[list["Message"]], int], list[str | None]]
OF_KIND = {
    "rules": frozenset[str](),
    "endpoint": frozenset(
        {"url", "model", "api_key_env", "timeout_seconds", "max_retries", "first_wait_seconds", "max_concurrency"}
    ),
    "model": frozenset({"model_name_or_path", "dtype", "attn_implementation", "function", "batch_size"}),
}
NEEDED = {"rules": (), "endpoint": ("url", "model"), "model": ("model_name_or_path",)}
TOO_LONG = "the passage is too long for the model"
# Keys that say how to get answers, not which: they are left out of a result's fingerprint.
COSMETIC = frozenset(
    f"generator.{name}"
    for name in ("url", "api_key_env", "timeout_seconds", "max_retries", "first_wait_seconds", "max_concurrency")
)


class Generator(Section):
    """Who writes: `rules` (nobody), `model` (any local checkpoint) or `endpoint` (an OpenAI-compatible server)."""

    kind: Literal["rules", "model", "endpoint"] = "rules"
    model_name_or_path: ModelRef | None = Field(None, description="kind: model. A folder, a result or a hub id.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: str = "sdpa"
    function: str = Field("finetune.answering:load", description="kind: model. The runtime, as module:name.")
    batch_size: int = Field(16, ge=1)
    url: str = Field("", description="kind: endpoint. Up to /v1, such as http://127.0.0.1:8000/v1.")
    model: str = Field("", description="kind: endpoint. The model's name on the server.")
    api_key_env: str = Field("", description="kind: endpoint. The environment variable that holds the key.")
    timeout_seconds: float = Field(120.0, gt=0)
    max_retries: int = Field(5, ge=0, le=20)
    first_wait_seconds: float = Field(1.0, ge=0, le=60, description="Before the second try; doubles each time.")
    max_concurrency: int = Field(8, ge=1, le=256)
    generation: Generation = Generation(max_new_tokens=256)

    def name(self) -> str:
        """Return the model's name for the provenance of a row."""
        return {"rules": "rules", "model": str(self.model_name_or_path), "endpoint": self.model}[self.kind]

    def faults(self) -> list[Fault]:
        """Return what is wrong with this section, its keys from the recipe's top."""
        found = [*self._misplaced(), *self._missing()]
        if self.kind == "endpoint":
            found += self._endpoint_faults()
        if self.kind == "model":
            found += self._function_faults()
        return found

    def _misplaced(self) -> Iterator[Fault]:
        for kind, names in OF_KIND.items():
            for name in sorted(names & self.model_fields_set) if kind != self.kind else ():
                what = f"`{name}` means nothing for kind: {self.kind}"
                yield Fault(("generator", name), what, f"remove it, or write kind: {kind}")
        if self.kind == "rules" and "generation" in self.model_fields_set:
            yield Fault(("generator", "generation"), "rules generate nothing", "remove it, or write kind: model")

    def _missing(self) -> Iterator[Fault]:
        for name in NEEDED[self.kind]:
            if not getattr(self, name):
                yield Fault(("generator",), f"kind: {self.kind} needs `{name}`", f"add `{name}: ...`")

    def _function_faults(self) -> Iterator[Fault]:
        try:
            hooks.known(self.function)
        except ValueError as error:
            yield Fault(("generator", "function"), f"{self.function}: {error}", "finetune.answering:load, or your own")

    def _endpoint_faults(self) -> Iterator[Fault]:
        from data_prep.synthesis.endpoint import key_of, url_mistake

        if self.url and (mistake := url_mistake(self.url)):
            yield Fault(("generator", "url"), *mistake)
        if self.api_key_env and not key_of(self.api_key_env):
            state = "empty" if self.api_key_env in os.environ else "not set"
            write = f"export {self.api_key_env}=..., or leave the key out for a server that wants none"
            yield Fault(("generator", "api_key_env"), f"the environment variable {self.api_key_env} is {state}", write)


class Answer(NamedTuple):
    """A text, or (with an empty text) the reason why there is none."""

    text: str
    reason: str = ""


class Cache:
    """The answers so far, one line each in a file; what a kill left half written at its end is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._read()
        self._stream = path.open("ab")

    def _read(self) -> None:
        whole = self.path.read_bytes()
        good = 0
        for line in whole.splitlines(keepends=True):
            try:
                key, text, reason = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            self.answers[key] = Answer(text, reason)
            good += len(line)
        if good < len(whole):
            os.truncate(self.path, good)

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        line = json.dumps([key, answer.text, answer.reason]).encode() + b"\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()
            self.answers[key] = answer

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class Writer:
    """A generator at work; a context, so that its threads and its file end with the stage."""

    def __init__(self, settings: Generator, scratch: Path, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.asked = 0
        self.kept = 0  # answers that an earlier start had got already
        self._lock = threading.Lock()
        self._cache = Cache(scratch / "answers.jsonl")
        self._hook: Hook | None = None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._cache.close()

    def answers(self, requests: Iterable[list[Message]]) -> Iterator[Answer]:
        """Yield the answer to each request, in order."""
        if self.settings.kind == "endpoint":
            yield from self._from_endpoint(requests)
        else:
            yield from self._from_model(requests)

    def _from_endpoint(self, requests: Iterable[list[Message]]) -> Iterator[Answer]:
        """Keep a fixed number of requests under way, and a few more in hand, whatever their total."""
        server = self._endpoint()
        waiting: deque[Future[Answer]] = deque()
        pool = ThreadPoolExecutor(self.settings.max_concurrency)
        try:
            for request in requests:
                waiting.append(pool.submit(self._ask, server, request))
                if len(waiting) >= 4 * self.settings.max_concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _endpoint(self) -> Endpoint:
        from data_prep.synthesis.endpoint import Endpoint, key_of

        made = self.settings
        generation = made.generation
        parameters: dict[str, Any] = {"max_tokens": generation.max_new_tokens, "top_p": generation.top_p}
        parameters["temperature"] = generation.temperature if generation.do_sample else 0.0
        if generation.top_k:
            parameters["top_k"] = generation.top_k
        return Endpoint(
            made.url, made.model, key_of(made.api_key_env), timeout=made.timeout_seconds, retries=made.max_retries,
            first_wait=made.first_wait_seconds, parameters=parameters,
        )  # fmt: skip

    def _ask(self, server: Endpoint, request: list[Message]) -> Answer:
        key = key_for(self.seed, request)
        if known := self._known(key):
            return known
        said = server.complete(request, seed=int(key[:7], 16))
        answer = Answer(said) if isinstance(said, str) else Answer("", said.reason)
        self._cache.put(key, answer)
        return answer

    def _from_model(self, requests: Iterable[list[Message]]) -> Iterator[Answer]:
        left = iter(requests)
        while group := list(islice(left, self.settings.batch_size)):
            whole = key_for(self.seed, group)
            keys = [f"{whole}:{place}" for place in range(len(group))]
            answers = [answer for key in keys if (answer := self._known(key)) is not None]
            if len(answers) < len(group):
                answers = self._say(group, whole)
                for key, answer in zip(keys, answers, strict=True):
                    self._cache.put(key, answer)
            yield from answers

    def _say(self, group: list[list[Message]], key: str) -> list[Answer]:
        if self._hook is None:
            make = hooks.load(self.settings.function, "generator.function")
            self._hook = cast(Hook, make(self.settings.model_dump(mode="json")))
        said = self._hook(group, int(key[:7], 16))
        if len(said) != len(group):
            what = f"it gave {len(said)} answers to {len(group)} requests"
            raise UserError(f"generator.function {self.settings.function}", what, "one answer for each, in order")
        return [Answer("", TOO_LONG) if text is None else Answer(text) for text in said]

    def _known(self, key: str) -> Answer | None:
        known = self._cache.answers.get(key)
        with self._lock:
            self.asked += 1
            self.kept += known is not None
        return known


def key_for(seed: int, request: Sequence[Any]) -> str:
    """Return a name for a request, or a group of them, that does not change between runs."""
    whole = json.dumps([seed, request], sort_keys=True)
    return blake2b(whole.encode("utf-8", "replace"), digest_size=12).hexdigest()
