"""Of whom a corpus speaks: counts of demographic terms, and which words stand in the same sentences.

The terms are in `demographic_terms.yaml`, which says how to edit it. Groups of one axis (women and men, say) are
compared with each other: for each attribute word, the odds that a sentence which mentions the group has the word,
against those of sentences which mention another group of the axis. The log odds ratio has 0.5 added to each count
(Haldane 1956, Anscombe 1956) and a normal 95 % interval that holds for all comparisons of an axis at once (Bonferroni),
so that a few sentences among thousands of comparisons do not shout. Pointwise mutual information against the whole
corpus (Church and Hanks 1990), in bits, is given beside it.

What it does not do: tell who is meant by a word, or whether a sentence agrees with what it says. Sentences of one
document are no independent draws, so the intervals are too narrow where few documents give many sentences; how many
documents there are is given with each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from recipes.errors import UserError

if TYPE_CHECKING:
    from data_prep.governance.term_search import Hits, Search

SHIPPED = Path(__file__).with_name("demographic_terms.yaml")
WORDS_IN_TERM = 3
CONFIDENCE = 0.95
FEWEST_DOCUMENTS = 5


@dataclass(frozen=True)
class Terms:
    """A word list: its entries, the forms of each that are searched for, and the list's SHA-256."""

    places: tuple[tuple[str, str, str], ...]  # (axis, group, term), or ("", set, word) for attribute words
    forms: tuple[str, ...]
    of_form: tuple[int, ...]  # the entry that each form counts for
    digest: str

    @cache  # noqa: B019 - one list a process
    def search(self) -> Search:
        """Return the index of the forms."""
        from data_prep.governance.term_search import Search

        return Search(self.forms)


@cache
def load(path: Path | str = SHIPPED) -> Terms:
    """Return a word list.

    Raises: UserError that names what is wrong with it.
    """
    import yaml

    raw = Path(path).read_bytes()
    try:
        content = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise UserError(str(path), f"not YAML ({error})", "a list as in demographic_terms.yaml") from error
    places: list[tuple[str, str, str]] = []
    forms: dict[str, int] = {}
    for axis, group, entry in _entries(content, path):
        spelled = [form.strip() for form in str(entry).split("/")]
        for form in spelled:
            _check(form, forms, path)
            forms[form] = len(places)
        places.append((axis, group, spelled[0]))
    return Terms(tuple(places), tuple(forms), tuple(forms.values()), sha256(raw).hexdigest())


def _entries(content: Any, path: Path | str) -> Iterable[tuple[str, str, object]]:
    write = "two mappings, `groups` (axis: group: terms) and `attributes` (set: words)"
    if not isinstance(content, dict) or content.keys() != {"groups", "attributes"}:
        raise UserError(str(path), "this is no list of demographic terms", write)
    axes = [*content["groups"].items(), ("", content["attributes"])]
    for axis, groups in axes:
        for group, terms in groups.items() if isinstance(groups, dict) else [(axis, None)]:
            if not isinstance(terms, list) or not terms:
                raise UserError(str(path), f"{axis or 'attributes'}: {group} has no list of terms", write)
            yield from ((axis, group, term) for term in terms)


def _check(form: str, known: Mapping[str, int], path: Path | str) -> None:
    from data_prep.governance.term_search import fold

    words = len(fold(form))
    if not 1 <= words <= WORDS_IN_TERM:
        raise UserError(str(path), f"the term {form!r} has {words} words", f"one to {WORDS_IN_TERM} words")
    if form in known:
        raise UserError(str(path), f"the term {form!r} stands twice", "each term in one place")


