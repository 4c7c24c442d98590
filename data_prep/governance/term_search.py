"""Find the terms of a word list in batches of texts, with NumPy: which text, which sentence, which term.

A word is a run of letters and digits of ASCII, or of bytes of other letters; only ASCII letters are folded. A word's
key is made of its first and last eight bytes, so that it costs two loads: exact up to eight bytes; longer words that
differ only between those have one key, any others by a chance of one in 2^64. A term of several words is found where
its words follow each other with at most two characters between (blank, hyphen); it hides terms with a capital inside
it ("African American" is no "American"), and no others ("young woman" speaks of a woman). A sentence ends at a full
stop, question or exclamation mark before white space, and at a line's end.

Left out: sentences that run over a line's end, and full stops of abbreviations ("Dr. Ames" are two sentences here).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Places = NDArray[np.int64]

LONGEST = 3  # words in a term
SLICE = 2**18  # bytes searched at a time: what the arrays of one slice need stays in the processor's cache
PADDING = b"\0" * 8
ODD = 0x9E3779B97F4A7C15
_WORD_BYTES = re.compile(rb"[a-z0-9\x80-\xff]+")
# General punctuation (dashes, curly quotes), and the signs of Latin-1: no letters, though not ASCII.
_NO_LETTERS = re.compile(rb"\xe2\x80[\x80-\xbf]|\xc2[\x80-\xbf]")
_FOLD = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if 97 <= byte <= 122 or 48 <= byte <= 57 or byte >= 128 else 0
    for byte in range(256)
)
_STOP, _BLANK, _LINE = 1, 2, 3
_SHAPES = _PLAIN, _PROPER, _CAPITALS = 0, 1, 2
_KIND = bytes(
    _LINE if byte == 10 else _BLANK if byte in b" \t\r\f\v" else _STOP if byte in b".!?" else 0 for byte in range(256)
)


@dataclass
class Hits:
    """Text, sentence (counted from 0 over all texts) and term of each hit, in the order of the texts; shape (N)."""

    document: Places
    sentence: Places
    term: Places
    sentences: int


def fold(term: str) -> list[bytes]:
    """Return a term's words as they are compared."""
    return _WORD_BYTES.findall(clean(term).translate(_FOLD))


def clean(text: str) -> bytes:
    """Return a text's bytes, with signs beyond ASCII that are no letters blanked."""
    raw = text.encode("utf-8", "replace")
    return raw if len(raw) == len(text) else _NO_LETTERS.sub(lambda match: b"\0" * len(match.group()), raw)


def folded_bytes(raw: bytes) -> bytes:
    """Return what `clean` gave with ASCII in lower case, and zeros where there is no letter or digit."""
    return raw.translate(_FOLD)


def words(folded: bytes) -> tuple[Places, Places]:
    """Return where each word starts and ends."""
    import numpy as np

    letters = np.frombuffer(b"\0" + folded + b"\0", dtype=np.uint8) != 0
    edges = np.flatnonzero(letters[1:] != letters[:-1])
    return edges[::2], edges[1::2]


def word_keys(folded: bytes, starts: Places, ends: Places) -> Keys:
    """Return a key for each word: equal words have equal keys."""
    import numpy as np

    padded = PADDING + folded + PADDING
    loads: Any = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    lengths = ends - starts
    masks = np.array([2 ** (8 * length) - 1 for length in range(9)], dtype=np.uint64)
    keys: Keys = loads[starts + 8] & masks[np.minimum(lengths, 8)]
    long = np.flatnonzero(lengths > 8)
    keys[long] ^= loads[ends[long]] * np.uint64(ODD)
    return keys


def word_key(word: bytes) -> int:
    """Return the key of one word."""
    first = int.from_bytes(word[:8], "little")
    return first ^ (int.from_bytes(word[-8:], "little") * ODD % 2**64 if len(word) > 8 else 0)


