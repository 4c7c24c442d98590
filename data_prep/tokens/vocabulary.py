"""Domain tokens for a byte-pair vocabulary that exists, each chosen by how many tokens it saves on the domain's texts.

Byte-pair learning goes on from where the vocabulary stands (Sennrich et al. 2016, https://arxiv.org/abs/1508.07909):
texts are split with the tokenizer as it is, and the pair of pieces within a word that occurs most often becomes a
token. That is the greedy choice by gain, frequency x (pieces - 1), with two pieces at each step, and it is counted
anew after every choice. New merges rank behind all old ones, so each text is first split as before and then some
neighbours are joined: what the tokens that stay mean does not change, decoding is the same, and the number of tokens
saved is known exactly. A long word's first pieces become tokens on the way; those that no text uses any more are
counted.

Left out: Unigram and WordPiece vocabularies, in which a new piece changes how other words are split.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

NEW_TOKENS = "new_tokens.json"
WORD_START = "▁"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
Word = tuple[int, ...]


@dataclass(frozen=True)
class NewToken:
    """A token to add: `left` and `right` are joined into it; `pieces` (ids) stood for it before; `saved` tokens."""

    token: str
    id: int
    left: str
    right: str
    pieces: list[int]
    saved: int


class Words:
    """Counts words, each as the pieces that a tokenizer makes of it."""

    def __init__(self, tokenizer: Any) -> None:
        values = json.loads(tokenizer.to_str())
        self.counts: Counter[Word] = Counter()
        self._tokenizer = tokenizer
        self._splits = values["pre_tokenizer"] is not None
        names = {number: token for token, number in tokenizer.get_vocab(with_added_tokens=True).items()}
        self.names = names
        self._apart = {entry["id"] for entry in values["added_tokens"]}
        if not self._splits:
            # SentencePiece marks where words start, and writes what it does not know as bytes.
            self._apart |= {number for number, token in names.items() if not _letters(token)}
        self._starts = {number for number, token in names.items() if token.startswith(WORD_START)}

    def add(self, texts: Sequence[str]) -> int:
        """Count the words of some texts; return how many tokens they have."""
        tokens = 0
        for encoded in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            ids = encoded.ids
            tokens += len(ids)
            self.counts.update(self._by_word(ids, encoded.word_ids) if self._splits else self._by_mark(ids))
        return tokens

    def used(self) -> set[int]:
        """Return the tokens that stand in the words counted."""
        return {number for word in self.counts for number in word}

    @staticmethod
    def _by_word(ids: list[int], words: list[int | None]) -> Iterable[Word]:
        start = 0
        for place in range(1, len(ids) + 1):
            if place == len(ids) or words[place] != words[start]:
                if place - start > 1:
                    yield tuple(ids[start:place])
                start = place

    def _by_mark(self, ids: list[int]) -> Iterable[Word]:
        word: list[int] = []
        for number in ids:
            if number in self._apart or number in self._starts:
                if len(word) > 1:
                    yield tuple(word)
                word = []
            if number not in self._apart:
                word.append(number)
        if len(word) > 1:
            yield tuple(word)


def _letters(token: str) -> bool:
    return token.removeprefix(WORD_START).isalpha() and not BYTE.fullmatch(token)


def choose(words: Words, most: int, min_count: int, first_id: int) -> list[NewToken]:
    """Return up to `most` tokens by gain, the largest first; none that saves fewer than `min_count` tokens.

    Pairs whose text is a token already are passed over; of equal gains the text that sorts first is taken. The words
    are left as the new tokens split them.
    """
    state = _Pairs(words)
    pieces: dict[int, list[int]] = {}
    found: list[NewToken] = []
    taken = set(words.names.values())
    while len(found) < most and (best := state.best()) is not None:
        (left, right), saved = best
        if saved < min_count:
            break
        token = words.names[left] + words.names[right]
        if token in taken:
            state.pass_over((left, right))
            continue
        number = first_id + len(found)
        pieces[number] = [*pieces.get(left, [left]), *pieces.get(right, [right])]
        found.append(NewToken(token, number, words.names[left], words.names[right], pieces[number], saved))
        taken.add(token)
        words.names[number] = token
        state.join((left, right), number)
    words.counts = state.words()
    return found


class _Pairs:
    """How often each pair of neighbours occurs, kept right while pairs are joined."""

    def __init__(self, words: Words) -> None:
        self._names = words.names
        # In an order that does not depend on the order of the texts.
        self._words = [(list(word), count) for word, count in sorted(words.counts.items())]
        self._counts: Counter[tuple[int, int]] = Counter()
        self._where: dict[tuple[int, int], set[int]] = defaultdict(set)
        self._passed: set[tuple[int, int]] = set()
        for index in range(len(self._words)):
            self._count(index, 1)
        self._heap = [self._entry(pair) for pair in self._counts]
        heapq.heapify(self._heap)

    def best(self) -> tuple[tuple[int, int], int] | None:
        """Return the most frequent pair and its count."""
        while self._heap:
            count, _, pair = self._heap[0]
            now = self._counts.get(pair, 0)
            if pair in self._passed or now != -count:
                heapq.heappop(self._heap)
                if now > 0 and pair not in self._passed:
                    heapq.heappush(self._heap, self._entry(pair))
            elif now <= 0:
                return None
            else:
                return pair, now
        return None

    def words(self) -> Counter[Word]:
        """Return the words as they are now."""
        found: Counter[Word] = Counter()
        for word, count in self._words:
            found[tuple(word)] += count
        return found

    def pass_over(self, pair: tuple[int, int]) -> None:
        """Never choose this pair."""
        self._passed.add(pair)

    def join(self, pair: tuple[int, int], number: int) -> None:
        """Replace a pair by its token in all words."""
        for index in sorted(self._where[pair]):
            self._count(index, -1)
            self._words[index] = (joined(self._words[index][0], pair, number), self._words[index][1])
            self._count(index, 1, fresh=True)
        del self._where[pair]

    def _count(self, index: int, sign: int, *, fresh: bool = False) -> None:
        word, count = self._words[index]
        for pair, times in occurrences(word).items():
            self._counts[pair] += sign * count * times
            if sign > 0:
                self._where[pair].add(index)
                if fresh:
                    heapq.heappush(self._heap, self._entry(pair))
            elif self._counts[pair] == 0:
                del self._counts[pair]

    def _entry(self, pair: tuple[int, int]) -> tuple[int, tuple[str, str], tuple[int, int]]:
        return -self._counts[pair], (self._names[pair[0]], self._names[pair[1]]), pair


def occurrences(word: Sequence[int]) -> Counter[tuple[int, int]]:
    """Return how often each pair can be joined in a word: of `a a a`, the pair `a a` once."""
    found: Counter[tuple[int, int]] = Counter()
    last: dict[tuple[int, int], int] = {}
    for place, pair in enumerate(zip(word, word[1:], strict=False)):
        if pair[0] != pair[1] or last.get(pair) != place - 1:
            found[pair] += 1
            last[pair] = place
    return found


def joined(word: Sequence[int], pair: tuple[int, int], number: int) -> list[int]:
    """Return a word with a pair replaced by its token, from left to right."""
    found: list[int] = []
    place = 0
    while place < len(word):
        if place + 1 < len(word) and (word[place], word[place + 1]) == pair:
            found.append(number)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found


def extended(values: dict[str, Any], new: Sequence[NewToken]) -> dict[str, Any]:
    """Return the content of tokenizer.json with new tokens and merges at the end; every old token keeps its id."""
    model = dict(values["model"])
    vocabulary, merges = dict(model["vocab"]), list(model["merges"])
    for entry in values["added_tokens"]:
        # The library would give a token that stands only among the added ones a new id behind the larger vocabulary.
        vocabulary.setdefault(entry["content"], entry["id"])
    as_text = bool(merges) and isinstance(merges[0], str)
    for token in new:
        vocabulary[token.token] = token.id
        merges.append(f"{token.left} {token.right}" if as_text else [token.left, token.right])
    return {**values, "model": {**model, "vocab": vocabulary, "merges": merges}}
