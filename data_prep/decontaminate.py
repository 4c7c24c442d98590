"""Find evaluation questions in training documents.

Two ways, both on folded words (`data_prep.shingles`), so that case, punctuation and white space hide nothing:

- **runs**: a question of at least `ngram` words is found by any run of `ngram` words of it (13, Brown et al. 2020,
  appendix C); a shorter one only as a whole. Questions of fewer than `SHORTEST` words ("What is acne?") stand in many
  honest texts and are left out; how many is reported. In scripts without blanks a letter counts as a word, and a
  question needs twice as many.
- **near-duplicates**: a question of at least `LONG` words is also found where a stretch of a document holds `likeness`
  of its runs of `PIECE` words: a few changed words leave no run of 13, but most runs of 3. Pieces that more than
  `TEMPLATE` questions have ("clinical trials are being done for") do not count, and a question is searched for in this
  way only if it has `DISTINCT` others.

What counts as the question of a row: the columns in `QUESTION`, and of messages the user's. Answers and references are
not searched for unless their columns are named: that a document tells the fact which a test asks for is what training
is about. A row with none of these columns is searched with all its texts.

Left out: questions in other words.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import shingles
from data_prep.files import columnar, tables
from data_prep.filters import Drop
from data_prep.records import Document
from recipes.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = shingles.Hashes

QUESTION = ("question", "prompt", "instruction", "query", "text", "messages", "input")
SHORTEST = 5
LONG = 12  # words: of a shorter question too few pieces are left to tell a near-duplicate from chance
PIECE = 3
TEMPLATE = 3
DISTINCT = 8
NAMED = 50  # questions that one run of words names: what more have in common is their set's template
CONTEXT = 80  # characters shown on either side of a hit


@dataclass(frozen=True)
class Item:
    """One evaluation question and where it stands."""

    file: str
    line: int
    text: str


@dataclass(frozen=True)
class Hit:
    """An evaluation question found in a document, with the words shared and the place in the document's text.

    `likeness` is 1 for a run of words, else the share of the question's pieces that the document holds.
    """

    item: Item
    shared: str
    excerpt: str
    likeness: float = 1.0


@dataclass
class Questions:
    """An index of evaluation questions: for each length of run, its hash and the question; and pieces of long ones."""

    ngram: int = 13
    likeness: float = 0.0  # 0: near-duplicates are not looked for
    items: int = 0
    too_short: int = 0
    _runs: dict[int, dict[int, list[Item]]] = field(default_factory=dict)
    _sorted: dict[int, Hashes] = field(default_factory=dict)
    _long: dict[tuple[str, ...], tuple[Item, Hashes]] = field(default_factory=dict)
    _pieces: _Pieces | None = None

    def add(self, item: Item) -> None:
        """Take a question into the index."""
        words = shingles.words(item.text)
        if len(words) < SHORTEST * (2 if shingles.unspaced(item.text) else 1):
            self.too_short += 1
            return
        self.items += 1
        self._sorted.clear()
        length = min(len(words), self.ngram)
        known = self._runs.setdefault(length, {})
        of_words = shingles.hashes(words)
        for run in shingles.runs(of_words, length).tolist():
            named = known.setdefault(run, [])
            if len(named) < NAMED and named[-1:] != [item]:
                named.append(item)
        if self.likeness and len(words) >= LONG:
            self._pieces = None
            # The same question in several files is one question.
            self._long.setdefault(tuple(words), (item, shingles.runs(of_words, PIECE)))

    def hits(self, text: str) -> list[Hit]:
        """Return the questions found in a text, each once, in the order of the text."""
        of_words = shingles.text_hashes(text)
        places: dict[Item, tuple[int, int]] = {}
        for length, runs in shingles.runs_of_each_length(of_words, max(self._runs, default=0)):
            if length in self._runs:
                for position, items in self._found(shingles.scramble(runs), length):
                    for item in items:
                        places.setdefault(item, (position, length))
        near = {found[0]: found for found in self._near(of_words) if found[0] not in places} if self._long else {}
        if not places and not near:
            return []
        # Folding can change how many words there are only for rare compatibility characters; the excerpt may then
        # start a word too early or too late, the hit itself is certain.
        spans = [match.span() for match in re.finditer(shingles.WORD, text)]
        found = [(place, _hit(text, spans, item, *place, 1.0)) for item, place in places.items()]
        found += [((start, length), _hit(text, spans, item, start, length, share))
                  for item, start, length, share in near.values()]  # fmt: skip
        return [hit for _, hit in sorted(found, key=lambda pair: (pair[0], pair[1].item.file, pair[1].item.line))]

    def _found(self, runs: Hashes, length: int) -> Iterator[tuple[int, list[Item]]]:
        import numpy as np

        if length not in self._sorted:
            self._sorted[length] = np.array(sorted(self._runs[length]), dtype=np.uint64)
        known = self._sorted[length]
        # Few questions against many runs: a binary search for each run is several times faster than np.isin.
        nearest = np.minimum(np.searchsorted(known, runs), len(known) - 1)
        for position in np.flatnonzero(known[nearest] == runs).tolist():
            yield position, self._runs[length][int(runs[position])]

    def _near(self, of_words: Hashes) -> Iterator[tuple[Item, int, int, float]]:
        """Yield questions of which a stretch of the text holds enough pieces: item, first word, words, share."""
        if self._pieces is None:
            self._pieces = _Pieces(list(self._long.values()))
        yield from self._pieces.near(shingles.runs(of_words, PIECE), self.likeness)


class _Pieces:
    """The pieces of all long questions, sorted, with the questions that hold each."""

    def __init__(self, questions: Sequence[tuple[Item, Hashes]]) -> None:
        import numpy as np

        self._items = [item for item, _ in questions]
        unique = [np.unique(pieces) for _, pieces in questions]
        pieces = np.concatenate(unique)
        owners = np.repeat(np.arange(len(unique)), [len(one) for one in unique])
        _, place, counts = np.unique(pieces, return_inverse=True, return_counts=True)
        distinct = counts[place] <= TEMPLATE
        sizes = np.bincount(owners[distinct], minlength=len(unique))
        chosen = distinct & (sizes[owners] >= DISTINCT)
        order = np.argsort(pieces[chosen], kind="stable")
        self._sizes = np.where(sizes >= DISTINCT, sizes, 0)
        self._owners = owners[chosen][order]
        self._keys, self._starts = np.unique(pieces[chosen][order], return_index=True)
        self._ends = np.append(self._starts[1:], len(order))

    def near(self, runs: Hashes, likeness: float) -> Iterator[tuple[Item, int, int, float]]:
        """Yield question, first word, number of words and share of pieces found."""
        import numpy as np

        if not len(self._keys):
            return
        nearest = np.minimum(np.searchsorted(self._keys, runs), len(self._keys) - 1)
        places = np.flatnonzero(self._keys[nearest] == runs)
        if not len(places):
            return
        keys = nearest[places]
        counts = self._ends[keys] - self._starts[keys]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        owners = self._owners[np.repeat(self._starts[keys], counts) + offsets]
        pieces, positions = np.repeat(keys, counts), np.repeat(places, counts)
        # At least so many places must match before the pieces themselves are counted.
        enough = np.bincount(owners, minlength=len(self._sizes)) >= likeness * self._sizes
        for owner in np.flatnonzero(enough & (self._sizes > 0)).tolist():
            mine = owners == owner
            found = _densest(positions[mine], pieces[mine], int(self._sizes[owner]))
            if found[2] >= likeness:
                yield self._items[owner], found[0], found[1], found[2]


def _densest(positions: NDArray[np.int64], pieces: NDArray[np.int64], size: int) -> tuple[int, int, float]:
    """Return first word, words and share of pieces of the stretch, twice as long as the question, that holds most."""
    import numpy as np

    width = 2 * (size + PIECE)
    best = (0, 0, 0.0)
    for start in range(len(positions)):
        end = int(np.searchsorted(positions, positions[start] + width))
        if (end - start) / size <= best[2]:
            continue
        share = len(np.unique(pieces[start:end])) / size
        if share > best[2]:
            best = (int(positions[start]), int(positions[end - 1] - positions[start]) + PIECE, share)
    return best


def index(
    paths: Sequence[Path | str], ngram: int = 13, *, likeness: float = 0.0, columns: Iterable[str] = ()
) -> Questions:
    """Return the questions of evaluation sets (`asked`), indexed.

    `columns` are searched for besides the questions' own: answers, say.

    Raises: UserError for a row that cannot be read, and for a set without any question: it would count as searched for.
    """
    questions = Questions(ngram, likeness)
    for path in paths:
        before = questions.items + questions.too_short
        for item in asked([path], tuple(columns)):
            questions.add(item)
        if questions.items + questions.too_short == before:
            raise UserError(str(path), "there is no question in it", f"a table with a column {', '.join(QUESTION)}")
    return questions


def asked(paths: Iterable[Path | str], further: Sequence[str] = ()) -> Iterator[Item]:
    """Yield the questions of evaluation sets: of tables of any format, or of all tables in folders.

    Raises: UserError with `file:line` for a row that cannot be read: an unread question would not be looked for.
    """
    for path in map(Path, paths):
        if there := columnar.splits(path):
            raise UserError(
                str(path), f"a data set of splits {', '.join(there)}", "name the folder of the one to look for"
            )
        for file in tables.files(path):
            if file != path and tables.is_empty(file):  # a result's file for rows that there were none of
                continue
            for line, row in tables.rows_of(file):
                if isinstance(row, ValueError):
                    raise UserError(f"{file}:{line}", str(row), "repair this row of the evaluation set")
                yield from (Item(str(file), line, text) for text in texts(row, further))


def save(questions: Questions, path: Path) -> None:
    """Write an index for worker processes."""
    from data_prep.engine.phases import replacing

    with replacing(path) as stream:
        pickle.dump(questions, stream, protocol=5)


def load(path: Path) -> Questions:
    """Return an index that `save` wrote."""
    with path.open("rb") as stream:
        found: Questions = pickle.load(stream)
    return found


def check(questions: Questions, listed: list[dict[str, Any]]) -> Callable[[Document], Drop | None]:
    """Return a check that drops documents with evaluation questions in them and lists each hit with both texts."""

    def checked(document: Document) -> Drop | None:
        hits = questions.hits(document.text)
        listed.extend(
            {"document": document.id, "excerpt": hit.excerpt, "shared": hit.shared,
             "evaluation": f"{hit.item.file}:{hit.item.line}", "question": hit.item.text,
             "likeness": round(hit.likeness, 3)}
            for hit in hits
        )  # fmt: skip
        if not hits:
            return None
        last = hits[-1].item
        number = "an evaluation question" if len(hits) == 1 else f"{len(hits)} evaluation questions, such as"
        return Drop("contaminated", f"{number} {last.file}:{last.line}")

    return checked


def texts(row: dict[str, Any], further: Sequence[str] = ()) -> list[str]:
    """Return what a row asks, and what stands in further columns."""
    columns = [row[name] for name in QUESTION if name in row] or list(row.values())
    columns += [row[name] for name in further if name in row and name not in QUESTION]
    return [text for column in columns for text in _strings(column) if text.strip()]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        if "role" in value and "content" in value:
            yield from _strings(value["content"]) if value["role"] == "user" else ()
        else:
            for item in value.values():
                yield from _strings(item)


def _hit(text: str, spans: list[tuple[int, int]], item: Item, position: int, length: int, share: float) -> Hit:
    last = min(position + length, len(spans)) - 1
    start, end = spans[min(position, last)][0], spans[last][1]
    shared = " ".join(text[start:end].split())
    return Hit(item, shared, " ".join(text[max(0, start - CONTEXT) : end + CONTEXT].split()), share)
