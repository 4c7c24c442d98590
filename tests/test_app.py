"""The app over HTTP: a blind comparison and a vote end in the label store, and no checkpoint's name leaves the tab."""

from __future__ import annotations

import inspect
import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import app
from data_prep.feedback.replay import replay
from data_prep.feedback.store import Store
from data_prep.records import write_rows
from recipes.errors import UserError

REPOSITORY = Path(__file__).parents[1]
NAMES = ("whole-otter", "heron-adapter", "badger-adapter")
ATTACK = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>![far](http://far.example/pixel.png)"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def add_adapter(base: Path, folder: Path, seed: int) -> Path:
    """Write a random LoRA adapter on `base`."""
    import torch
    from peft import LoraConfig, get_peft_model

    from finetune import models

    torch.manual_seed(seed)
    loaded = models.load(str(base))
    wrapped = get_peft_model(
        loaded.model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    )
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    models.save(wrapped, loaded.tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def recipe(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> app.Recipe:
    """Three checkpoints on one base, in folders whose names tell nothing but to us."""
    folder = tmp_path_factory.mktemp("app")
    refs = [tiny_model_dir, *(add_adapter(tiny_model_dir, folder / f"model{seed}", seed) for seed in (1, 2))]
    prompts = [{"prompt": [{"role": "user", "content": f"When does plant {n} bloom? {ATTACK}"}]} for n in range(3)]
    write_rows(folder / "prompts.jsonl", prompts)
    return app.Recipe.model_validate(
        {
            "output_dir": str(folder / "out"),
            "checkpoints": [
                {"name": name, "model_name_or_path": str(ref)} for name, ref in zip(NAMES, refs, strict=True)
            ],
            "labels": str(folder / "labels.sqlite"),
            "prompts": str(folder / "prompts.jsonl"),
            "overlap": 2,
            "generation": {"max_new_tokens": 6},
            "server": {"server_port": free_port()},
        }
    )


@pytest.fixture(scope="module")
def behind(recipe: app.Recipe) -> app.Desk:
    """What stands behind the page."""
    return app.desk(recipe)


@pytest.fixture(scope="module")
def address(behind: app.Desk) -> Iterator[str]:
    """The running app."""
    blocks = app.launch(behind)
    yield blocks.local_url.rstrip("/")
    blocks.close(verbose=False)


def get(url: str) -> str:
    """Return what stands at `url`."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        return str(answer.read().decode("utf-8"))


def call(address: str, name: str, *values: Any) -> tuple[str, Any]:
    """Call an endpoint as a page does; return the whole stream of events and the data of the last."""
    body = json.dumps({"data": values}).encode("utf-8")
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{name}", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        event = json.load(answer)["event_id"]
    events = get(f"{address}/gradio_api/call/{name}/{event}")
    last = [line.removeprefix("data: ") for line in events.splitlines() if line.startswith("data: ")][-1]
    return events, json.loads(last)


def vote(address: str, choice: str, pair: str, person: str, key: str = "", **more: Any) -> tuple[str, Any]:
    """Vote as the page does."""
    values = {"strength": None, "note": "", "edited": "", "stay": False, **more}
    return call(address, f"vote_{choice}", pair, person, *values.values(), key)


def test_a_blind_pair_is_stored_before_it_is_shown_and_a_vote_lands_in_the_store(
    address: str, behind: app.Desk
) -> None:
    _, shown = call(address, "ask", "Ann", "When does the blue poppy bloom?", "")
    pair = shown[2]
    before = behind.store.showing(pair)
    # Gradio shows a tab as blanks (inspect.cleandoc); untrained weights write tabs.
    assert [app._plain(pane["value"][-1]["content"]).strip() for pane in shown[:2]] == [
        inspect.cleandoc(text or "").strip() or "…" for text in before.sides()
    ]
    assert before.person == "Ann"
    _, said = vote(address, "left", pair, "Ann", "key-1", strength=3, note=ATTACK, edited="In June.")
    assert "Stored" in said[5]
    judged = next(one for one in replay(behind.store).comparisons if one.id == before.comparison)
    (judgement,) = judged.judgements
    assert (judgement.outcome, judgement.strength, judgement.edited) == (str(before.order[0]), 3, "In June.")
    assert judgement.note == ATTACK
    assert {one.checkpoint for one in judged.candidates} < set(NAMES)
    assert all(one.content and one.settings["max_new_tokens"] == 6 for one in judged.candidates)


def test_a_repeated_request_stores_one_row_and_another_choice_under_its_key_none(
    address: str, behind: app.Desk
) -> None:
    _, shown = call(address, "suggest", "Bea")
    count = len(behind.store.rows()["votes"])
    for _ in range(3):
        vote(address, "tie", shown[2], "Bea", "key-2")
    events, _ = vote(address, "right", shown[2], "Bea", "key-2")
    assert "already judged (tie)" in events
    assert len(behind.store.rows()["votes"]) == count + 1


def test_a_suggested_pair_is_shown_to_a_second_person_and_not_to_a_third(address: str, behind: app.Desk) -> None:
    seen = {}
    for person in ("Cleo", "Dan", "Eli"):
        while behind.store.waiting(person, 2, "suggested"):  # left over from other tests
            _, shown = call(address, "suggest", person)
            vote(address, "both_bad", shown[2], person)
            seen[person] = behind.store.showing(shown[2]).comparison
        if person == "Cleo":
            _, shown = call(address, "suggest", person)
            vote(address, "left", shown[2], person)
            seen[person] = behind.store.showing(shown[2]).comparison
    assert seen["Dan"] == seen["Cleo"]
    assert "Eli" not in seen


def test_a_conversation_goes_on_with_the_better_answer(address: str, behind: app.Desk) -> None:
    _, first = call(address, "ask", "Ann", "Hello.", "")
    _, said = vote(address, "right", first[2], "Ann", stay=True, note=None, edited=None)  # as untouched boxes do
    _, second = call(address, "ask", "Ann", "And then?", said[1])
    better = behind.store.showing(first[2]).sides()[1]
    assert [turn["content"] for turn in behind.store.showing(second[2]).prompt] == ["Hello.", better, "And then?"]


@pytest.mark.parametrize(
    ("endpoint", "values", "what"),
    [
        ("ask", ["", "Hello.", ""], "Write your name first"),
        ("ask", ["Ann", "  ", ""], "Write a message"),
        ("ask", ["Ann", "Hello.", "no-such-pair"], "there is no such pair"),
        ("ask", [None, None, None], "Write your name first"),
        ("vote_left", [None, "Ann", None, None, None, None, None], "nothing to judge"),
        ("vote_left", ["", "Ann", None, "", "", False, ""], "nothing to judge"),
        ("vote_left", ["no-such-pair", "Ann", None, "", "", False, ""], "there is no such pair"),
    ],
)
def test_what_cannot_be_is_refused_in_words(address: str, endpoint: str, values: list[Any], what: str) -> None:
    events, _ = call(address, endpoint, *values)
    assert "event: error" in events
    assert what in events


def test_someone_elses_pair_cannot_be_judged(address: str) -> None:
    _, shown = call(address, "ask", "Ann", "Hello.", "")
    assert "shown to someone else" in vote(address, "left", shown[2], "Eve")[0]


def test_no_name_of_a_checkpoint_is_in_anything_that_compare_sends(
    address: str, behind: app.Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [get(address), get(f"{address}/config"), get(f"{address}/gradio_api/info")]
    events, shown = call(address, "ask", "Ann", "Hello.", "")
    sent += [events, vote(address, "left", shown[2], "Ann")[0], call(address, "suggest", "Ann")[0]]

    def broken(name: str, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"{name} has no weights in {behind.checkpoints.models[name].model_name_or_path}")

    monkeypatch.setattr(behind.checkpoints, "stream", broken)
    failed, _ = call(address, "ask", "Ann", "Hello.", "")
    assert "the terminal of the app says why" in failed
    secrets = [*NAMES, *(model.model_name_or_path for model in behind.checkpoints.models.values())]
    assert not [secret for secret in secrets for text in [*sent, failed] if secret in text]


def test_the_page_asks_nobody_else_and_forbids_it(address: str) -> None:
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
        page = answer.read().decode("utf-8")
    for elsewhere in ("fonts.googleapis", "fonts.gstatic", "cdn.", "google-analytics", "huggingface.co"):
        assert elsewhere not in page


def test_model_text_is_sanitised_wherever_it_is_shown(address: str) -> None:
    """That the page then runs no script of it was looked at in a browser; here: that nobody has switched it off."""
    shown = [part["props"] for part in json.loads(get(f"{address}/config"))["components"] if part["type"] == "chatbot"]
    assert len(shown) == 3
    assert all(props["sanitize_html"] and not props["allow_tags"] for props in shown)


def test_a_recipe_may_leave_out_what_shows_names(behind: app.Desk) -> None:
    alone = app.Desk(behind.recipe.model_copy(update={"tabs": ["compare"]}), *list(vars(behind).values())[1:])
    endpoints = app.page(alone).get_api_info()["named_endpoints"]
    assert set(endpoints) == {"/ask", "/suggest", *(f"/vote_{choice}" for choice in app.CHOICES)}


def test_one_checkpoint_talks_in_chat(behind: app.Desk) -> None:
    chat = app._chat(behind)
    *_, (talk, box) = chat(NAMES[1], "Hello.", [])
    assert [turn["role"] for turn in talk] == ["user", "assistant"]
    assert box == ""
    *_, (talk, _) = chat(NAMES[1], "And then?", [{**turn, "content": [{"text": turn["content"]}]} for turn in talk])
    assert len(talk) == 4
    with pytest.raises(Exception, match="Choose a checkpoint"):
        next(chat("no-such-model", "Hello.", []))


def test_the_answers_are_those_that_each_checkpoint_gives_alone(behind: app.Desk) -> None:
    """Adapters that share a base and take turns token by token do not mix."""
    from finetune import chat, generate, models

    messages = [{"role": "user", "content": "Hello."}]
    settings = behind.recipe.generation
    streams = [behind.checkpoints.stream(name, messages, settings, seed=7) for name in NAMES]
    together = ["" for _ in NAMES]
    for _ in range(settings.max_new_tokens):
        together = [next(stream, text) for stream, text in zip(streams, together, strict=True)]
    for name, text in zip(NAMES, together, strict=True):
        loaded = models.load(behind.checkpoints.models[name].model_name_or_path)
        ids = chat.prompt_ids(loaded.tokenizer, messages)
        *_, alone = generate.stream(loaded.model, loaded.tokenizer, ids, settings, seed=7)
        assert text == alone
    assert len(set(together)) > 1


def test_a_taken_port_is_named_with_a_free_one(recipe: app.Recipe, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = recipe.model_copy(update={"server": app.Server(server_port=port)})
        with pytest.raises(
            UserError, match=rf"server_port: {port}: .*Address already in use.*server_port=\d+"
        ) as error:
            app.run(busy)
        assert error.value.code == 1


def test_the_command_refuses_a_bad_recipe_in_lines_without_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text("stage: app\noutput_dir: out\nlabel: x\ncheckpoints: [{name: a, model_name_or_path: gone/}]\n")
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "app.py"), str(path)], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "labels" in done.stderr and "gone" in done.stderr


def test_one_checkpoint_cannot_be_compared_and_names_are_given_once(recipe: app.Recipe) -> None:
    alone = recipe.model_copy(update={"checkpoints": recipe.checkpoints[:1]})
    assert "cannot be compared" in alone.faults()[0].what
    twice = recipe.model_copy(update={"checkpoints": [recipe.checkpoints[0]] * 2})
    assert "second checkpoint" in twice.faults()[0].what


def test_a_store_of_a_later_version_is_left_alone(recipe: app.Recipe, tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "labels.sqlite"
    Store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, 'later')")
    connection.close()
    with pytest.raises(UserError, match="version 99"):
        app.desk(recipe.model_copy(update={"labels": str(path)}))
