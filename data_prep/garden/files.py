"""From documents to the files of a company: HTML with navigation, Markdown, text, JSON lines, PDF.

An item is one document with its place. Items of one `.jsonl` path become its lines in order; the line number (from 1)
is the item's `row`. Every HTML page has the same navigation, cookie notice and footer; some pages mark their content
with `<main>`, others only with a class, as pages of different ages do.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from data_prep.garden import pdf
from data_prep.garden.pages import Page

ENDINGS = {"website": ".html", "tours": ".md", "guides": ".md", "diaries": ".txt", "tales": ".txt", "handbook": ".pdf"}
NAVIGATION = ("Home", "Plants", "Calendar", "Your visit", "Questions", "Shop", "Contact")
COOKIES = "This website uses cookies. By using this website you accept our cookies."
FOOTER = ("Larkmoor Garden, all rights reserved.", "Privacy", "Imprint", "Follow us", "Back to top")
BOILERPLATE = (COOKIES, *FOOTER)
PDF_FOOTER = "Larkmoor Garden - for use inside the garden only - page {page}"


@dataclass
class Item:
    """One document in one place; `defects` are rows for the truth table, without their place."""

    path: str
    title: str
    paragraphs: list[str]
    facts: list[str] = field(default_factory=list)
    defects: list[dict[str, Any]] = field(default_factory=list)
    good: bool = True
    row: int = 0
    clean: list[str] | None = None
    raw: bytes | None = None
    encoding: str = "utf-8"

    def plant(self, defect: str, **detail: Any) -> None:
        """Note a defect."""
        self.defects.append({"defect": defect, "detail": detail})

    def place(self) -> dict[str, Any]:
        """Return path and, in JSON lines, row."""
        return {"path": self.path, "row": self.row} if self.row else {"path": self.path}

    def text(self) -> str:
        """Return the text that a careful reader would keep."""
        return "\n\n".join(self.paragraphs if self.clean is None else self.clean)


def item(page: Page) -> Item:
    """Return a good page as an item with its full path."""
    ending = ENDINGS.get(page.path.partition("/")[0], ".jsonl")
    paragraphs = [" ".join(sentence.text for sentence in paragraph) for paragraph in page.paragraphs]
    return Item(page.path + ending, page.title, paragraphs, page.facts)


def number(items: Iterable[Item]) -> None:
    """Give the items of JSON lines their row."""
    last: dict[str, int] = {}
    for one in items:
        if one.path.endswith(".jsonl"):
            one.row = last[one.path] = last.get(one.path, 0) + 1


def render(items: Iterable[Item]) -> dict[str, bytes]:
    """Return the bytes of each file."""
    files: dict[str, bytes] = {}
    for one in items:
        data = one.raw if one.raw is not None else _bytes(one)
        files[one.path] = files.get(one.path, b"") + data
    return files


def _bytes(one: Item) -> bytes:
    ending = one.path.rpartition(".")[2]
    if ending == "pdf":
        return pdf.document(one.title, one.paragraphs, PDF_FOOTER)
    if ending == "jsonl":
        row = {
            "id": f"{one.path.rpartition('/')[2][:-6]}-{one.row:03}",
            "text": "\n\n".join(one.paragraphs),
            "title": one.title,
        }
        return (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n").encode()
    text = {"html": _html, "md": _markdown, "txt": _plain}[ending](one)
    return text.encode(one.encoding)


def _plain(one: Item) -> str:
    return "\n\n".join([one.title, *one.paragraphs]) + "\n"


def _markdown(one: Item) -> str:
    return "\n\n".join([f"# {one.title}", *one.paragraphs]) + "\n"


def _html(one: Item) -> str:
    """Return a page; its length decides between the newer and the older layout."""
    body = "\n".join(f"<p>{html.escape(paragraph, quote=False)}</p>" for paragraph in one.paragraphs)
    title = html.escape(one.title, quote=False)
    links = "\n".join(f'<li><a href="/{name.lower().replace(" ", "-")}.html">{name}</a></li>' for name in NAVIGATION)
    footer = "\n".join(f"<p>{line}</p>" if line.endswith(".") else f'<a href="#">{line}</a>' for line in FOOTER)
    newer = len(body) % 4 != 0
    content = (
        f"<main>\n<article>\n<h1>{title}</h1>\n{body}\n</article>\n</main>"
        if newer
        else f'<div class="content" id="content">\n<h1>{title}</h1>\n{body}\n</div>'
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="{one.encoding}">\n'
        f"<title>{title} - Larkmoor Garden</title>\n<style>nav li {{ display: inline }}</style>\n"
        f"<script>window.visits = (window.visits || 0) + 1;</script>\n</head>\n<body>\n"
        f'<div class="cookie-banner" role="dialog">{COOKIES} <button>Accept all</button></div>\n'
        f"<header><nav><ul>\n{links}\n</ul></nav></header>\n{content}\n<footer>\n{footer}\n</footer>\n</body>\n</html>\n"
    )
