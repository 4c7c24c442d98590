"""The app: talk to checkpoints, judge them blind side by side, see what the votes say. `python app.py RECIPE`

Widgets only; what to ask and who answers is finetune/arena.py's, labels are data_prep/feedback's. The page holds no
state that counts: a pair is known by a random id under which its sides were stored before it was shown, so a vote is
taken also after the app was restarted, and a repeated click stores nothing new.

Blindness: no checkpoint's name is in anything that the tab Compare sends. Chat and Results send names, once somebody
opens them; `tabs: [compare]` leaves them out altogether.

Left out: log-in, roles, undo, queues of prepared answers, a REST API of its own.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from recipes.errors import UserError
from recipes.sections import Fault, Generation, InputPath, Model, Section, StageRecipe, shipped

if TYPE_CHECKING:
    from data_prep.feedback.store import Showing, Store
    from finetune.arena import Arena
    from finetune.checkpoints import Checkpoints


CHOICES = {"left": "A is better", "right": "B is better", "tie": "Tie", "both_bad": "Both bad"}
STRENGTHS = [("Slightly", 1), ("Clearly", 2), ("Much", 3)]
SECONDS_BETWEEN_UPDATES = 0.05
WELCOME = "Two checkpoints answer the same message; you do not learn which. Say which answer is better."
# Model text is shown as sanitised Markdown, and nothing in it is ever fetched (see HEADERS).
PANE: dict[str, Any] = {
    "sanitize_html": True,
    "allow_tags": False,
    "buttons": [],
    "latex_delimiters": [],
    "feedback_options": None,
    "height": "38vh",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
    "form-action 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
HEAD = """
<style>@media (max-width: 640px) { .gradio-container .main { padding: 8px !important; } }</style>
<script>
addEventListener("keydown", event => {
  const at = event.target, box = at.tagName === "INPUT" && ["radio", "checkbox"].includes(at.type);
  const typing = !box && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = /^[1-4]$/.test(event.key) && document.getElementById("vote-" + event.key);
  if (button && !button.disabled) { event.preventDefault(); button.click(); }
});
</script>
"""
# The same key for every request that means the same vote: one for each pair on this page.
KEYED = """(...given) => {
  const keys = window.tuneloopKeys ??= {}, bytes = crypto.getRandomValues(new Uint8Array(16));
  given[6] = given[0] && (keys[given[0]] ??= Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join(""));
  return given;
}"""
# The focus leaves the text, so that 1 to 4 are votes again.
BLUR = "(...given) => { document.activeElement?.blur(); return given; }"
STYLE = """
#votes button { font-weight: 700; }
#status { min-height: 1.6em; }
.talk button[aria-label="Clear"], .talk .icon-button-wrapper { display: none !important; }
#results { overflow-x: auto; }
#results table { border: 0 !important; margin: 0 0 1.6em; font-variant-numeric: tabular-nums; }
#results th, #results td { border: 0 !important; padding: 6px 20px 6px 4px; text-align: right; white-space: nowrap; }
#results tr { border: 0 !important; border-bottom: 1px solid var(--border-color-primary) !important; }
#results th:first-child, #results td:first-child { text-align: left; }
footer { display: none !important; }
@media (max-width: 640px) {
  .tabitem > .column, #panes, #top { gap: 8px !important; }
  .asking { display: grid !important; grid-template-columns: 1fr 1fr; gap: 8px !important; }
  #panes { flex-direction: column; flex-wrap: nowrap; }
  #panes .talk { height: 26dvh !important; width: 100% !important; flex: none !important; }
  #judge { position: fixed; left: 0; right: 0; bottom: 0; z-index: 90; gap: 4px; padding: 6px 8px 10px;
    background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }
  #votes { display: grid; grid-template-columns: 1fr 1fr; gap: 6px; }
  #below { margin-bottom: 140px; }
}
"""
Tab = Literal["compare", "chat", "results"]


class Checkpoint(Model):
    """A model to compare, under the name that the results give it."""

    name: str = Field(min_length=1, max_length=60)


class Server(Section):
    """Where the app listens; the names are those of gradio's `launch`."""

    server_name: str = Field("127.0.0.1", description="127.0.0.1: this machine only; 0.0.0.0: whoever reaches it.")
    server_port: int = Field(7860, ge=1, le=65535)
    concurrency_limit: int = Field(8, ge=1, description="How many people are answered at the same time.")


