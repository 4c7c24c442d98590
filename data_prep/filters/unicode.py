"""Bring characters into normal form C and remove those that nobody sees.

Composed and decomposed letters look alike and tokenise differently; zero-width characters, soft hyphens, byte order
marks and control characters are left-overs of pages and word processors. Compatibility forms (NFKC) are left alone:
they would turn "x²" into "x2". Ligatures that PDF files are full of ("ﬁ") are taken apart, as they carry no meaning.
"""

from __future__ import annotations

import re
import unicodedata

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 20

_UNSEEN = re.compile(
    "[\u0000-\u0008\u000b\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufff9-\ufffb]"
)
_LIGATURES = {0xFB00: "ff", 0xFB01: "fi", 0xFB02: "fl", 0xFB03: "ffi", 0xFB04: "ffl", 0xFB05: "st", 0xFB06: "st"}
_HAS_LIGATURE = re.compile("[\ufb00-\ufb06]")


class Settings(Section):
    """Nothing to set."""


def build(settings: Settings) -> Check:
    """Return a repair that never drops."""

    def check(document: Document) -> Drop | None:
        document.text = normalised(document.text)
        return None

    return check


def normalised(text: str) -> str:
    """Return the text in NFC without unseen characters."""
    text = _UNSEEN.sub("", text)
    if text.isascii():
        return text
    if _HAS_LIGATURE.search(text):
        text = text.translate(_LIGATURES)
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)
