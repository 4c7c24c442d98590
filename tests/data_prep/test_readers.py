"""Readers: each format's text, formats found by content, and a counted reason for whatever cannot be read."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from data_prep import readers
from data_prep.files import decoding, streams
from data_prep.garden import pdf
from data_prep.readers import Skipped, markdown
from data_prep.readers import pdf as pdf_reader
from data_prep.records import Document

PAGE = """<!DOCTYPE html><html><head><title>The  silver
fern</title><link rel="canonical" href="https://example.org/fern"><script>var a = 1;</script></head><body>
<header><nav><a href="/">Home</a> <a href="/shop">Shop</a></nav></header>
<main><h1>The silver fern</h1><p>The silver fern grows in the shade &amp; likes rain.</p><p>It is old.</p></main>
<footer>All rights reserved. <a href="/imprint">Imprint</a></footer></body></html>"""


def _documents(root: Path) -> list[Document]:
    return [item for item in readers.read(root) if isinstance(item, Document)]


def _skipped(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in readers.read(root) if isinstance(item, Skipped)}


def test_html_gives_the_main_text_without_what_surrounds_it(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE, encoding="utf-8")
    (page,) = _documents(tmp_path)
    assert page.title == "The silver fern"
    assert page.url == "https://example.org/fern"
    assert "grows in the shade & likes rain.\n" in page.text
    assert not any(word in page.text for word in ("Home", "Shop", "Imprint", "rights", "var"))


def test_html_in_its_declared_encoding(tmp_path: Path) -> None:
    page = PAGE.replace("<head>", '<head><meta charset="iso-8859-2">').replace(
        "old", "za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 old"
    )
    (tmp_path / "page.html").write_bytes(page.encode("iso-8859-2"))
    assert "za\u017c\u00f3\u0142\u0107 g\u0119\u015bl\u0105 old" in _documents(tmp_path)[0].text


def test_markdown_becomes_running_text(tmp_path: Path) -> None:
    text = (
        "---\ntitle: 'Care of ferns'\ntags: [a]\n---\n\n# Ferns\n\nRead the [guide](https://example.org/x) **now**, "
        "or _later_.<!-- hidden -->\n\n![photo](a.png)\n\n```python\n# not a heading\nx = a_b_c * 2\n```\n\n"
        "- one\n- two\n"
    )
    (tmp_path / "a.md").write_text(text)
    (document,) = _documents(tmp_path)
    assert document.title == "Care of ferns"
    assert document.text.split("\n") == [
        "", "Ferns", "", "Read the guide now, or later.", "", "", "", "# not a heading", "x = a_b_c * 2", "", "- one",
        "- two", "",
    ]  # fmt: skip


def test_markdown_leaves_plain_stars_and_lines_alone() -> None:
    assert markdown.plain("2 * 3 * 4 and snake_case_name\n") == "2 * 3 * 4 and snake_case_name\n"
    assert markdown.plain("Title\n=====\n\ntext") == "Title\n\ntext"


def test_pdf_lines_become_paragraphs(tmp_path: Path) -> None:
    paragraphs = ["The handbook tells how the garden is kept. " * 6, "Second paragraph about water. " * 5]
    (tmp_path / "a.pdf").write_bytes(pdf.document("Handbook", [text.strip() for text in paragraphs]))
    (document,) = _documents(tmp_path)
    assert document.title == "Handbook"
    assert document.text.split("\n\n") == ["Handbook", *(text.strip() for text in paragraphs)]


def test_pdf_running_heads_page_numbers_and_cut_words_go() -> None:
    plants = ("ferns", "lilies", "poppies", "vines")
    pages = [
        [
            "Handbook 2024",
            f"Water the {plant} each day, and do not let the earth dry out in sum-",
            f"mer: {plant} need it.",
            str(number),
        ]
        for number, plant in enumerate(plants, start=1)
    ]
    text = pdf_reader.running_text(pages)
    assert "Handbook" not in text
    assert not any(character.isdigit() for character in text)
    assert all(f"dry out in summer: {plant} need it." in text for plant in plants)


def test_jsonl_rows_keep_their_place_and_their_columns(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(
            b'{"text": "One.", "id": "x", "source": "CDC", "title": "T", "license": "MIT"}\n\n{"body": "Two."}\n'
        )
    )
    one, two = _documents(tmp_path / "a.jsonl.gz")
    assert (one.id, one.text, one.source, one.title, one.license) == ("a.jsonl.gz#1", "One.", "CDC", "T", "MIT")
    assert one.meta == {"id": "x", "row": 1, "path": "a.jsonl.gz"}
    assert (two.id, two.source, two.meta["row"]) == ("a.jsonl.gz#3", "a.jsonl.gz", 3)


def test_a_bad_row_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    rows = [
        b'{"text": "Good."}',
        b'{"text": ',
        b"[1]",
        b'{"title": "x"}',
        b'{"text": " "}',
        b'{"text": "\xff"}',
        b'{"text": "End."}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(rows))
    items = list(readers.read(tmp_path))
    assert [item.text for item in items if isinstance(item, Document)] == ["Good.", "End."]
    assert [(item.row, item.reason) for item in items if isinstance(item, Skipped)] == [
        (2, "not JSON"),
        (3, "a JSON list where an object was expected"),
        (4, "no column text, content, body, document, article"),
        (5, "text is empty or no text"),
        (6, "not UTF-8"),
    ]


def test_an_endless_line_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 100)
    (tmp_path / "a.jsonl").write_text('{"text": "Good."}\n{"text": "' + "a" * 200 + '"}\n')
    assert [type(item).__name__ for item in readers.read(tmp_path)] == ["Document", "Skipped"]


def test_content_decides_before_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(pdf.document("T", ["Text of a page."]))
    (tmp_path / "b.txt").write_text(PAGE)
    (tmp_path / "c.dat").write_text('{"text": "A row."}\n{"text": "Another."}\n')
    texts = [document.text for document in _documents(tmp_path)]
    assert [text[:12] for text in texts] == ["T\n\nText of a", "The silver f", "A row.", "Another."]


@pytest.mark.parametrize(
    ("name", "text", "reader"),
    [
        ("a.py", '"""Rules.\n\n.. note:: in a docstring\n"""\nLIMIT = 3\n', "code"),
        ("a.js", '["use strict", "a"].forEach(run)\n', "code"),
        ("a.md", ".. note:: is how it is written in reStructuredText\n", "markdown"),
        ("a.md", '{"text": "how a row looks"}\n\nis what this page explains.\n', "markdown"),
        ("a.md", "text, more\none, two\nthree, four\n", "markdown"),
        ("a.py", 'MAGIC = b"%PDF-"\nTITLE = "%PDF-1.4 "\n', "code"),
        ("a.txt", "The header %PDF-1.4 stands first.\n", "text"),
        ("a.txt", "WARC/1.0 is a format for crawls.\n", "text"),
        ("a.txt", "[[Home]] and [[another page]] of a wiki.\n", "text"),
        ("a.txt", '["Being" and "Time"](https://example.org), a link.\n', "text"),
        ("a.txt", "[1] Smith, J. A book.\n", "text"),
        ("a.qmd", "# A page of Quarto\n", "markdown"),
        ("a.txt", '[\n  {"text": "A row."}\n]\n', "json"),
        ("a.txt", '["a", "b"]', "json"),
        ("a.txt", "[[1, 2], [3]]", "json"),
        ("a.txt", "\n\0junk\n%PDF-1.7\n%binary", "pdf"),
        ("a.txt", "WARC/1.0\r\nWARC-Type: response\r\n", "warc"),
    ],
)
def test_hints_do_not_outweigh_the_name_nor_does_a_mention(tmp_path: Path, name: str, text: str, reader: str) -> None:
    (tmp_path / name).write_text(text)
    assert readers.reader_of(tmp_path / name).__name__.rpartition(".")[2] == reader


def test_what_cannot_be_read_is_counted_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.txt").write_text("outside")
    (root / "good.txt").write_text("Good text.")
    (root / "empty.txt").write_bytes(b"")
    (root / "blank.txt").write_bytes(b" \n\n")
    (root / "binary.txt").write_bytes(b"ab\0\0cd")
    (root / "damaged.pdf").write_bytes(b"%PDF-1.4\nnothing here")
    (root / "scan.pdf").write_bytes(pdf.document("", []))
    (root / "half.txt.gz").write_bytes(gzip.compress(os.urandom(5000))[:-100])
    (root / "picture.png").write_bytes(b"\x89PNG\r\n")
    (root / "noname").write_text("?")
    (root / "frame.html").write_text("<!doctype html><html><body><nav>Home</nav></body></html>")
    (root / "out.txt").symlink_to(tmp_path / "secret.txt")
    (root / "nowhere.txt").symlink_to(root / "gone")
    (root / "loop").symlink_to(root)
    (root / "self.txt").symlink_to(root / "self.txt")
    os.mkfifo(root / "pipe.txt")
    assert _skipped(root) == {
        "binary.txt": "binary data (NUL bytes)",
        "blank.txt": "empty file",
        "damaged.pdf": "not a PDF that can be opened (damaged or encrypted)",
        "empty.txt": "empty file",
        "frame.html": "a page without main text",
        "half.txt.gz": "damaged compressed file",
        "loop": "symbolic link to a folder",
        "noname": "no reader for a file without a suffix",
        "nowhere.txt": "symbolic link that leads nowhere",
        "out.txt": "symbolic link out of the folder",
        "picture.png": "no reader for .png",
        "pipe.txt": "not a regular file",
        "scan.pdf": "a PDF without text (scanned?)",
        "self.txt": "symbolic link that leads nowhere",
    }
    assert [document.id for document in _documents(root)] == ["root/good.txt"]


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 2**20)
    (tmp_path / "bomb.txt.gz").write_bytes(gzip.compress(b"a" * 2**22))
    assert _skipped(tmp_path) == {"bomb.txt.gz": "more than 1 MiB in one file"}


def test_the_order_and_the_sources_are_fixed(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a/z/deep.txt", "c.txt", ".hidden/x.txt", "a/.note.txt"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text("text")
    found = [(document.id, document.source) for document in _documents(tmp_path / "root")]
    assert found == [
        ("root/c.txt", "root"),
        ("root/a/z/deep.txt", "root/a"),
        ("root/b/1.txt", "root/b"),
        ("root/b/2.txt", "root/b"),
    ]
    named = next(iter(readers.read(tmp_path / "root", "wiki", "MIT")))
    assert isinstance(named, Document)
    assert (named.id, named.source, named.license) == ("wiki/c.txt", "wiki", "MIT")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("caf\u00e9".encode(), "caf\u00e9"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "caf\u00e9"),
        ("caf\u00e9".encode("utf-16"), "caf\u00e9"),
        ("caf\u00e9 \u2019".encode("cp1252"), "caf\u00e9 \u2019"),
        ("caf\u00e9\n".encode() + "na\u00efve".encode("cp1252"), "caf\u00e9\nna\u00efve"),
        (b"\x81 \xe9", "\x81 \u00e9"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16", "windows-1252", "mixed lines", "undefined in windows-1252"],
)
def test_encodings(data: bytes, text: str) -> None:
    assert decoding.decode(data) == text


def test_a_new_reader_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "poem.py").write_text(
        "from data_prep.records import Document\n"
        "SUFFIXES = ('.poem',)\n"
        "def recognises(head):\n    return False\n"
        "def read(path):\n    yield Document('', path.read_text().title(), '')\n"
    )
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.poem").write_text("roses are red")
    assert _skipped(tmp_path / "raw") == {"a.poem": "no reader for .poem"}
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path / "code")])
    readers.modules.cache_clear()
    try:
        assert [document.text for document in _documents(tmp_path / "raw")] == ["Roses Are Red"]
    finally:
        readers.modules.cache_clear()
