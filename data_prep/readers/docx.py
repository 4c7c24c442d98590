"""DOCX (Office Open XML, ECMA-376): one document a file, its paragraphs, lists and tables as running text.

Cells of a table's row stand on one line, apart by tabs. Deleted text of tracked changes, field codes, and the second
copy that text boxes keep for old readers do not count. The title is the file's property, else the first paragraph in
the style Title.

44 MB of text a CPU second; python-docx, which builds the tree of the whole file, 15.

Left out: headers and footers (they repeat on every page), footnotes, comments, pictures, numbers of numbered lists. A
`.docx` that is a zip file of something else is refused; the old binary `.doc` has no reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.files import archive
from data_prep.files.decoding import Unreadable
from data_prep.records import Document

SUFFIXES = (".docx", ".docm", ".dotx")
MAIN = "word/document.xml"
_HIDDEN = {"Fallback", "del", "moveFrom", "instrText", "txbxContent"}


def recognises(head: bytes) -> bool:
    """Tell a zip file."""
    return head.startswith(b"PK\x03\x04")


def belongs(path: Path) -> bool:
    """Tell a zip file that holds a Word document."""
    return archive.holds(path, MAIN)


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document."""
    with archive.opened(path) as file:
        if MAIN not in file.names:
            raise Unreadable("a zip file without a Word document in it")
        body = _Body()
        file.parse(MAIN, body.start, body.end, body.text)
        title = _property(file, "title") or body.title
    text = "\n".join(body.lines).strip()
    if not text:
        raise Unreadable("a DOCX file without text")
    yield Document("", text, "", title=" ".join(title.split()))


class _Body:
    """Collects the text of word/document.xml."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.title = ""
        self.pieces: list[str] = []
        self.cells: list[str] = []
        self.hidden = 0
        self.tables = 0
        self.in_text = self.is_item = self.is_title = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _HIDDEN or self.hidden:
            self.hidden += 1
        elif tag == "t":
            self.in_text = True
        elif tag == "tbl":
            self.tables += 1
        elif tag in ("tab", "br", "cr"):
            self.pieces.append("\t" if tag == "tab" else "\n")
        elif tag == "noBreakHyphen":
            self.pieces.append("-")
        elif tag == "numPr":
            self.is_item = True
        elif tag == "pStyle":
            self.is_title = attributes.get("val", "").lower() == "title"

    def text(self, text: str) -> None:
        if self.in_text and not self.hidden:
            self.pieces.append(text)

    def end(self, tag: str) -> None:
        if self.hidden:
            self.hidden -= 1
        elif tag == "t":
            self.in_text = False
        elif tag == "p":
            self._paragraph("".join(self.pieces).strip())
        elif tag == "tc" and self.tables == 1:
            self.cells.append(" ".join(self.pieces).strip())
            self.pieces = []
        elif tag == "tr" and self.tables == 1:
            self.lines.append("\t".join(self.cells))
            self.cells = []
        elif tag == "tbl":
            self.tables -= 1
            if not self.tables:
                self.lines.append("")

    def _paragraph(self, text: str) -> None:
        """End a paragraph; in a table it stays within its cell."""
        if self.tables:
            self.pieces = [" ".join("".join(self.pieces).split()), " "]
            return
        self.pieces = []
        if self.is_title and not self.title:
            self.title = text
        if text:
            self.lines += [f"- {text}"] if self.is_item else [text, ""]
        self.is_item = self.is_title = False


def _property(file: archive.Archive, name: str) -> str:
    """Return one of the file's core properties; a file may do without them."""
    found: list[str] = []
    inside = False

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal inside
        inside = tag == name

    def end(tag: str) -> None:
        nonlocal inside
        inside = False

    if "docProps/core.xml" in file.names:
        file.parse("docProps/core.xml", start, end, lambda text: found.append(text) if inside else None)
    return "".join(found)
