"""A blind comparison from the draw to the stored answers: two checkpoints, one prompt, sides that nobody knows.

What is drawn is stored before anything is shown. Both answers grow in step, a token each, so that speed gives nobody
away; they are stored when both are finished, and only then can a vote be cast. No widgets here.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

from data_prep.feedback import pairing
from data_prep.feedback.store import Candidate, Showing, Store
from data_prep.records import Message, Prompt
from finetune.checkpoints import Checkpoints
from recipes.sections import Generation

SUGGESTED, WRITTEN = "suggested", "written"


class Arena:
    """Draws pairs, lets them answer, keeps everything in the label store."""

    def __init__(
        self,
        store: Store,
        checkpoints: Checkpoints,
        contents: Mapping[str, str],
        settings: Generation,
        *,
        prompts: Sequence[Prompt] = (),
        guideline: str = "",
        overlap: int = 1,
        rng: random.Random | None = None,
    ) -> None:
        """Take the checkpoints' content hashes by name, and how many people are to judge each suggested pair."""
        self.store = store
        self.checkpoints = checkpoints
        self.contents = contents
        self.settings = settings
        self.prompts = prompts
        self.guideline = guideline
        self.overlap = overlap
        self.rng = rng or random.SystemRandom()

    def suggested(self, person: str) -> Showing | None:
        """Return the next pair to judge: one that others have judged and that needs another judge, else a new one."""
        waiting = self.store.waiting(person, self.overlap, SUGGESTED) if self.overlap > 1 else None
        if waiting:
            return self._show(waiting, person)
        prompt = pairing.next_prompt(self.prompts, self.store.times_asked(), self.rng)
        return self.new(person, prompt.prompt, SUGGESTED) if prompt else None

    def new(self, person: str, prompt: Sequence[Message], source: str = WRITTEN) -> Showing:
        """Draw two checkpoints for a prompt and store them, with the order of the sides."""
        settings = self.settings.model_dump()
        drawn = [
            Candidate(name, self.contents[name], settings, self.rng.randrange(2**31))
            for name in pairing.draw(list(self.contents), self.rng)
        ]
        return self._show(self.store.compare(prompt, drawn, source=source), person)

    def _show(self, comparison: str, person: str) -> Showing:
        return self.store.show(comparison, person, guideline=self.guideline, rng=self.rng)

    def stream(self, shown: Showing) -> Iterator[list[str]]:
        """Yield the answers so far, left to right, a token more on each side each time; store them when finished."""
        if None not in shown.answers:
            yield [text or "" for text in shown.sides()]
            return
        streams = [
            self.checkpoints.stream(who.checkpoint, shown.prompt, self.settings, seed=who.seed)
            for who in self.store.candidates(shown.comparison)
        ]
        texts = [""] * len(streams)
        for step in zip_longest(*streams):
            texts = [text if new is None else new for text, new in zip(texts, step, strict=True)]
            yield [texts[number] for number in shown.order]
        self.store.answer(shown.comparison, texts)

    def continued(self, identity: str) -> list[Message]:
        """Return the conversation after a judged pair: with the better answer; after a tie with the left one."""
        shown = self.store.showing(identity)
        side = 1 if self.store.choice(identity) == "right" else 0
        return [*shown.prompt, {"role": "assistant", "content": shown.sides()[side] or ""}]
