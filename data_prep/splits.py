"""How a text falls into words, lines and sentences, and what kind each character is: shared by the quality filters.

A document passes one filter after the other, so each split is kept for the last few texts. What is returned is shared:
never change it. `kinds` gives one byte for each character, so that letters, digits, symbols and words can be counted by
`bytes.translate` at the speed of memory.

Left out: words of languages that are written without blanks. A sentence ends at a full stop, a question or exclamation
mark before white space, unless a single letter ("J.", "e.g.", "U.S.") or an English title stands before it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

KEPT = 4  # texts: the one at hand, as two or three filters in a row leave it
MARK, SYMBOL = "\x7f", "\x01"  # stand for every punctuation mark and every other symbol beyond ASCII
SENTENCE_END = re.compile(
    r"[.!?](?<![.!?]{2})[.!?]*+(?<!\b[A-Za-z]\.)(?<!\b(?:Mr|Ms|Dr|St|vs)\.)(?<!\bMrs\.)[\"'”’)\]]*(?=\s|\Z)|[。！？।؟]"
)
TOKEN = re.compile(r"https?://\S+|\w+(?:[.@'’]\w+|(?<=\d)[,:/](?=\d)\w+)*|--+|==+|\.\.+|\|\|+|~~+|\+\++|[^\w\s]")
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_BLANK = re.compile(r"[\x1c-\x1f]")  # white space to str, but not to bytes


class _Kinds(dict[int, str]):
    """The ASCII character that stands for each other character, found when first seen."""

    def __missing__(self, code: int) -> str:
        kind = self[code] = _kind(chr(code))
        return kind


def _kind(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)[0]
    if category in "LM":
        return "A" if character.isupper() else "a"
    return {"N": "0", "P": MARK}.get(category, SYMBOL)


_kinds = _Kinds()


@lru_cache(KEPT)
def words(text: str) -> list[str]:
    """Return what white space separates."""
    return text.split()


@lru_cache(KEPT)
def tokens(text: str) -> list[str]:
    """Return words and punctuation marks, each by itself; addresses, numbers and drawn lines are kept together."""
    return TOKEN.findall(text)


@lru_cache(KEPT)
def lines(text: str) -> list[str]:
    """Return the lines that are not blank, as they are."""
    return [line for line in text.split("\n") if line and not line.isspace()]


@lru_cache(KEPT)
def kinds(text: str) -> bytes:
    """Return one ASCII character for each character: itself, or that of its class (`a`, `A`, `0`, blank, ...)."""
    if not text.isascii():
        text = _NON_ASCII.sub(_replaced, text)
    return _BLANK.sub(" ", text).encode("ascii")


def _replaced(match: re.Match[str]) -> str:
    return match[0].translate(_kinds)


def sentences(text: str) -> list[str]:
    """Return the sentences, without the white space around them; what ends without a mark is one too."""
    found, start = [], 0
    for match in SENTENCE_END.finditer(text):
        found.append(text[start : match.end()].strip())
        start = match.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found
