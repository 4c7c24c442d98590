"""PDF: one document a file, through pypdfium2.

Lines are joined to paragraphs, words that were cut at a line's end are put together, and lines that stand on most pages
(running heads) or hold only a page number are left out.

Left out: scanned pages (there is no text in them; such a file is reported), columns and tables in reading order beyond
what pdfium gives.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_prep.files.decoding import Unreadable, read_bytes
from data_prep.records import Document

SUFFIXES = (".pdf",)
_PAGE_NUMBER = re.compile(r"(?:page|seite|p\.)?\s*\d{1,4}(?:\s*(?:/|of|von)\s*\d{1,4})?", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_CUT = re.compile(r"(?<=[^\W\d_])(?:[-\u00ad\u2010]|\ufffe|\x02)\n(?=[a-z\u00df-\u00ff])")


def recognises(head: bytes) -> bool:
    """Tell a PDF by its header, which may stand behind some junk; a text that names it is none."""
    return head.startswith(b"%PDF-") or re.search(rb"(?:\A|[^ -~])%PDF-\d\.\d\s", head[:1024]) is not None


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document."""
    yield document(read_bytes(path))


def document(data: bytes) -> Document:
    """Return the text of a PDF file.

    Raises: Unreadable for one that is damaged, encrypted or has no text.
    """
    title, pages = _pages(data)
    text = running_text([page.replace("\r\n", "\n").split("\n") for page in pages])
    if not text:
        raise Unreadable("a PDF without text (scanned?)")
    return Document("", text, "", title=title, meta={"pages": len(pages)})


def _pages(data: bytes) -> tuple[str, list[str]]:
    import pypdfium2

    try:
        file = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise Unreadable("not a PDF that can be opened (damaged or encrypted)") from error
    try:
        return file.get_metadata_value("Title"), [_page_text(file[index]) for index in range(len(file))]
    except pypdfium2.PdfiumError as error:
        raise Unreadable("a damaged page") from error
    finally:
        file.close()


def _page_text(page: object) -> str:
    area = page.get_textpage()  # type: ignore[attr-defined]
    text: str = area.get_text_range()
    area.close()
    page.close()  # type: ignore[attr-defined]
    return text


def running_text(pages: list[list[str]]) -> str:
    """Return the lines of all pages as paragraphs."""
    repeated = _repeated(pages)
    lines = [
        line.strip()
        for page in pages
        for position, line in enumerate(page)
        if not (_at_edge(position, page) and (_key(line) in repeated or _PAGE_NUMBER.fullmatch(line.strip())))
    ]
    return _paragraphs(_CUT.sub("", "\n".join(lines)))


def _repeated(pages: list[list[str]]) -> set[str]:
    """Return the first and last lines, digits aside, that more than half of the pages have."""
    if len(pages) < 3:
        return set()
    counts = Counter(key for page in pages for key in {_key(line) for line in (*page[:2], *page[-2:])})
    return {key for key, count in counts.items() if key and count * 2 > len(pages)}


def _at_edge(position: int, page: list[str]) -> bool:
    return position < 2 or position >= len(page) - 2


def _key(line: str) -> str:
    return _DIGITS.sub("0", line.strip().casefold())


def _paragraphs(text: str) -> str:
    """Join lines; a paragraph ends at an empty line or at a line that stops well before the usual width."""
    lines = text.split("\n")
    usual = sorted(map(len, filter(None, lines)))[int(0.9 * sum(map(bool, lines)))] if text.strip() else 0
    out: list[str] = []
    joined = False
    for line in lines:
        if joined and line:
            out[-1] += f" {line}"
        elif line:
            out.append(line)
        ends = len(line) < (0.75 if line.endswith((".", "!", "?", ":")) else 0.6) * usual
        joined = bool(line) and not ends
    return "\n\n".join(out)
