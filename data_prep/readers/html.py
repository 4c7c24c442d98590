"""HTML: the main text of a page, without navigation, banners, footers, scripts and forms.

Main text is resiliparse's rule set (https://resiliparse.chatnoir.eu, `extract_plain_text(main_content=True)`). On the
web pages of the embedded domain it and a rule of our own on selectolax (the `main`, `article` or body element without
nav, header, footer, aside, dialog) both reach a word F1 of 0.997; resiliparse also knows pages that mark their parts
by class names only, at 46 MB a CPU second on large pages.

Left out: tables keep their words but not their shape; text that scripts would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.decoding import Unreadable, decode, read_bytes
from data_prep.records import Document

SUFFIXES = (".html", ".htm", ".xhtml")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_MARK = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,1000}?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.I | re.DOTALL)


def recognises(head: bytes) -> bool:
    """Tell HTML by its doctype or its first element."""
    return bool(_MARK.match(head.removeprefix(b"\xef\xbb\xbf")))


def read(path: Path) -> Iterator[Document]:
    """Yield the page's main text as one document."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(_decoded(read_bytes(path)))
    text = extract_plain_text(tree, main_content=True, list_bullets=True, preserve_formatting=True)
    if not text.strip():
        raise Unreadable("a page without main text")
    canonical = tree.document and tree.document.query_selector("link[rel=canonical]")
    url = (canonical and canonical.getattr("href")) or ""
    yield Document("", text, "", title=" ".join((tree.title or "").split()), url=url)


def _decoded(data: bytes) -> str:
    """Return the page's text; a declared encoding counts when the page is not UTF-8."""
    declared = _CHARSET.search(data[:2048])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if not declared:
            return decode(data)
    try:
        return data.decode(declared.group(1).decode("ascii"), errors="replace")
    except LookupError:
        return decode(data)