class Search:
    """An index of terms; the number of a term is its place in the list given."""

    def __init__(self, terms: Sequence[str]) -> None:
        import numpy as np

        found: dict[int, tuple[list[int], list[int], list[int]]] = {}
        for number, term in enumerate(terms):
            words = fold(term)
            keys, numbers, shapes = found.setdefault(len(words), ([], [], []))
            keys.append(_joined([word_key(word) for word in words]))
            numbers.append(number)
            shapes.append(_shape(term))
        self._proper = np.array([term[0].isupper() for term in terms], dtype=bool)
        self._tables = {length: _Table(*columns) for length, columns in sorted(found.items(), reverse=True)}
        # Most words begin no term: one look into a table of 64 Ki flags tells.
        self._starts = np.zeros(2**16, dtype=bool)
        firsts = np.array([word_key(fold(term)[0]) for term in terms], dtype=np.uint64)
        self._starts[_slot(firsts)] = True

    def find(self, texts: Sequence[bytes]) -> Hits:
        """Return the hits in texts that `clean` gave."""
        import numpy as np

        parts: list[tuple[Places, Places, Places]] = [(np.zeros(0, np.int64),) * 3]
        sentences = 0
        for raw, numbers, ends in _pieces(texts):
            place, sentence, term, seen = self._piece(raw)
            parts.append((numbers[np.searchsorted(ends, place, side="right")], sentence + sentences, term))
            sentences += seen
        document, sentence, term = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Hits(document, sentence, term, sentences)

    def _piece(self, raw: bytes) -> tuple[Places, Places, Places, int]:
        """Return place (byte), sentence and term of each hit, and the number of sentences with a word."""
        import numpy as np

        folded = folded_bytes(raw)
        starts, ends = words(folded)
        if not len(starts):
            return starts, starts, starts, 0
        of_words, seen = _sentences(raw, starts)
        bytes_ = np.frombuffer(raw + b"\0", dtype=np.uint8)
        word, term = self._terms(word_keys(folded, starts, ends), starts, ends, bytes_, of_words)
        return starts[word], of_words[word], term, seen

    def _terms(
        self, keys: Keys, starts: Places, ends: Places, raw: NDArray[np.uint8], sentence: Places
    ) -> tuple[Places, Places]:
        """Return the word at which each hit starts, and its term, in the order of the words."""
        import numpy as np

        candidates = np.flatnonzero(self._starts[_slot(keys)])
        covered = np.zeros(len(keys) + LONGEST, dtype=bool)
        found: list[tuple[Places, Places]] = []
        for length, table in self._tables.items():
            word = candidates[candidates + length <= len(keys)]
            joined = keys[word]
            for offset in range(1, length):
                later = word + offset
                near = (starts[later] - ends[later - 1] <= 2) & (sentence[later] == sentence[word])
                word, joined = word[near], (joined * np.uint64(ODD) ^ keys[later])[near]
            hit, term = table.look(joined, raw[starts[word]], raw[starts[word] + 1])
            word = word[hit]
            free = ~(covered[word] & self._proper[term])
            word, term = word[free], term[free]
            found.append((word, term))
            for offset in range(length):
                covered[word + offset] = True
        word, term = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.argsort(word, kind="stable")
        return word[order], term[order]


class _Table:
    """Terms of one length by their keys; a word in a text may be plain, Proper or CAPITALS, and each finds its own."""

    def __init__(self, keys: list[int], numbers: list[int], shapes: list[int]) -> None:
        import numpy as np

        known = {(key, shape): number for key, number, shape in zip(keys, numbers, shapes, strict=True)}
        whole = sorted(set(keys))
        self._keys = np.array(whole, dtype=np.uint64)
        # A term without a capital is found in every shape.
        self._of_shape = np.array(
            [[known.get((key, shape), known.get((key, _PLAIN), -1)) for key in whole] for shape in _SHAPES]
        )

    def look(self, keys: Keys, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> tuple[Places, Places]:
        """Return which keys are terms, and which terms; given the first two bytes as they stand in the text."""
        import numpy as np

        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        shape = ((first >= 65) & (first <= 90)) * (1 + ((second >= 65) & (second <= 90)).astype(np.int64))
        term = self._of_shape[shape, place]
        hit = np.flatnonzero((self._keys[place] == keys) & (term >= 0))
        return hit, term[hit]


def _pieces(texts: Sequence[bytes]) -> Iterator[tuple[bytes, Places, Places]]:
    """Yield texts in runs of about SLICE bytes: the bytes, the number of each text in them, and where each ends."""
    numbers: list[int] = []
    held: list[bytes] = []
    size = 0
    for number, text in enumerate(texts):
        for part in _parts(text):
            if held and size + len(part) > SLICE:
                yield _piece(held, numbers)
                held, numbers, size = [], [], 0
            held.append(part)
            numbers.append(number)
            size += len(part)
    if held:
        yield _piece(held, numbers)


def _piece(held: list[bytes], numbers: list[int]) -> tuple[bytes, Places, Places]:
    import numpy as np

    lengths = np.fromiter(map(len, held), dtype=np.int64, count=len(held))
    return b"\n".join(held), np.array(numbers, dtype=np.int64), np.cumsum(lengths + 1)


def _parts(text: bytes) -> Iterator[bytes]:
    """Cut a long text at the ends of lines, or of sentences, or of words, or anywhere."""
    start = 0
    while len(text) - start > SLICE:
        end = max(text.rfind(mark, start, start + SLICE) for mark in (b"\n", b". "))
        end = max(end, text.rfind(b" ", start, start + SLICE)) if end <= start else end
        end = end + 1 if end > start else start + SLICE
        yield text[start:end]
        start = end
    yield text[start:]


def _sentences(raw: bytes, starts: Places) -> tuple[Places, int]:
    """Return the sentence of each word, counted from 0 over those that have a word, and how many there are."""
    import numpy as np

    kind = np.frombuffer(raw.translate(_KIND) + bytes([_BLANK]), dtype=np.uint8)
    ends = np.flatnonzero((kind[:-1] == _LINE) | ((kind[:-1] == _STOP) & (kind[1:] >= _BLANK)))
    of_words = np.searchsorted(ends, starts)
    new = np.empty(len(starts), dtype=np.int64)
    new[0] = 0
    new[1:] = of_words[1:] != of_words[:-1]
    numbered: Places = np.cumsum(new)
    return numbered, int(numbered[-1]) + 1


def _slot(keys: Keys) -> Keys:
    import numpy as np

    return (keys * np.uint64(ODD)) >> np.uint64(48)


def _shape(term: str) -> int:
    return _PLAIN if not term[0].isupper() else _CAPITALS if term[1:2].isupper() else _PROPER


def _joined(keys: list[int]) -> int:
    whole = keys[0]
    for key in keys[1:]:
        whole = whole * ODD % 2**64 ^ key
    return whole
