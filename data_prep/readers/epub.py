"""EPUB 2 and 3 (https://www.w3.org/TR/epub-33): one document a book, its chapters in reading order.

A chapter is the whole text of its page (38 MB a CPU second). The title is the package's; `meta` has its language, its
authors and the number of chapters; `license` is what `dc:rights` says.

Left out: pages outside the reading order (`linear="no"`) and tables of contents; encrypted books (refused); pictures.
"""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.files import archive
from data_prep.files.decoding import Unreadable
from data_prep.readers import html
from data_prep.records import Document

SUFFIXES = (".epub",)
CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"


@dataclass
class _Package:
    """What a book's package file says."""

    told: dict[str, list[str]] = field(default_factory=dict)  # title, language, creator, rights
    pages: dict[str, str] = field(default_factory=dict)  # address by item id
    order: list[str] = field(default_factory=list)


def recognises(head: bytes) -> bool:
    """Tell a zip file."""
    return head.startswith(b"PK\x03\x04")


def belongs(path: Path) -> bool:
    """Tell a zip file that holds a book."""
    return archive.holds(path, CONTAINER)


def read(path: Path) -> Iterator[Document]:
    """Yield the book as one document."""
    with archive.opened(path) as file:
        if CONTAINER not in file.names:
            raise Unreadable("a zip file without a book in it")
        place = _package_place(file)
        package = _package(file, place)
        secret = _encrypted(file)
        chapters = []
        for item in package.order:
            name = _resolved(place, package.pages.get(item, ""))
            if name in secret:
                raise Unreadable("encrypted")
            if name in file.names:
                chapters.append(html.whole_text(file.read(name)).strip())
    chapters = [chapter for chapter in chapters if chapter]
    if not chapters:
        raise Unreadable("a book without text")
    told = {key: "; ".join(" ".join(value.split()) for value in values) for key, values in package.told.items()}
    meta = {"chapters": len(chapters)} | {key: told[key] for key in ("creator", "language") if told.get(key)}
    title, rights = told.get("title", ""), told.get("rights", "")
    yield Document("", "\n\n".join(chapters), "", title=title, license=rights, meta=meta)


def _package_place(file: archive.Archive) -> str:
    found: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "rootfile" and attributes.get("full-path"):
            found.append(attributes["full-path"])

    file.parse(CONTAINER, start, lambda tag: None, lambda text: None)
    if not found:
        raise Unreadable(f"{CONTAINER} names no package")
    return found[0]


def _package(file: archive.Archive, place: str) -> _Package:
    package = _Package()
    inside = ""

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        inside = tag if tag in ("title", "language", "creator", "rights") else ""
        if inside:
            package.told.setdefault(inside, []).append("")
        elif tag == "item" and "nav" not in attributes.get("properties", "").split():
            package.pages[attributes.get("id", "")] = attributes.get("href", "")
        elif tag == "itemref" and attributes.get("linear") != "no":
            package.order.append(attributes.get("idref", ""))

    def end(tag: str) -> None:
        nonlocal inside
        inside = ""

    def text(text: str) -> None:
        if inside:
            package.told[inside][-1] += text

    file.parse(place, start, end, text)
    return package


def _encrypted(file: archive.Archive) -> set[str]:
    """Return the entries that are encrypted; fonts often are, in books that anybody may read."""
    found: set[str] = set()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "CipherReference":
            found.add(urllib.parse.unquote(attributes.get("URI", "")))

    if ENCRYPTION in file.names:
        file.parse(ENCRYPTION, start, lambda tag: None, lambda text: None)
    return found


def _resolved(place: str, address: str) -> str:
    """Return the entry's name that an address in the package stands for."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), urllib.parse.unquote(address.partition("#")[0])))