class Counts:
    """What was counted; its size is bounded by the word list, not by the corpus.

    Mentions are counted by term; sentences and documents by group and by attribute word, and by pairs of the two.
    """

    def __init__(self, terms: Terms | None = None) -> None:
        import numpy as np

        self.terms = terms or load()
        self._groups = list(dict.fromkeys(place[:2] for place in self.terms.places if place[0]))
        self._words = [place[1:] for place in self.terms.places if not place[0]]
        units = {place: number for number, place in enumerate([*self._groups, *self._words])}
        self._unit = np.array([units[place[:2] if place[0] else place[1:]] for place in self.terms.places])
        self._entry = np.array(self.terms.of_form)
        self.sentences = 0
        self._mentions = np.zeros(len(self.terms.places), dtype=np.int64)
        # The last axis: sentences, documents.
        self._units = np.zeros((len(units), 2), dtype=np.int64)
        self._pairs = np.zeros((len(self._groups), len(self._words), 2), dtype=np.int64)

    def add(self, texts: Sequence[bytes]) -> None:
        """Count in whole texts, as `term_search.clean` gives them."""
        hits = self.terms.search().find(texts)
        self.sentences += hits.sentences
        if len(hits.term):
            self._count(hits)

    def _count(self, hits: Hits) -> None:
        import numpy as np

        entry = self._entry[hits.term]
        unit = self._unit[entry]
        self._mentions += np.bincount(entry, minlength=len(self._mentions))
        many = len(self._units)
        for column, where in enumerate((hits.sentence, hits.document)):
            once = np.unique(where * many + unit) % many
            self._units[:, column] += np.bincount(once, minlength=many)
        pair, document = self._together(hits, unit)
        flat = self._pairs.reshape(-1, 2)
        flat[:, 0] += np.bincount(pair, minlength=len(flat))
        flat[:, 1] += np.bincount(np.unique(document * len(flat) + pair) % len(flat), minlength=len(flat))

    def _together(self, hits: Hits, unit: Any) -> tuple[Any, Any]:
        """Return each (group, attribute word) in one sentence, once a sentence, and its document."""
        import numpy as np

        many, groups = len(self._units), len(self._groups)
        once, first = np.unique(hits.sentence * many + unit, return_index=True)
        sentence, unit, document = once // many, once % many, hits.document[first]
        of_group, of_word = np.flatnonzero(unit < groups), np.flatnonzero(unit >= groups)
        start = np.searchsorted(sentence[of_group], sentence[of_word], side="left")
        count = np.searchsorted(sentence[of_group], sentence[of_word], side="right") - start
        word = np.repeat(of_word, count)
        # Within the run of each attribute word: its sentence's first group, second group, ...
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        group = of_group[np.repeat(start, count) + within]
        return unit[group] * len(self._words) + unit[word] - groups, document[word]

    def merge(self, other: Counts) -> None:
        """Add what was counted elsewhere with the same list."""
        assert self.terms.digest == other.terms.digest, "counted with two lists of terms"
        self.sentences += other.sentences
        self._mentions += other._mentions
        self._units += other._units
        self._pairs += other._pairs

    def row(self) -> dict[str, Any]:
        """Return the counts as JSON: nested by names, zeros left out."""
        row: dict[str, Any] = {"list": self.terms.digest, "sentences": self.sentences}
        row |= {"groups": {}, "attributes": {}, "pairs": {}}
        mentions = zip(self.terms.places, self._mentions.tolist(), strict=True)
        sizes = self._units.tolist()
        for (axis, group), size in zip(self._groups, sizes, strict=False):
            row["groups"].setdefault(axis, {})[group] = {"sentences": size[0], "documents": size[1], "terms": {}}
        for (kind, word), size in zip(self._words, sizes[len(self._groups) :], strict=True):
            if any(size):
                row["attributes"].setdefault(kind, {})[word] = size
        for (axis, group, term), count in mentions:
            if axis and count:
                row["groups"][axis][group]["terms"][term] = count
        for number, word in zip(*(index.tolist() for index in self._pairs[:, :, 0].nonzero()), strict=True):
            axis, group = self._groups[number]
            of_group = row["pairs"].setdefault(axis, {}).setdefault(group, {})
            of_group[self._words[word][1]] = self._pairs[number, word].tolist()
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any], terms: Terms | None = None) -> Counts:
        """Return the counts that `row` gave."""
        counts = cls(terms)
        assert counts.terms.digest == row["list"], "counted with another list of terms"
        entries = {place: number for number, place in enumerate(counts.terms.places)}
        groups = {place: number for number, place in enumerate(counts._groups)}
        words = {word: number for number, (_, word) in enumerate(counts._words)}
        counts.sentences = row["sentences"]
        for axis, of_axis in row["groups"].items():
            for group, said in of_axis.items():
                counts._units[groups[axis, group]] = said["sentences"], said["documents"]
                for term, count in said["terms"].items():
                    counts._mentions[entries[axis, group, term]] = count
        for of_kind in row["attributes"].values():
            for word, size in of_kind.items():
                counts._units[len(groups) + words[word]] = size
        for axis, of_axis in row["pairs"].items():
            for group, together in of_axis.items():
                for word, size in together.items():
                    counts._pairs[groups[axis, group], words[word]] = size
        return counts


