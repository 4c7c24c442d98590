"""truth.json: what is true, what was planted where, and which documents are good.

`facts`: id, entity, attribute, value, split (`train`: asked in training; `held_out`: only documents tell it).

`planted`: one entry for each defect: `path` is relative to `raw/`; in JSON lines, `row` is the line number from 1
(corrupt lines count). `detail` depends on the defect: duplicates have `of`, the place (path, row) of the original, and
count as found when either of the two was dropped; `leaked_question` has `set`, `id`, `question`, `answer` and the
`text` as it stands in the document; `encoding` has `damaged` and `repaired`, or `encoding` for a whole file;
`personal_data` has `kind` and `text`; `boilerplate` has `lines`. `defects` says which of them should drop a document.

`good`: one entry for each document that should survive: its place, `title`, `facts` (ids) and `text`, the clean text
without title, boilerplate and sentences with personal data. Good text is lost when a sentence of `text` is in no kept
document; compare with white space collapsed, for the PDF breaks its lines.
"""

from __future__ import annotations

from typing import Any

from data_prep.garden.files import Item
from data_prep.garden.world import World


def table(world: World, items: list[Item]) -> dict[str, Any]:
    """Return the content of truth.json."""
    return {
        "facts": [fact.row() for fact in world.facts],
        "planted": [{**one.place(), **_resolved(defect)} for one in items for defect in one.defects],
        "good": [
            {**one.place(), "title": one.title, "facts": one.facts, "text": one.text()} for one in items if one.good
        ],
    }


def _resolved(defect: dict[str, Any]) -> dict[str, Any]:
    """Return a defect with the place of the original instead of the original itself."""
    detail = {key: value.place() if isinstance(value, Item) else value for key, value in defect["detail"].items()}
    return {"defect": defect["defect"], "detail": detail}
