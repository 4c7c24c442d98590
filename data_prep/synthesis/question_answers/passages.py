"""Documents -> passages: parts of a section, in whole sentences, with their places in the document's text.

A heading is a Markdown heading, an underlined line, a line that ends with a question mark, or a short line without an
end that has a paragraph below it. `document.text[passage.start : passage.end]` is the passage, always.

Left out: tables, and languages that do not end their sentences with . ! or ?
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from data_prep.records import Document
from data_prep.synthesis.question_answers import words

QUESTION_WORDS = 25  # longest line that is taken for a question as a heading
HEADING_WORDS = 8
_HEADING = re.compile(r"^(#{1,6})\s+(?P<text>.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r"^\s*(=+|-+|~+)\s*$")
_BULLET = re.compile(r"^\s*(?:[-*+•·]|\d{1,2}[.)])\s+")
_KEY = re.compile(r"^\s*[-*]?\s*\*{0,2}[A-Z][\w ()/-]{1,40}?\*{0,2}\s*:\s+\S")
_END = re.compile(r"[.!?][\"')\]”’]*(?=\s+[\"'(\[“‘]?[A-Z0-9])|\n\s*\n|\n(?=\s*(?:[-*+•]|\d{1,2}[.)])\s)|\n(?=#)")
_LABEL = re.compile(r"^\W*(?:Q|Question)\s*\d*\s*[:.]")
_NO_NAME = re.compile(
    r"^(?:(?:Card|About|Guide to|Overview of|Facts about|Introduction to|Learn about|Living with|All about)\b:?"
    r"|What (?:I|you) need to know about)\s+"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|cf|approx|No|Nos|Fig|Figs|Vol|pp|Inc|Ltd|Co|al|ca|spp|var"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec|U\.S|U\.K|Ph\.D|M\.D)|\b[A-Z]|\b[a-z]\.[a-z])$"
)


@dataclass
class Pair:
    """A question and its answer; `start` and `end` are the answer's place in the document, where it is a copy."""

    question: str
    answer: str
    start: int | None = None
    end: int | None = None
    maker: str = ""


@dataclass(frozen=True)
class Spelling:
    """Words that a document writes in lower case, and those that it writes with a capital inside a sentence."""

    lower: frozenset[str]
    capital: frozenset[str]


@dataclass(frozen=True)
class Sentence:
    """A sentence, its white space made regular, and its place in the document."""

    text: str
    start: int
    end: int


@dataclass
class Passage:
    """A part of a document: one section or a piece of one. `first` tells that it is the section's beginning."""

    document: Document
    start: int
    end: int
    heading: str = ""
    first: bool = True
    spelling: Spelling = field(default_factory=lambda: Spelling(frozenset(), frozenset()), repr=False)

    @property
    def text(self) -> str:
        """Return the passage as it stands in the document."""
        return self.document.text[self.start : self.end]

    @cached_property
    def title(self) -> str:
        """Return the document's title without the name of its site."""
        title = self.document.title or ""
        first = re.split(r"\s+[-|–—·]\s+", title)[0]
        title = first if len(first.split()) > 1 else title
        return " ".join(_NO_NAME.sub("", title).split()).strip(" .:")

    @cached_property
    def topic(self) -> frozenset[str]:
        """Return the content words of the title."""
        return frozenset(words.content(self.title))

    @cached_property
    def stems(self) -> list[set[str]]:
        """Return the content words of each sentence."""
        return [set(words.content(sentence.text)) for sentence in self.sentences]

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Return the sentences, without bullets' marks."""
        found = []
        for start, end in spans(self.text):
            start += self.start
            if mark := _BULLET.match(self.document.text[start : end + self.start]):
                start += mark.end()
            text = " ".join(self.document.text[start : end + self.start].split())
            if text:
                found.append(Sentence(text, start, end + self.start))
        return found


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence, without white space around it."""
    start = 0
    for match in _END.finditer(text):
        if text[match.start()] == "." and _ABBREVIATION.search(text[max(0, match.start() - 8) : match.start()]):
            continue
        yield from _trimmed(text, start, match.end())
        start = match.end()
    yield from _trimmed(text, start, len(text))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    if piece.strip():
        yield start + left, start + left + len(piece.strip())


def passages(document: Document, longest: int) -> Iterator[Passage]:
    """Yield the passages of a document, each of at most `longest` characters where a sentence's end allows it."""
    lower = frozenset(re.findall(r"(?<![\w'-])[a-z][\w'-]*", document.text))
    capital = frozenset(re.findall(r"(?<=[a-z,] )[A-Z][\w'-]*", document.text))
    spelling = Spelling(lower, capital)
    for heading, start, end in sections(document):
        begin, last = start, start
        for _, stop in spans(document.text[start:end]):
            if start + stop - begin > longest and last > begin:
                yield Passage(document, begin, last, heading, begin == start, spelling)
                begin = next_start(document.text, last)
            last = start + stop
        if last > begin:
            yield Passage(document, begin, last, heading, begin == start, spelling)


def next_start(text: str, place: int) -> int:
    """Return where the next text begins."""
    return place + len(text[place:]) - len(text[place:].lstrip())


def sections(document: Document) -> Iterator[tuple[str, int, int]]:
    """Yield heading, start and end of the text of each section that has any."""
    text = document.text
    heading, start = "", 0
    for begin, end, found in headings(document):
        if text[start:begin].strip():
            yield heading, next_start(text, start), start + len(text[start:begin].rstrip())
        heading, start = found, end
    if text[start:].strip():
        yield heading, next_start(text, start), len(text.rstrip())


def headings(document: Document) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and text of each heading."""
    lines = []
    place = 0
    for line in document.text.splitlines(keepends=True):
        lines.append((place, line.rstrip("\n")))
        place += len(line)
    fenced = False
    for number, (start, line) in enumerate(lines):
        fenced ^= line.lstrip().startswith("```")
        if fenced:
            continue
        after = lines[number + 1][1] if number + 1 < len(lines) else ""
        before = lines[number - 1][1] if number else ""
        below = next((other for _, other in lines[number + 1 : number + 4] if other.strip()), "")
        if match := _HEADING.match(line):
            yield start, start + len(line), match["text"]
        elif line.strip() and _UNDERLINE.match(after) and not before.strip() and len(after.strip()) >= 3:
            yield start, lines[number + 1][0] + len(after), line.strip()
        elif _asks(line) or (not before.strip() and _heads(line, below, document.title)):
            yield start, start + len(line), line.strip()


def _asks(line: str) -> bool:
    """Tell whether a line is one question and nothing else."""
    stripped = line.strip().strip("*_").rstrip("? ")
    asks = line.strip().strip("*_").endswith("?") and not _BULLET.match(line) and not _LABEL.match(line)
    return asks and 3 <= len(stripped.split()) <= QUESTION_WORDS and not re.search(r"[.!?]\s", stripped)


def _heads(line: str, below: str, title: str) -> bool:
    """Tell whether a short line stands over a paragraph."""
    text = line.strip()
    if not text or _BULLET.match(line) or _KEY.match(line) or not (text[0].isupper() or text == title):
        return False
    short = len(text.split()) <= HEADING_WORDS or text == title
    return short and text[-1] not in ".,;:!" and len(below.split()) > max(HEADING_WORDS, len(text.split()))