class Recipe(StageRecipe):
    """What people are asked to judge."""

    stage: Literal["app"] = "app"
    checkpoints: list[Checkpoint] = Field(min_length=1)
    labels: str = Field(min_length=1, description="The label store: an SQLite file, or an SQLAlchemy URL.")
    prompts: InputPath | None = Field(None, description="JSONL file of prompts to suggest.")
    guidelines: str = Field("", description="What makes an answer better, in Markdown; shown beside the task.")
    overlap: int = Field(1, ge=1, description="How many people judge each suggested pair; 2 or more show agreement.")
    tabs: list[Tab] = Field(["compare", "chat", "results"], min_length=1)
    bases_in_memory: int = Field(2, ge=1, description="Adapters on one base share its weights.")
    generation: Generation = Field(default_factory=Generation)
    server: Server = Field(default_factory=Server)

    def faults(self) -> list[Fault]:
        """Refuse names that are given twice, nothing to compare, and prompts that are none."""
        names = [checkpoint.name for checkpoint in self.checkpoints]
        found = [
            Fault(("checkpoints", index, "name"), f"a second checkpoint named {name}", "give each its own name")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if "compare" in self.tabs and len(names) < 2:
            found.append(Fault(("checkpoints",), "one checkpoint cannot be compared", "name two, or tabs: [chat]"))
        if self.prompts and shipped(self.prompts).is_file():
            _prompts(self.prompts, limit=1)
        return found


@dataclass
class Desk:
    """Everything behind the page."""

    recipe: Recipe
    store: Store
    checkpoints: Checkpoints
    arena: Arena


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the app that a recipe describes; return the exit code."""
    from recipes import finding, load, surroundings
    from recipes.run import guarded

    command = argparse.ArgumentParser("python app.py", description="Talk to checkpoints side by side and vote.")
    command.add_argument("recipe", metavar="RECIPE", help="path of a YAML file with `stage: app`")
    command.add_argument("overrides", nargs="*", metavar="key.sub=value", help="put over the recipe")
    parsed = command.parse_args(arguments)

    def start() -> int:
        recipe = load.load(parsed.recipe, parsed.overrides)
        stage = finding.find(recipe.stage)
        if stage is None or recipe.stage != "app":
            raise UserError(parsed.recipe, f"stage {recipe.stage} is not the app", f"tuneloop run {parsed.recipe}")
        surroundings.prepare([recipe])
        stage.module.run(recipe)
        return 0

    return guarded(start)


def run(recipe: Recipe) -> None:
    """Serve until interrupted.

    Raises:
        UserError: the port is taken, or the label store cannot be used.
    """
    _check_port(recipe.server)
    behind = desk(recipe)
    print(f"loading {', '.join(behind.checkpoints.models)} ...", flush=True)
    behind.checkpoints.prepare()
    blocks = launch(behind)
    print(f"open {blocks.local_url} (Ctrl-C stops it); votes go to {recipe.labels}", flush=True)
    try:
        threading.Event().wait()  # the server has threads of its own
    except KeyboardInterrupt:
        print("stopped; every vote is kept")
    finally:
        blocks.close(verbose=False)


def desk(recipe: Recipe) -> Desk:
    """Open the label store and make ready what the page needs; no weights are loaded yet."""
    from data_prep.feedback.store import Store
    from finetune.arena import Arena
    from finetune.checkpoints import Checkpoints
    from recipes import artifact, hashing, provenance

    store = Store(recipe.labels)
    models = {one.name: Model(**one.model_dump(exclude={"name"})) for one in recipe.checkpoints}
    checkpoints = Checkpoints(models, most_bases=recipe.bases_in_memory)
    refs = {name: model.model_name_or_path for name, model in models.items()}
    contents = {
        name: artifact.content_hash(ref) if provenance.local(ref) else f"hub:{ref}" for name, ref in refs.items()
    }
    arena = Arena(
        store,
        checkpoints,
        contents,
        recipe.generation,
        prompts=_prompts(recipe.prompts) if recipe.prompts else [],
        guideline=hashing.text_hash(recipe.guidelines) if recipe.guidelines else "",
        overlap=recipe.overlap,
    )
    return Desk(recipe, store, checkpoints, arena)


def _prompts(path: str, limit: int | None = None) -> list[Any]:
    from itertools import islice

    from data_prep.records import Prompt, read

    return list(islice(read(shipped(path), Prompt), limit))


def _check_port(server: Server) -> None:
    """Refuse a taken port in one line that names a free one."""
    reason = _why_taken(server.server_name, server.server_port)
    if not reason:
        return
    later = range(server.server_port + 1, min(server.server_port + 100, 65536))
    free = next((port for port in later if not _why_taken(server.server_name, port)), None)
    error = UserError(
        f"server.server_port: {server.server_port}",
        f"cannot listen on {server.server_name} ({reason})",
        f"write server.server_port={free}" if free else "write another server_name or server_port",
    )
    error.code = 1
    raise error


def _why_taken(host: str, port: int) -> str | None:
    """Return why nobody can listen there, or None."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def launch(behind: Desk) -> Any:
    """Start serving the page in the background; return gradio's Blocks."""
    # Read when gradio is imported: no call to its makers' servers.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("GRADIO_TEMP_DIR", str(Path(behind.recipe.output_dir).absolute() / "temporary"))
    import gradio as gr

    server = behind.recipe.server
    # gradio's own semi-bold font has hardly any letters (6.31): only the two weights that are whole.
    fonts = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    blocks = page(behind)
    blocks.queue(default_concurrency_limit=server.concurrency_limit)
    blocks.launch(
        server_name=server.server_name,
        server_port=server.server_port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        show_error=False,  # what an exception says may name a checkpoint
        run_history=False,  # else prompts and answers are kept in the browser
        footer_links=[],
        app_kwargs={"middleware": [(WithHeaders, (), {})]},
        theme=gr.themes.Default(font=fonts, primary_hue="teal", neutral_hue="slate"),
        css=STYLE,
        head=HEAD,
    )
    return blocks


class WithHeaders:
    """Puts HEADERS on every answer of the server (an ASGI application around another)."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def page(behind: Desk) -> Any:
    """Return the page: one tab for each that the recipe names."""
    import gradio as gr

    build = {"compare": _compare_tab, "chat": _chat_tab, "results": _results_tab}
    with gr.Blocks(title="Tuneloop", analytics_enabled=False) as blocks, gr.Tabs():
        for name in dict.fromkeys(behind.recipe.tabs):
            with gr.Tab(name.capitalize(), id=name) as tab:
                build[name](behind, tab)
    return blocks


def _compare_tab(behind: Desk, _tab: Any) -> None:
    """Two answers side by side, four ways to judge them."""
    import gradio as gr

    with gr.Row(elem_id="top"):
        person = gr.Textbox(label="Your name", placeholder="Every judgement is signed", max_length=60, scale=1)
        prompt = gr.Textbox(label="Message", placeholder="Write your own, or take a suggestion", lines=1, scale=3)
        with gr.Column(scale=1, min_width=160, elem_classes="asking"):
            ask = gr.Button("Ask both", variant="primary", elem_id="ask")
            suggest = gr.Button("Suggest one", visible=bool(behind.arena.prompts), elem_id="suggest")
    with gr.Row(elem_id="panes"):
        panes = [gr.Chatbot(label=side, elem_classes="talk", autoscroll=False, **PANE) for side in "AB"]
    with gr.Column(elem_id="judge"):
        status = gr.Markdown(WELCOME, elem_id="status")
        with gr.Row(elem_id="votes"):
            buttons = [
                gr.Button(f"{number} · {label}", interactive=False, elem_id=f"vote-{number}", min_width=60)
                for number, label in enumerate(CHOICES.values(), 1)
            ]
    with gr.Column(elem_id="below"):
        with gr.Row():
            strength = gr.Radio(STRENGTHS, label="How much better? (may be left out)", scale=2)
            stay = gr.Checkbox(label="Stay in this conversation after the vote", scale=1)
        with gr.Accordion("Say why, or write a better answer", open=False):
            note = gr.Textbox(label="Note", lines=1, max_length=4000)
            edited = gr.Textbox(label="A better answer", lines=3, max_length=8000)
            with gr.Row():
                starts = [gr.Button(f"Start from {side}", size="sm") for side in "AB"]
        if behind.recipe.guidelines:
            with gr.Accordion("What makes an answer better", open=False):
                gr.Markdown(behind.recipe.guidelines)
    pair, thread = gr.Textbox(visible="hidden"), gr.Textbox(visible="hidden")
    shown = [*panes, pair, status, *buttons]
    limit = behind.recipe.server.concurrency_limit

    gr.on(
        [ask.click, prompt.submit],
        _ask(behind),
        [person, prompt, thread],
        [*shown, prompt],
        js=BLUR,
        concurrency_limit=limit,
        api_name="ask",
        show_progress="hidden",
    )
    suggest.click(
        _suggest(behind),
        [person],
        [*shown, thread],
        concurrency_limit=limit,
        api_name="suggest",
        show_progress="hidden",
    )
    for side, start in enumerate(starts):
        start.click(_start_from(behind, side), [pair], [edited], api_visibility="private", queue=False)
    given = [pair, person, strength, note, edited, stay, gr.Textbox(visible="hidden")]
    left = [pair, thread, strength, note, edited, status, *buttons]
    for choice, button in zip(CHOICES, buttons, strict=True):
        button.click(
            _vote(behind, choice), given, left, js=KEYED, concurrency_limit=None, api_name=f"vote_{choice}",
            show_progress="hidden",
        ).success(
            _next(behind), [person, thread], [*shown, thread], concurrency_limit=limit, api_visibility="private",
            show_progress="hidden",
        )  # fmt: skip


def _signed(person: str | None) -> str:
    import gradio as gr

    name = " ".join((person or "").split())[:60]
    if not name:
        raise gr.Error("Write your name first: every judgement is signed.", print_exception=False)
    return name


def _ask(behind: Desk) -> Callable[..., Iterator[Any]]:
    """Return what happens when somebody sends a message to both."""
    import gradio as gr

    def ask(person: str | None, prompt: str | None, thread: str | None) -> Iterator[Any]:
        name = _signed(person)
        if not (prompt and prompt.strip()):
            raise gr.Error("Write a message, or take a suggestion.", print_exception=False)
        before = _told(behind.arena.continued, thread) if thread else []
        shown = behind.arena.new(name, [*before, {"role": "user", "content": prompt.strip()}])
        for update in _answers(behind, shown):
            yield *update, ""

    return ask


def _suggest(behind: Desk) -> Callable[..., Iterator[Any]]:
    """Return what happens when somebody asks for a suggestion: the conversation so far ends."""
    import gradio as gr

    def suggest(person: str | None) -> Iterator[Any]:
        shown = behind.arena.suggested(_signed(person))
        if shown is None:
            raise gr.Error("There are no prompts to suggest; write a message.", print_exception=False)
        for update in _answers(behind, shown):
            yield *update, ""

    return suggest


def _next(behind: Desk) -> Callable[..., Iterator[Any]]:
    """Return what happens after a vote: the next pair, or a wait for the next message of the conversation."""
    import gradio as gr

    def following(person: str, thread: str | None) -> Iterator[Any]:
        shown = None if thread else behind.arena.suggested(_signed(person))
        if shown:
            for update in _answers(behind, shown, _thanks(behind, person)):
                yield *update, ""
            return
        history = behind.arena.continued(thread) if thread else []
        said = "Go on: write the next message." if thread else "Write the next message."
        yield history, history, "", f"{_thanks(behind, person)} {said}", *([gr.skip()] * 4), thread

    return following


def _answers(behind: Desk, shown: Showing, before: str = "") -> Iterator[list[Any]]:
    """Yield updates of both panes, the pair's id, the status line and the vote buttons while the answers grow."""
    import gradio as gr

    busy = f"{before} Both are answering …".strip()
    waiting = [gr.update(interactive=False)] * 4
    yield [shown.prompt, shown.prompt, "", busy, *waiting]
    last, sides = time.monotonic(), [""]
    try:
        for sides in behind.arena.stream(shown):
            if time.monotonic() - last > SECONDS_BETWEEN_UPDATES:
                last = time.monotonic()
                yield [*_panes(shown, sides), "", busy, *waiting]
    except Exception as error:  # whatever it says may name a checkpoint: it goes to the terminal only
        print(f"no answers for {shown.comparison}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        raise gr.Error("No answers this time; the terminal of the app says why.", print_exception=False) from None
    said = f"{before} Which answer is better? Press 1, 2, 3 or 4.".strip()
    yield [*_panes(shown, sides), shown.id, said, *([gr.update(interactive=True)] * 4)]


def _panes(shown: Showing, sides: Sequence[str]) -> list[Any]:
    """Return updates of both panes: a first answer is read from its start, a later one stands below what was said."""
    import gradio as gr

    said = [[*shown.prompt, {"role": "assistant", "content": text or "…"}] for text in sides]
    return [gr.update(value=messages, autoscroll=len(shown.prompt) > 1) for messages in said]


def _vote(behind: Desk, choice: str) -> Callable[..., list[Any]]:
    """Return what happens when a vote button is pressed; the vote is on disk before anything is said."""
    import gradio as gr

    from data_prep.feedback.store import Vote

    # A box that nobody has touched holds None.
    def vote(
        pair: str | None,
        person: str | None,
        strength: int | None,
        note: str | None,
        edited: str | None,
        stay: bool,
        key: str | None,
    ) -> list[Any]:
        name = _signed(person)
        if not pair:
            raise gr.Error("There is nothing to judge yet.", print_exception=False)
        _told(behind.store.vote, Vote(pair, name, choice, key or pair, strength, note or "", edited or ""))
        thread = pair if stay and choice != "both_bad" else ""
        off = [gr.update(interactive=False)] * 4
        return [pair, thread, None, "", "", _thanks(behind, name), *off]

    return vote


def _told(act: Callable[[Any], Any], value: Any) -> Any:
    """Do something; tell the person why the store refused it."""
    import gradio as gr

    from data_prep.feedback.store import Refused

    try:
        return act(value)
    except Refused as refused:
        raise gr.Error(f"Not stored: {refused}.", print_exception=False) from None


def _thanks(behind: Desk, person: str) -> str:
    count = behind.store.judged(" ".join(person.split())[:60])
    return f"Stored. You have judged {count} {'pair' if count == 1 else 'pairs'}."


def _start_from(behind: Desk, side: int) -> Callable[[str | None], str]:
    """Return a function that copies one answer for editing."""

    def start_from(pair: str | None) -> str:
        return behind.store.showing(pair).sides()[side] or "" if pair else ""

    return start_from


def _chat_tab(behind: Desk, tab: Any) -> None:
    """One checkpoint, by name, with the conversation so far."""
    import gradio as gr

    with gr.Row():
        name = gr.Dropdown([], label="Checkpoint", scale=1)
        message = gr.Textbox(label="Message", lines=1, scale=3)
        with gr.Column(scale=1, min_width=160, elem_classes="asking"):
            send = gr.Button("Send", variant="primary")
            clear = gr.Button("New conversation")
    talk = gr.Chatbot(show_label=False, elem_classes="talk", **{**PANE, "height": "60vh"})
    # Names reach the browser only once somebody opens the tab.
    names = list(behind.checkpoints.models)
    tab.select(lambda: gr.Dropdown(names, value=names[0]), None, name, api_visibility="private")
    gr.on(
        [send.click, message.submit],
        _chat(behind),
        [name, message, talk],
        [talk, message],
        concurrency_limit=behind.recipe.server.concurrency_limit,
        api_name="chat",
        show_progress="hidden",
    )
    clear.click(list, None, talk, api_visibility="private", queue=False)


def _chat(behind: Desk) -> Callable[..., Iterator[Any]]:
    """Return what happens when somebody sends a message to one checkpoint."""
    import gradio as gr

    def chat(name: str | None, message: str | None, history: list[dict[str, Any]]) -> Iterator[Any]:
        if name not in behind.checkpoints.models or not (message and message.strip()):
            raise gr.Error("Choose a checkpoint and write a message.", print_exception=False)
        before = [{"role": turn["role"], "content": _plain(turn["content"])} for turn in history]
        asked = [*before, {"role": "user", "content": message.strip()}]
        last = 0.0
        text = "…"
        seed = secrets.randbelow(2**31)
        for text in behind.checkpoints.stream(name, asked, behind.recipe.generation, seed=seed):
            if time.monotonic() - last > SECONDS_BETWEEN_UPDATES:
                last = time.monotonic()
                yield [*asked, {"role": "assistant", "content": text}], ""
        yield [*asked, {"role": "assistant", "content": text}], ""

    return chat


def _plain(content: Any) -> str:
    """Return the text of a message as gradio hands it back (a list of parts)."""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _results_tab(behind: Desk, tab: Any) -> None:
    """What the votes say so far; read when the tab is opened."""
    import gradio as gr

    from data_prep.feedback.replay import replay
    from eval import votes

    refresh = gr.Button("Read again", size="sm", scale=0)
    table = gr.HTML("", elem_id="results")
    for event in (tab.select, refresh.click):
        event(lambda: votes.html(replay(behind.store)), None, table, api_visibility="private")


if __name__ == "__main__":
    sys.exit(main())
