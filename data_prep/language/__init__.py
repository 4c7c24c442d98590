"""Which language a text is in: the script first, then the likelihood of its character 3- and 4-grams.

Scripts that one language owns in practice (Hangul, Georgian, Tamil, ...) decide by themselves; kana make Han characters
Japanese. Among the languages of the Latin, Cyrillic, Arabic and Devanagari scripts a naive Bayes classifier over
character n-grams of words decides (Cavnar and Trenkle 1994; Dunning 1994): the score of a language is the sum over the
text's 3- and 4-grams of log(P(gram | language) + floor). `make_profiles` says where the probabilities come from.

The confidence is a softmax of the scores, cooled since n-grams of one word are not independent; the temperature is set
so that on short texts it agrees with the share of right answers. A text whose n-grams the best language hardly knows
(random letters, a language of another kind) gets the confidence 0. Measured by `benchmarks/quality_detection.py`.

Left out: languages beyond those listed, dialects, several languages inside one line, romanised text. Close relatives
that are not listed come out as their neighbour (Malay as Indonesian, Galician as Portuguese or Spanish).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Scripts whose n-grams are looked at, each with its languages.
SHARED = {
    "Latin": "af ca cs cy da de en es et fi fr hr hu id it lt lv nb nl pl pt ro sk sl so sq sv sw tl tr vi".split(),
    "Cyrillic": "bg mk ru uk".split(),
    "Arabic": "ar fa ur".split(),
    "Devanagari": "hi mr ne".split(),
    "Greek": ["el"],
    "Hebrew": ["he"],
    "Thai": ["th"],
}
# Scripts that decide alone: language, first and last code point.
OWNED = {
    "hy": (0x530, 0x58F), "bn": (0x980, 0x9FF), "pa": (0xA00, 0xA7F),
    "gu": (0xA80, 0xAFF), "or": (0xB00, 0xB7F), "ta": (0xB80, 0xBFF), "te": (0xC00, 0xC7F), "kn": (0xC80, 0xCFF),
    "ml": (0xD00, 0xD7F), "si": (0xD80, 0xDFF), "lo": (0xE80, 0xEFF), "bo": (0xF00, 0xFFF),
    "my": (0x1000, 0x109F), "ka": (0x10A0, 0x10FF), "am": (0x1200, 0x137F), "km": (0x1780, 0x17FF),
    "ja": (0x3040, 0x30FF), "zh": (0x3400, 0x9FFF), "ko": (0xAC00, 0xD7AF),
}  # fmt: skip
_MIXED = {
    "Greek": (0x370, 0x3FF), "Cyrillic": (0x400, 0x52F), "Hebrew": (0x590, 0x5FF), "Arabic": (0x600, 0x77F),
    "Devanagari": (0x900, 0x97F), "Thai": (0xE00, 0xE7F),
}  # fmt: skip
_NAMES = ["", "Latin", *_MIXED, *OWNED]  # 0 is the blank; 1 stands for every script that is not listed, too
_JA, _ZH = _NAMES.index("ja"), _NAMES.index("zh")
LANGUAGES = tuple(sorted([*OWNED, *(language for languages in SHARED.values() for language in languages)]))

PROFILES = Path(__file__).with_name("profiles.safetensors")
_IN_WORDS = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Cf"}  # Unicode categories of letters, marks and joiners
_WINDOW = 300  # characters; a text is judged by three such windows, and by more of it only if they leave a doubt
_LONG = 20_000
_SURE = 0.95
_COOLING = 0.12
_KNOWN = 0.2  # share of the 3-grams that the best language must know
_FEWEST_LETTERS = 12  # of Latin text
_SLOTS = 20  # bits of the table from a gram's hash to its row


class Guess(NamedTuple):
    """A language's two-letter code and how sure it is, from 0 to 1."""

    language: str
    confidence: float


