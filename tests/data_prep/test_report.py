"""The report as a page: what it says, what it escapes, what it leaves out."""

import re
from html.parser import HTMLParser

import pytest

from data_prep import report
from data_prep.governance.tally import Tally
from data_prep.records import Document
from data_prep.report import markup
from data_prep.report.content import lengths

EVIL = '<script>alert("x")</script>&\ud83d'
VOID = {"meta", "br"}


def summary_of(documents, **values):
    tally = Tally()
    for document in documents:
        tally.see(document)
    size = {"documents": tally.documents, "words": tally.words, "bytes": tally.bytes}
    steps = [
        {"name": "read", "documents_in": 9, "documents_out": 9, "words_out": 900, "changed": 0, "dropped": {}},
        {"name": "length", "documents_in": 9, "documents_out": tally.documents, "words_out": tally.words,
         "changed": 3, "dropped": {"too_short": 7},
         "examples": {"too_short": [{"id": EVIL, "detail": EVIL, "text": EVIL}]}},
    ]  # fmt: skip
    row = tally.row()
    return {
        "steps": steps, "reasons": {"too_short": 7}, "sides": {"train": size}, "tally": {"train": row},
        "lengths": row["lengths"],
    } | values  # fmt: skip


class Nesting(HTMLParser):
    """Fails at a tag that is closed without having been opened, or never."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.tags = set()
        self.words = []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(page):
    parsed = Nesting()
    parsed.feed(page)
    assert parsed.open == []
    return parsed.tags, " ".join(" ".join(parsed.words).split())


@pytest.fixture
def whole():
    documents = [
        Document("1", "She is a nurse. " * 20, EVIL, license=EVIL, meta={"language": EVIL, "year": 1999}),
        Document("2", "He is not.", "b", meta={"language": "en", "year": 2001, "redacted": {EVIL: 2}}),
    ]
    example = {"id": EVIL, "text": EVIL}
    return summary_of(
        documents,
        unreadable={EVIL: 2},
        sources={EVIL: {"documents": 1, "words": 80, "bytes": 320, "read": 4},
                 "b": {"documents": 1, "words": 3, "bytes": 9}},
        languages={EVIL: 1, "en": 1},
        licenses={EVIL: 1, "not stated": 1},
        redacted={EVIL: 2},
        duplicates={"exact": 3, "near": 2, "clusters": 1, "largest": [{"size": 6, "id": EVIL}],
                    "paragraphs": {"exact": 4, "near": 1, "clusters": 2}},
        alike=[{"likeness": 0.81, "dropped": example, "kept": example}],
        contamination={"questions": 10, "too_short_to_search_for": 1, "found": 1,
                       "shown": [{"evaluation": EVIL, "question": EVIL, "document": EVIL, "excerpt": EVIL}]},
        engine={"workers": 2, "shards": 3, "seconds": 10, "bytes_read": 5_000_000},
    )  # fmt: skip


def test_whatever_comes_from_data_is_escaped(whole):
    page = report.page(whole)
    tags, _ = read(page)
    assert "script" not in tags and "<script>" not in page
    assert page.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;?") >= 15
    page.encode("utf-8")  # half a surrogate pair is gone


def test_it_needs_nothing_from_elsewhere(whole):
    page = report.page(whole)
    assert not re.search(r"<script|<link|<img|src=|@import|url\(|https?:", page)
    assert "prefers-color-scheme: dark" in page and "@media (max-width" in page


def test_it_says_what_was_counted(whole):
    _, said = read(report.page(whole))
    for words in (
        "9 documents read", "2 22 % documents kept", "1 of 2 documents (50 %) state no licence.",
        "2 files or rows could not be read.", "1 of 4 80 words", "3 exact copies", "2 near-duplicates",
        "5 paragraphs that stand elsewhere", "10 questions were looked for; 1 times one was found",
        "5.0 MB bytes read", "500.0 kB a second", "women she 20 1 50 %",
    ):  # fmt: skip
        assert words in said, words
    assert "No evaluation set was named" not in said


def test_a_part_that_is_missing_leaves_its_section_out():
    tags, said = read(report.page(summary_of([])))
    for title in ("Duplicates", "Evaluation questions", "Of whom it speaks", "The run", "Licences", "Years", "Sources"):
        assert title not in said
    assert "No evaluation set was named" in said and "Why documents went" in said
    assert "section" in tags


def test_many_sources_are_cut_and_the_rest_is_summed():
    sources = {f"s{n:03}": {"documents": 1, "words": n, "bytes": n, "read": 2} for n in range(60)}
    _, said = read(report.page(summary_of([], sources=sources)))
    assert "s059 1 of 2 59 words" in said and "s034" not in said and "35 others 35 of 70 595 words" in said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 5000, "&lt; 0.1 %"),
        (4999, 5000, "&gt; 99.9 %"),
        (1, 3, "33 %"),
        (0, 0, "0 %"),
    ],
)
def test_shares(part, whole, said):
    assert markup.share(part, whole) == said


@pytest.mark.parametrize("most", [1, 3, 7, 10, 99, 101, 2500, 10**9])
def test_ticks_cover_all_in_round_steps(most):
    marks = markup.ticks(most)
    assert marks[0] == 0 and marks[-1] >= most and 2 <= len(marks) <= 6
    assert all(mark == int(mark) for mark in marks)


def test_columns_are_as_tall_as_what_they_stand_for():
    drawn = markup.columns([("a", 10, ""), ("", 5, ""), ("b", 0, "")], "x")
    heights = [float(height) for height in re.findall(r'class="bar"[^>]*? height="([\d.]+)"', drawn)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2) and heights[2] == 0


@pytest.mark.parametrize("last", [6, 13, 25, 34])
def test_labels_of_lengths_have_room(last):
    drawn = lengths({"lengths": {"4": 1, str(last): 1}})
    axis = drawn[drawn.index("<rect") :]
    labels = [(float(x), name) for x, name in re.findall(r'<text x="([\d.]+)"[^>]*>([^<]+)</text>', axis)]
    assert labels
    for (left, one), (right, other) in zip(labels, labels[1:], strict=False):
        assert right - left >= 3.5 * (len(one) + len(other)) + 4  # 7 units a figure of this size
