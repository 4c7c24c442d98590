"""Take out lines that are nothing but links, on request all addresses, and documents that are mostly links.

An address begins with http://, https://, ftp:// or www.; in Markdown a link's text is text and its address is not. A
line is nothing but links when only list marks are left without its addresses and Markdown links, so a list of linked
titles, a menu, goes; a sentence with a link in it and quoted addresses in a program stay. A document goes where such
lines hold more than `max_link_lines` of its lines, or addresses more than `max_link_characters` of its characters. How
many addresses there were is kept as `meta.links`.

Left out: HTML (its reader has taken links apart) and bare domain names.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 43

_ADDRESS = re.compile(r"(?:https?://|ftp://|\bwww\.)[^\s<>\[\]\"'{}|\\^`]+", re.IGNORECASE)
_TRAILING = ".,;:!?…*_"
_MARKDOWN_LINK = re.compile(
    r"!?\[[^\[\]\n]*\](?:\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?: \"[^\"\n]*\")?\)|\[[^\[\]\n]*\])"
)
_MARKDOWN_TEXT = re.compile(r"!?\[([^\[\]\n]*)\]\((?:https?://|ftp://|www\.)[^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)", re.I)
_REST = re.compile(r"[\s*+•·|<>#»:()–—-]*")  # of a line that is a link: list marks and separators, but no quoted text
_NUMBERING = re.compile(r"\s*(?:\d+[.)]|\[\d+\])\s*")
_BLANKS = re.compile(r"[ \t]{2,}")
_EMPTY_BRACKETS = re.compile(r"[(<\[][ \t]*[)>\]]")
_BLANK_BEFORE_MARK = re.compile(r"[ \t]+(?=[.,;:!?](?:\s|\Z))")
_EMPTY_LINES = re.compile(r"\n{3,}")


class Settings(Section):
    """What to take out and how many links are too many."""

    lines: Literal["remove", "keep"] = Field(default="remove", description="Lines that are nothing but links.")
    addresses: Literal["remove", "keep"] = Field(default="keep", description="Addresses inside other lines.")
    max_link_lines: float = Field(default=0.6, gt=0, le=1, description="Share of the lines that are not blank.")
    max_link_characters: float = Field(default=0.4, gt=0, le=1, description="Share of characters in addresses.")


def build(settings: Settings) -> Check:
    """Return a check that takes links out and drops documents that are mostly links."""

    def check(document: Document) -> Drop | None:
        text = document.text
        if not has_links(text):
            return None
        lines = text.split("\n")
        linked = [has_links(line) and _REST.fullmatch(_without_links(line)) is not None for line in lines]
        found = addresses(text)
        document.meta["links"] = len(found)
        drop = _mostly_links(settings, text, lines, sum(linked), sum(map(len, found)))
        if drop:
            return drop
        _rewrite(settings, document, lines, linked)
        return None if document.text else Drop("links", "nothing but links")

    return check


def has_links(text: str) -> bool:
    """Return at little cost whether a text may hold links."""
    return "://" in text or "](" in text or "www." in text or "WWW." in text


def addresses(text: str) -> list[str]:
    """Return the addresses in a text, without the punctuation that follows them."""
    return [_trimmed(match) for match in _ADDRESS.findall(text)]


def _trimmed(address: str) -> str:
    """Return an address without the marks that follow it, and without brackets that it does not open."""
    end, open_brackets = len(address), address.count("(") - address.count(")")
    while end and (address[end - 1] in _TRAILING or (address[end - 1] == ")" and open_brackets < 0)):
        open_brackets += address[end - 1] == ")"
        end -= 1
    return address[:end]


def _without_links(line: str) -> str:
    return _NUMBERING.sub("", _ADDRESS.sub("", _MARKDOWN_LINK.sub("", line)), count=1)


def _mostly_links(settings: Settings, text: str, lines: list[str], linked: int, characters: int) -> Drop | None:
    present = sum(1 for line in lines if line and not line.isspace())
    if linked > settings.max_link_lines * present:
        return Drop("link_lines", f"{linked} of {present} lines are nothing but links")
    if characters > settings.max_link_characters * len(text):
        return Drop("link_characters", f"{characters} of {len(text)} characters are addresses")
    return None


def _rewrite(settings: Settings, document: Document, lines: list[str], linked: list[bool]) -> None:
    """Take out what the settings name, and note how much."""
    removed = sum(linked) if settings.lines == "remove" else 0
    if removed:
        lines = [line for line, link in zip(lines, linked, strict=True) if not link]
        document.meta["link_lines_removed"] = removed
    if settings.addresses == "remove":
        stripped = [without_addresses(line) if has_links(line) else line for line in lines]
        count = sum(before != after for before, after in zip(lines, stripped, strict=True))
        if count:
            document.meta["lines_with_links_removed"] = count
        removed, lines = removed + count, stripped
    if removed:
        document.text = _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()


def without_addresses(line: str) -> str:
    """Return a line without its addresses; the text of a Markdown link stays."""
    line = _MARKDOWN_TEXT.sub(r"\1", line)
    line = _ADDRESS.sub(lambda match: match[0][len(_trimmed(match[0])) :], line)
    indentation = len(line) - len(line.lstrip())
    rest = _BLANKS.sub(" ", _EMPTY_BRACKETS.sub("", line[indentation:]))
    return line[:indentation] + _BLANK_BEFORE_MARK.sub("", rest).rstrip()
