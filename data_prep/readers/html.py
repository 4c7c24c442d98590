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
    yield page(read_bytes(path))


def page(data: bytes, charset: str = "") -> Document:
    """Return a page's main text; `charset` is what the server said, if there was one.

    Raises: Unreadable for a page without main text.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(decoded(data, charset))
    text = extract_plain_text(tree, main_content=True, list_bullets=True, preserve_formatting=True)
    if not text.strip():
        raise Unreadable("a page without main text")
    canonical = tree.document and tree.document.query_selector("link[rel=canonical]")
    url = (canonical and canonical.getattr("href")) or ""
    return Document("", text, "", title=" ".join((tree.title or "").split()), url=url)


def whole_text(data: bytes, charset: str = "") -> str:
    """Return all text of a page that has nothing but its text: a book's chapter, a mail."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(decoded(data, charset))
    text: str = extract_plain_text(tree, main_content=False, list_bullets=True, preserve_formatting=True)
    return text


def decoded(data: bytes, charset: str = "") -> str:
    """Return a page's source; the server's or the page's own word on its encoding counts when it is not UTF-8."""
    declared = _CHARSET.search(data[:2048])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        named = charset or (declared.group(1).decode("ascii") if declared else "")
    try:
        return data.decode(named, errors="replace") if named else decode(data)
    except LookupError:
        return decode(data)
