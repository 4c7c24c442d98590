"""Markdown: one document a file, as running text.

Front matter, comments, images, link targets, embedded HTML tags and the marks of headings and emphasis go; headings,
lists, tables and code stay as text.

Left out: reference-style link definitions keep their text only; MDX components are treated as HTML tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.files.decoding import read_text
from data_prep.records import Document

SUFFIXES = (".md", ".markdown", ".mdx", ".qmd", ".rmd")
FREE = True

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\r?\n(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_TITLE_KEY = re.compile(r"^title:\s*[\"']?(.*?)[\"']?\s*$", re.MULTILINE)
# A fence that is never closed ends with the file (CommonMark 0.31, 4.5). Searches have bounds: one to the end from each
# mark would take hours on a hostile file.
_CODE = re.compile(r"^(```|~~~).*?(?:^\1[ \t]*$|\Z)|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_UNDERLINE = re.compile(r"^(?:=+|-{2,})[ \t]*$\n?", re.MULTILINE)
_REPLACEMENTS = (
    (re.compile(r"<!--.{0,10000}?-->", re.DOTALL), ""),
    (re.compile(r"!\[[^\]\n]{0,1000}\]\([^)\n]{0,1000}\)"), ""),
    (re.compile(r"\[([^\]\n]{1,1000})\]\([^)\n]{0,1000}\)"), r"\1"),
    (re.compile(r"\[([^\]\n]{1,1000})\]\[[^\]\n]{0,1000}\]"), r"\1"),
    (re.compile(r"^ {0,3}\[[^\]\n]+\]:[ \t]+\S+.*$", re.MULTILINE), ""),
    (re.compile(r"<(https?://[^>\s]+|[\w.+-]+@[\w.-]+)>"), r"\1"),
    (re.compile(r"</?[A-Za-z][^<>\n]*>"), ""),
    (_HEADING, r"\1"),
    (_UNDERLINE, ""),
    (re.compile(r"(\*\*|__)(?=\S)(.{1,1000}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*\n]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<![\w_])_(?=\S)([^_\n]+?)(?<=\S)_(?![\w_])"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!-])"), r"\1"),
)


def recognises(head: bytes) -> bool:
    """Markdown has no mark of its own."""
    return False


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document; its title is front matter's, else the first heading."""
    text = read_text(path).replace("\r\n", "\n")
    front = _FRONT.match(text)
    body = text[front.end() :] if front else text
    named = _TITLE_KEY.search(front.group(1)) if front else None
    heading = _HEADING.search(body)
    title = named.group(1) if named else heading.group(1) if heading else ""
    yield Document("", plain(body), "", title=title)


def plain(markdown: str) -> str:
    """Return Markdown as running text; what is inside code is not touched."""
    pieces, position = [], 0
    for code in _CODE.finditer(markdown):
        pieces += [_prose(markdown[position : code.start()]), _bare(code.group())]
        position = code.end()
    return "".join([*pieces, _prose(markdown[position:])])


def _prose(text: str) -> str:
    for pattern, replacement in _REPLACEMENTS:
        text = pattern.sub(replacement, text)
    return text


def _bare(code: str) -> str:
    """Return code without its fences or backticks."""
    if not code.startswith(("```", "~~~")):
        return code.strip("`")
    lines = code.split("\n")
    return "\n".join(lines[1:-1] if len(lines) > 1 and lines[-1].startswith(code[:3]) else lines[1:])