def summed(rows: Sequence[Any]) -> Any:
    """Return rows of tallies or counts added up, name by name; texts must be equal."""
    first = rows[0] if rows else {}
    if isinstance(first, Mapping):
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: summed([row[name] for row in rows if name in row]) for name in names}
    if isinstance(first, list | tuple):
        return [sum(column) for column in zip(*rows, strict=True)]
    return first if isinstance(first, str) else sum(rows)


@dataclass(frozen=True)
class Association:
    """How much more, or less, often an attribute word stands beside a group than beside the axis's other groups."""

    axis: str
    group: str
    kind: str
    word: str
    sentences: int
    documents: int
    log_odds: float
    low: float
    high: float
    information: float  # pointwise mutual information with the group over the whole corpus, bits

    @property
    def clear(self) -> bool:
        """Return whether the word stands more with this group, surely, and in more than a handful of documents."""
        return self.low > 0 and self.documents >= FEWEST_DOCUMENTS


def associations(row: Mapping[str, Any]) -> list[Association]:
    """Return every association of every axis that can be judged, the surest first."""
    kinds = {word: (kind, size[0]) for kind, words in row["attributes"].items() for word, size in words.items()}
    found = [one for axis in row["groups"] for one in _of_axis(axis, row, kinds)]
    return sorted(found, key=lambda one: (-one.low, one.axis, one.group, one.word))


def _of_axis(axis: str, row: Mapping[str, Any], kinds: Mapping[str, tuple[str, int]]) -> list[Association]:
    said = {group: size["sentences"] for group, size in row["groups"][axis].items() if size["documents"]}
    together = row["pairs"].get(axis, {})
    # A word that too few documents set beside any group cannot be judged, and counts as no comparison.
    documents = Counter[str]()
    for pairs in together.values():
        documents.update({word: size[1] for word, size in pairs.items()})
    words = {word for word, count in documents.items() if count >= FEWEST_DOCUMENTS}
    compared = [(group, word) for group in said for word in sorted(words & together.get(group, {}).keys())]
    width = _width(len(compared))
    found = []
    for group, word in compared if len(said) > 1 else ():
        sentences, seen = together[group][word]
        elsewhere = sum(pairs.get(word, (0, 0))[0] for other, pairs in together.items() if other != group)
        ratio, error = _log_odds(sentences, said[group], elsewhere, sum(said.values()) - said[group])
        kind, anywhere = kinds[word]
        information = math.log2(sentences * row["sentences"] / (said[group] * anywhere))
        found.append(Association(axis, group, kind, word, sentences, seen, ratio,
                                 ratio - width * error, ratio + width * error, information))  # fmt: skip
    return found


def _log_odds(having: int, all_: int, others_having: int, others: int) -> tuple[float, float]:
    """Return the natural logarithm of the odds ratio, and its standard error."""
    cells = (having + 0.5, all_ - having + 0.5, others_having + 0.5, others - others_having + 0.5)
    return math.log(cells[0] * cells[3] / (cells[1] * cells[2])), math.sqrt(sum(1 / cell for cell in cells))


def _width(comparisons: int) -> float:
    """Return half the width of an interval, in standard errors, that holds for so many comparisons at once."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * max(1, comparisons)))