def identify(text: str) -> Guess:
    """Return the most likely language of a text, with confidence 0 where the text gives no evidence."""
    if len(text) > 3 * _WINDOW:
        last = len(text) - _WINDOW
        starts = (last // 6, last // 2, last * 5 // 6)
        guess = _judge("\n".join(text[start : start + _WINDOW] for start in starts))
        if guess.confidence >= _SURE:
            return guess
    return _judge(text[:_LONG])


class Fit(NamedTuple):
    """How much likelier a text is in a language than as random letters (in nats), and how many 3-grams are known."""

    gain: float
    known: float


def best_fit(text: str, languages: Sequence[str]) -> Fit:
    """Return how well a text fits the one of some languages that it fits best."""
    import numpy as np

    model = _model()
    rows, trigrams = model.rows(words(text))
    columns = [model.languages.index(language) for language in languages]
    weights = model.weights.take(rows, axis=0)[:, columns]
    gains = weights.sum(axis=0)
    best = int(gains.argmax())
    return Fit(float(gains[best]), float(np.count_nonzero(weights[:trigrams, best]) / max(trigrams, 1)))


def _judge(text: str) -> Guess:
    if text.isascii():
        points = words(text)
        return _most_likely(points, "Latin") if len(points) > _FEWEST_LETTERS else Guess("", 0.0)
    points = words(unicodedata.normalize("NFC", text))
    script, share = _script(points)
    return _most_likely(points, script) if script in SHARED else Guess(script, share)


def words(text: str) -> NDArray[np.uint32]:
    """Return the code points of a text in lower case, with one blank before, between and after its words."""
    import numpy as np

    points = np.frombuffer(f" {text.lower()} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    points = _letter_table()[np.minimum(points, 0xFFFF)]
    blank = points == ord(" ")
    kept: NDArray[np.uint32] = points[np.append(~(blank[1:] & blank[:-1]), True)]
    return kept


@cache
def _letter_table() -> NDArray[np.uint32]:
    """Return each code point of the Basic Multilingual Plane as itself if it is part of words, else as a blank.

    Vowel signs and other marks are part of words. All letters beyond the plane, and U+FFFE, are one unknown letter.
    """
    import numpy as np

    table = np.full(0x10000, ord(" "), np.uint32)
    for point in range(0x10000):
        if unicodedata.category(chr(point)) in _IN_WORDS:
            table[point] = point
    table[0xFFFE:] = 0xFFFE
    return table


def _script(points: NDArray[np.uint32]) -> tuple[str, float]:
    """Return the script (or the language that owns it) of most letters, and its share of them.

    A Han or Hangul character says about as much as half a word, so other scripts count double against Latin letters.
    """
    import numpy as np

    counts = np.bincount(_script_table()[points], minlength=len(_NAMES))
    counts[2:] *= 2
    if counts[_JA] * 10 > counts[_JA] + counts[_ZH]:
        counts[_JA] += counts[_ZH]
        counts[_ZH] = 0
    total = int(counts[1:].sum())
    best = int(counts[1:].argmax()) + 1
    return (_NAMES[best], float(counts[best]) / total) if total else ("", 0.0)


@cache
def _script_table() -> NDArray[np.uint8]:
    import numpy as np

    table = np.ones(0x10000, np.uint8)
    table[ord(" ")] = 0
    for name, (first, last) in {**_MIXED, **OWNED}.items():
        table[first : last + 1] = _NAMES.index(name)
    return table


def _most_likely(points: NDArray[np.uint32], script: str) -> Guess:
    """Return the language of a script whose n-grams fit best."""
    import numpy as np

    model = _model()
    candidates = model.columns[script]
    rows, trigrams = model.rows(points)
    scores = model.weights.take(rows[rows > 0], axis=0).sum(axis=0)[candidates] * _COOLING
    best = int(scores.argmax())
    known = int(np.count_nonzero(model.weights[rows[:trigrams], candidates[best]]))
    if known <= _KNOWN * trigrams:
        return Guess("", 0.0)
    confidence = 1 / float(np.exp(scores - scores[best]).sum())
    return Guess(model.languages[candidates[best]], confidence)


def hashes(points: NDArray[np.uint32], length: int) -> NDArray[np.uint32]:
    """Return a 32-bit hash of each run of `length` code points."""
    import numpy as np

    total = np.full(max(len(points) - length + 1, 0), length, np.uint32)
    for place in range(length):
        total *= np.uint32(0x01000193)
        total ^= points[place : place + len(total)]
        total *= np.uint32(0x9E3779B1)
        total ^= total >> np.uint32(15)
    return total


class _Model:
    """Profiles made ready: a row of weights for each n-gram, a column for each language, row 0 for unknown n-grams."""

    def __init__(self) -> None:
        import json

        import numpy as np
        from safetensors import safe_open

        with safe_open(PROFILES, "np") as stream:
            self.languages: list[str] = json.loads(stream.metadata()["languages"])
            scale = float(stream.metadata()["scale"])
            keys, counts, columns, values = (
                stream.get_tensor(name) for name in ("keys", "counts", "columns", "values")
            )
        self.keys = np.concatenate([np.zeros(1, np.uint32), keys])
        self.weights: NDArray[np.float32] = np.zeros((len(self.keys), len(self.languages)), np.float32)
        self.weights[np.repeat(np.arange(len(keys)) + 1, counts), columns] = values * np.float32(scale)
        # Rows come in the order of their worth: where two share a slot, the first one stays.
        self.slots = np.zeros(2**_SLOTS, np.int32)
        order = np.arange(len(keys), 0, -1)
        self.slots[self.keys[order] >> np.uint32(32 - _SLOTS)] = order
        self.columns = {
            script: np.array([self.languages.index(language) for language in languages])
            for script, languages in SHARED.items()
        }

    def rows(self, points: NDArray[np.uint32]) -> tuple[NDArray[np.int32], int]:
        """Return the row of each 3-gram and 4-gram, and how many 3-grams there are."""
        import numpy as np

        trigrams = hashes(points, 3)
        grams = np.concatenate([trigrams, hashes(points, 4)])
        rows = self.slots[grams >> np.uint32(32 - _SLOTS)]
        return np.where(self.keys[rows] == grams, rows, 0), len(trigrams)


@cache
def _model() -> _Model:
    return _Model()
