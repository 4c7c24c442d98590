"""HTML: the main text of a page, without navigation, banners, comments, footers, scripts and forms.

A page that names the element of its content (`main`, one `article`, `role="main"`, the classes of common generators) is
believed: all text of that element is taken, but for navigation, forms, comments and notices inside it. For all others
the main text is by resiliparse's rules (https://resiliparse.chatnoir.eu, `extract_plain_text(main_content=True)`),
which go by class names and ids; inside a named element they would leave out a section called "related changes".
`benchmarks/quality_detection.py` measures word F1 and speed next to trafilatura, justext and selectolax.

Left out: tables keep their words but not their shape; text that scripts would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data_prep.files.decoding import Unreadable, decode, read_bytes
from data_prep.records import Document

SUFFIXES = (".html", ".htm", ".xhtml")
_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_MARK = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,1000}?-->\s*)*<(?:!doctype\s+html|html[\s>])", re.I | re.DOTALL)

# The element of a page's content: believed if it is the only one of its kind and holds enough of the page's text.
_CONTENT = (
    "[itemprop=articleBody]", ".theme-doc-markdown", ".entry-content", ".post-content", ".markdown-body", "article",
    "[role=main]", "main",
)  # fmt: skip
_ENOUGH = 0.25  # of the page's text, and
_LEAST = 200  # characters
# Parts that are no text of a page, by the words that sites use in class names and ids. Narrow on purpose: a whole page
# may be in an element called `site-content-with-cookies`.
_NOTICES = [
    "div[class*=cookie]", "div[id*=cookie]", "section[class*=cookie]", "aside[class*=cookie]", "div[class*=consent]",
    "div[class*=gdpr]", "a[class*=skip]", "div[aria-label^=Skip]", "a[class*=edit]", "a[class*=content__button]",
    "a.headerlink", "a.anchor", "a.hash-link", "div[class*=sharedaddy]", "div[class*=share-buttons]",
    "div[class*=social-share]", "ul[class*=social]", "div[class*=related-posts]", "div[class*=newsletter]",
    "div.navheader", "div.navfooter",
]  # fmt: skip
_NO_CONTENT = [
    "nav", "[role=navigation]", "[role=search]", "[role=dialog]", "footer", "form", "button", "dialog", "template",
    "[hidden]", "[aria-hidden=true]", "aside[class*=sidebar]", "#comments", ".comments", ".comments-area",
    ".comment-list",
]  # fmt: skip


# Elements that take the square of their depth: the rules for main text in time, lists in indented text. Browsers stop
# at 512 elements in each other; lists are never that deep.
_DEEPEST = {(b"<div",): 2_000, (b"<ul", b"<ol"): 100}


def recognises(head: bytes) -> bool:
    """Tell HTML by its doctype or its first element."""
    return bool(_MARK.match(head.removeprefix(b"\xef\xbb\xbf")))


def read(path: Path) -> Iterator[Document]:
    """Yield the page's main text as one document."""
    yield page(read_bytes(path))


def page(data: bytes, charset: str = "") -> Document:
    """Return a page's main text; `charset` is what the server said, if there was one.

    Raises: Unreadable for a page without main text, or with elements too deep in each other.
    """
    source = decoded(data, charset)
    tree = _parsed(source)
    text = _named(tree) or _by_rules(tree, _NOTICES)
    if len(text) < _LEAST:
        text = max(text, _by_rules(_parsed(source), []), key=len)
    if not text.strip():
        raise Unreadable("a page without main text")
    canonical = tree.document and tree.document.query_selector("link[rel=canonical]")
    url = (canonical and canonical.getattr("href")) or ""
    return Document("", text, "", title=" ".join((tree.title or "").split()), url=url)


def _parsed(source: str) -> Any:
    """Return a page's tree.

    Raises: Unreadable for a page with too many elements in each other, before anything is made of it.
    """
    from resiliparse.parse.html import HTMLTree

    folded = source.encode("utf-8", "replace").lower()  # bytes: faster than text
    for openings, most in _DEEPEST.items():
        if _deeper(folded, openings, most):
            raise Unreadable(f"more than {most} elements in each other")
    return HTMLTree.parse(source)


def _deeper(folded: bytes, openings: Sequence[bytes], most: int) -> bool:
    """Tell whether more than `most` elements with these beginnings are open at once."""
    if sum(map(folded.count, openings)) <= most:
        return False
    depth = 0
    names = b"|".join(opening[1:] for opening in openings)
    for tag in re.finditer(rb"<(/?)(?:" + names + rb")\b", folded):
        depth = max(0, depth - 1) if tag[1] else depth + 1
        if depth > most:
            return True
    return False


def _named(tree: Any) -> str:
    """Return the text of the element that the page names as its content, or "" if there is no such element."""
    body = tree.body
    if body is None:
        return ""
    whole = len(body.text)
    for selector in _CONTENT:
        elements = body.query_selector_all(selector)
        if len(elements) == 1 and len(elements[0].text) >= max(_ENOUGH * whole, _LEAST):
            return _of(elements[0])
    return ""


def _of(element: Any) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(
        element.html, list_bullets=True, preserve_formatting=True, alt_texts=False, skip_elements=_NOTICES + _NO_CONTENT
    )
    return text


def _by_rules(tree: Any, skipped: list[str]) -> str:
    """Return what resiliparse takes for the main text."""
    from resiliparse.extract.html2text import extract_plain_text

    text: str = extract_plain_text(
        tree,
        main_content=True,
        list_bullets=True,
        preserve_formatting=True,
        alt_texts=False,
        comments=False,
        skip_elements=skipped or None,
    )
    return text


def whole_text(data: bytes, charset: str = "") -> str:
    """Return all text of a page that has nothing but its text: a book's chapter, a mail.

    Raises: Unreadable for a page with elements too deep in each other.
    """
    from resiliparse.extract.html2text import extract_plain_text

    tree = _parsed(decoded(data, charset))
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
