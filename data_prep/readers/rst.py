"""reStructuredText: one document a file, as running text.

Titles lose their lines, links and roles their marks, directives their names; admonitions, code and tables keep their
text; comments, pictures, contents lists, targets, options and field lists at the top go.

By rules on lines, not by docutils: that reads 0.8 MB a CPU second where these rules read 10, and does not know Sphinx's
roles and directives (914 error messages in 67 files of documentation).

Left out: included files; substitutions (`|name|`) stay as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.files.decoding import read_text
from data_prep.records import Document

SUFFIXES = (".rst", ".rest")
BY_HINTS = True

_LINE = re.compile(r"([=\-`:.'\"~^_*+#<>!$%&(),/;?@\[\\\]{|}])\1{2,}[ \t]*")
_DIRECTIVE = re.compile(r"(\s*)\.\. +(?:\|[^|\n]+\| +)?([A-Za-z][\w:+.-]*?)::(?:[ \t]+(.*))?$")
_OPTION = re.compile(r"\s*:[A-Za-z][\w -]*:(?:\s.*)?$")
_FIELD = re.compile(r":[A-Za-z][\w -]*:(?:\s|$)")
_TABLE = re.compile(r"[ \t]*[=+][=+ \t-]{2,}$")
# Directives whose first words are text, and those that hold nothing to read.
_SPEAKING = {
    "note", "warning", "tip", "hint", "important", "caution", "danger", "attention", "error", "seealso", "admonition",
    "topic", "rubric", "sidebar", "versionadded", "versionchanged", "deprecated", "centered", "tab", "grid-item-card",
}  # fmt: skip
_SILENT = {
    "image", "toctree", "contents", "include", "raw", "meta", "index", "automodule", "autoclass", "autofunction",
    "autosummary", "automethod", "currentmodule", "module", "literalinclude", "highlight", "sectnum", "role",
    "default-role", "button-ref", "tags", "bibliography", "replace", "unicode", "date", "target-notes",
    "video", "youtube",
}  # fmt: skip
_INLINE = (  # with bounds: a search to the end from every mark would take hours on a hostile file
    (re.compile(r":[A-Za-z][\w:+.-]{0,60}:`~?!?([^`<]*?)(?:\s*<[^>`]*>)?`"), r"\1"),  # :ref:`text <target>`
    (re.compile(r"`([^`<]{1,300}?)\s*<[^>`]*>`__?"), r"\1"),  # `text <url>`_
    (re.compile(r"``(.{1,1000}?)``", re.DOTALL), r"\1"),
    (re.compile(r"`([^`\n]+)`__?(?!\w)"), r"\1"),
    (re.compile(r"(?<![\w`])`([^`\n]+)`(?![\w`])"), r"\1"),
    (re.compile(r"\*\*(?=\S)(.{1,1000}?)(?<=\S)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*\\])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r" ?\[(?:#[\w-]*|\d+|\*)\]_"), ""),  # footnotes
    (re.compile(r"(?<=\w)__?(?=[\s.,;:)])"), ""),  # a word that is a link
    (re.compile(r"\\([*`_|\\])"), r"\1"),
)


def recognises(head: bytes) -> bool:
    """Tell by a directive or a role's target at the start of a line, which no other markup has."""
    return bool(re.search(rb"^\.\. (?:[a-z][a-z:-]*::|_[^:\n]+:)", head, re.MULTILINE)) and not head.startswith(b"<")


def read(path: Path) -> Iterator[Document]:
    """Yield the file as one document; its title is the first heading."""
    text, title = plain(read_text(path))
    yield Document("", text, "", title=title)


def plain(source: str) -> tuple[str, str]:
    """Return reStructuredText as running text, and its first heading."""
    lines = source.expandtabs(4).replace("\r\n", "\n").split("\n")
    out: list[str] = []
    title, place, top = "", 0, True
    while place < len(lines):
        line = lines[place]
        here = line.strip()
        indent = len(line) - len(line.lstrip())
        if match := _DIRECTIVE.match(line):
            place = _directive(lines, place, match, out)
        elif here == ".." or here.startswith(".. "):
            place = _block_end(lines, place + 1, indent)  # a comment, a target or a footnote's definition
        elif top and _FIELD.match(line):
            place = _block_end(lines, place + 1, 0)
        elif _TABLE.match(line) and " " not in here and "+" not in here and _is_heading(lines, place):
            title = title or _prose(lines[place - 1].strip())
            place += 1
        elif _LINE.fullmatch(line) or _TABLE.match(line):
            title = title or (_prose(lines[place - 1].strip()) if _is_heading(lines, place) else "")
            place += 1
        elif here.endswith("::"):
            out.append(line.rstrip()[: -2 if here == "::" or here.endswith(" ::") else -1])
            place, top = _literal(lines, place + 1, indent, out), False
        else:
            out.append(line)
            place, top = place + 1, top and not here
    return _joined(out), title


def _directive(lines: list[str], place: int, match: re.Match[str], out: list[str]) -> int:
    """Write what a directive holds; return where it ends or, when its text is to be read on, where that begins."""
    indent, name, words = len(match[1]), match[2].rpartition(":")[2], match[3] or ""
    after = place + 1
    while after < len(lines) and (
        _OPTION.match(lines[after]) and len(lines[after]) - len(lines[after].lstrip()) > indent
    ):
        after += 1
    if name in _SILENT:
        return _block_end(lines, place + 1, indent)
    if name in ("code-block", "code", "sourcecode", "parsed-literal", "math", "doctest", "testcode", "prompt"):
        return _literal(lines, after, indent, out)
    if words and (name in _SPEAKING or match[2].startswith(("py:", "c:", "cpp:", "js:"))):
        out += ["", words]
    end = _block_end(lines, after, indent)
    block = lines[after:end]
    inner = plain("\n".join(_dedented(block)))[0].strip() if any(map(str.strip, block)) else ""
    out += ["", inner, ""] if inner else [""]
    return end


def _literal(lines: list[str], place: int, indent: int, out: list[str]) -> int:
    """Write an indented block as it is, protected from the rules for prose; return where it ends."""
    end = _block_end(lines, place, indent)
    out += ["", "\0" + "\n".join(_dedented(lines[place:end])).strip("\n"), ""]
    return end


def _block_end(lines: list[str], place: int, indent: int) -> int:
    """Return where the lines end that are indented deeper than `indent`."""
    end = place
    while place < len(lines):
        if lines[place].strip():
            if len(lines[place]) - len(lines[place].lstrip()) <= indent:
                break
            end = place + 1
        place += 1
    return end


def _dedented(block: list[str]) -> list[str]:
    depth = min((len(line) - len(line.lstrip()) for line in block if line.strip()), default=0)
    return [line[depth:].rstrip() for line in block]


def _is_heading(lines: list[str], place: int) -> bool:
    return (
        place > 0
        and bool(lines[place - 1].strip())
        and len(lines[place].rstrip()) >= len(lines[place - 1].strip()) // 2
    )


def _joined(out: list[str]) -> str:
    """Return the lines as text, with the marks inside prose gone."""
    pieces, prose = [], []
    for line in out:
        if not line.startswith("\0"):
            prose.append(line.rstrip())
            continue
        pieces += [_prose("\n".join(prose)), line[1:]]
        prose = []
    text = "\n".join([*pieces, _prose("\n".join(prose))])
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _prose(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text
