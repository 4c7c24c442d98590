"""A block list: documents, sources and people that a corpus leaves out when it is read again (`forget:` in a recipe).

The list is a JSON lines file that `tuneloop forget` writes. Its first row holds a random salt; each further row one
entry: a document's id, a source's name (with everything below it), or words that a person is known by (a name, an
e-mail address, a number), found in the text, title or URL whatever their case, punctuation and white space.

Nothing of it stands there in clear, only keyed hashes (BLAKE2b). That hides an entry from whoever reads the file, not
from whoever has a guess: with the file, a guessed name can be tested, as the corpus stage itself does. So the list is
pseudonymous, not anonymous: keep it where the documents were kept. Words also carry 16 bits of a faster hash of their
first word, by which most texts are passed over, and their number.

What it cannot do: know a document that was renamed or moved (its id has changed; its words have not), a person by a
spelling that was not given, or words inside a file that no text comes out of.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal, cast

from data_prep import shingles
from data_prep.filters import Drop
from data_prep.governance import term_search
from data_prep.records import Document, numbered_rows, write_rows
from recipes.errors import UserError
from recipes.sections import Fault, Key, shipped

REASON = "forgotten"
MOST_WORDS = 16
OVERLAP = 2048  # bytes of a text that two slices share, so that no entry is cut in two
Kind = Literal["document", "source", "text"]
KINDS = ("document", "source", "text")


@dataclass(frozen=True)
class Entry:
    """One row of the list; `words` and `slot` only for words in a text. `asked` is a date."""

    kind: Kind
    hash: str
    asked: str = ""
    words: int = 0
    slot: int = 0


class Forgotten:
    """A block list in memory."""

    def __init__(self, salt: bytes, entries: Iterable[Entry] = ()) -> None:
        import numpy as np

        self.salt = salt
        self.entries = list(dict.fromkeys(entries))
        self._numbers: dict[tuple[str, str], int] = {}
        self._starts = np.zeros(2**16, dtype=bool)
        for number, entry in enumerate(self.entries, start=1):
            self._numbers.setdefault((entry.kind, entry.hash), number)
            if entry.kind == "text":
                self._starts[entry.slot] = True
        self._lengths = sorted({entry.words for entry in self.entries if entry.kind == "text"})
        self._of_source = lru_cache(maxsize=10_000)(self._source)

    def check(self, document: Document) -> Drop | None:
        """Return why a document is left out, if it is; it is emptied then, so that nothing of it is kept anywhere."""
        number = self.number(document)
        if not number:
            return None
        kind = self.entries[number - 1].kind
        document.id = f"{REASON}/{self.hash(document.id)}"
        document.text = document.title = document.url = document.source = ""
        document.meta = {}
        return Drop(REASON, f"entry {number} of the block list ({kind})")

    def number(self, document: Document) -> int:
        """Return the number (from 1) of the first entry that a document falls under, or 0."""
        return (
            self._numbers.get(("document", self.hash(document.id)), 0)
            or self._of_source(document.source)
            or (self._text(f"{document.title}\n{document.url}\n{document.text}") if self._lengths else 0)
        )

    def _source(self, source: str) -> int:
        """Look a source up, and the folders that it lies in."""
        parts = source.split("/")
        names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return next((number for name in names if (number := self._numbers.get(("source", self.hash(name)), 0))), 0)

    def _text(self, text: str) -> int:
        found = [number for part in _slices(_folded(text)) if (number := self._slice(part))]
        return min(found, default=0)

    def _slice(self, folded: bytes) -> int:
        import numpy as np

        starts, ends = term_search.words(folded)
        slots = _slots(term_search.word_keys(folded, starts, ends), self.salt)
        for first in np.flatnonzero(self._starts[slots]).tolist():
            for length in self._lengths:
                run = zip(starts[first : first + length].tolist(), ends[first : first + length].tolist(), strict=True)
                phrase = b" ".join(folded[start:end] for start, end in run)
                if number := self._numbers.get(("text", self.hash(phrase)), 0):
                    return number
        return 0

    def hash(self, value: str | bytes) -> str:
        """Return the keyed hash of an id, a name or folded words."""
        raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        return blake2b(raw, key=self.salt, digest_size=20).hexdigest()

    def entry(self, kind: Kind, value: str, asked: str = "") -> Entry:
        """Return the entry for an id, a source or words.

        Raises: UserError for words that are none, or too many.
        """
        if kind != "text":
            return Entry(kind, self.hash(value.rstrip("/") if kind == "source" else value), asked)
        words = bytes(_folded(value)).replace(b"\0", b" ").split()
        if not 1 <= len(words) <= MOST_WORDS:
            raise UserError("--match", f"{value!r} has {len(words)} words", f"1 to {MOST_WORDS} words to look for")
        return Entry(kind, self.hash(b" ".join(words)), asked, len(words), _slot(words[0], self.salt))

    def holds(self, entry: Entry) -> bool:
        """Tell whether an entry is in the list already, whenever it was asked for."""
        return (entry.kind, entry.hash) in self._numbers

    def with_entries(self, entries: Iterable[Entry]) -> Forgotten:
        """Return the list with further entries."""
        return Forgotten(self.salt, [*self.entries, *(entry for entry in entries if not self.holds(entry))])

    def save(self, path: Path) -> None:
        """Write the list, whole or not at all."""
        rows = [{name: value for name, value in asdict(entry).items() if value} for entry in self.entries]
        write_rows(path, [{"salt": self.salt.hex(), "tuneloop": 1}, *rows])


def new() -> Forgotten:
    """Return an empty list with a salt of its own."""
    return Forgotten(secrets.token_bytes(16))


def load(path: Path | str) -> Forgotten:
    """Return the block list of a file.

    Raises: UserError with `file:line` for a row that is no entry.
    """
    rows = numbered_rows(path)
    number, head = next(rows, (1, {}))
    try:
        salt = bytes.fromhex(str(head.get("salt", "")))
    except ValueError:
        salt = b""
    if len(salt) != 16:
        raise UserError(f"{path}:{number}", "this is no block list (no salt in its first row)", _WRITE)
    return Forgotten(salt, [_entry(path, number, row) for number, row in rows])


def faults(key: Key, path: str) -> list[Fault]:
    """Return the mistake in a recipe that names a file which is no block list."""
    if not shipped(path).is_file():
        return []
    try:
        load(shipped(path))
    except UserError as error:
        return [Fault(key, f"{error.where}: {error.what}", error.write)]
    return []


_WRITE = "a file that `tuneloop forget` has written"


def _entry(path: Path | str, number: int, row: dict[str, object]) -> Entry:
    kind, digest, asked = row.get("kind"), row.get("hash"), row.get("asked", "")
    words, slot = row.get("words", 0), row.get("slot", 0)
    if kind not in KINDS or not isinstance(digest, str) or len(digest) != 40:
        raise UserError(f"{path}:{number}", f"no entry of a block list (kind {kind!r})", _WRITE)
    if not isinstance(words, int) or not isinstance(slot, int) or not 0 <= slot < 2**16:
        raise UserError(f"{path}:{number}", f"words {words!r} and slot {slot!r} are not whole numbers in range", _WRITE)
    if (kind == "text") != (1 <= words <= MOST_WORDS):
        raise UserError(f"{path}:{number}", f"an entry of kind {kind} with {words} words", _WRITE)
    return Entry(cast(Kind, kind), digest, str(asked), words, slot)


def _folded(text: str) -> bytes:
    return term_search.folded_bytes(term_search.clean(shingles.fold(text)))


def _slices(folded: bytes) -> Iterator[bytes]:
    """Cut a long text between words, with an overlap."""
    start, size = 0, term_search.SLICE
    while len(folded) - start > size:
        end = folded.rfind(b"\0", start, start + size)
        yield folded[start : end if end > start else start + size]
        later = folded.rfind(b"\0", start, start + size - OVERLAP)
        start = later if later > start else start + size - OVERLAP
    yield folded[start:]


def _slots(keys: term_search.Keys, salt: bytes) -> term_search.Keys:
    import numpy as np

    return ((keys ^ np.uint64(int.from_bytes(salt[:8], "little"))) * np.uint64(term_search.ODD)) >> np.uint64(48)


def _slot(word: bytes, salt: bytes) -> int:
    mixed = term_search.word_key(word) ^ int.from_bytes(salt[:8], "little")
    return (mixed * term_search.ODD % 2**64) >> 48
