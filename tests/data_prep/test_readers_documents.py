"""Readers of documents: DOCX, EPUB, reStructuredText, source code with licences, mail, web archives; and bad ones."""

from __future__ import annotations

import gzip
import random
import struct
import time
import zipfile
import zlib
from pathlib import Path

import brotli
import pyarrow
import pytest
from pyarrow import parquet

from data_prep import readers
from data_prep.files import archive, decoding, licences
from data_prep.garden import pdf
from data_prep.readers import Skipped, mbox, rst
from data_prep.records import Document

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:mc="urn:mc"'


def _documents(root: Path) -> list[Document]:
    return [item for item in readers.read(root) if isinstance(item, Document)]


def _skipped(root: Path) -> dict[str, str]:
    return {item.path: item.reason for item in readers.read(root) if isinstance(item, Skipped)}


def _zip(path: Path, entries: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def _paragraph(text: str, style: str = "", inner: str = "") -> str:
    named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{named}<w:r><w:t xml:space='preserve'>{text}</w:t></w:r>{inner}</w:p>"


def _docx(path: Path, body: str, prolog: str = "", **more: str | bytes) -> Path:
    main = f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<w:document {WORD}><w:body>{body}</w:body></w:document>'
    return _zip(path, {"[Content_Types].xml": "<Types/>", "word/document.xml": main, **more})


def test_docx_paragraphs_lists_and_tables(tmp_path: Path) -> None:
    cell = "<w:tc>{}</w:tc>".format
    body = (
        _paragraph("The fern", "Title")
        + _paragraph("It grows in ", inner="<w:r><w:t>shade &amp; rain.</w:t><w:tab/><w:t>Yes.</w:t></w:r>")
        + "<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>one</w:t></w:r></w:p>"
        + "<w:tbl><w:tr>" + cell(_paragraph("a") + _paragraph("b")) + cell(_paragraph("c")) + "</w:tr><w:tr>"
        + cell(_paragraph("d")) + cell(_paragraph("e")) + "</w:tr></w:tbl>"
        + "<w:p><w:del><w:r><w:delText>gone</w:delText><w:t>gone</w:t></w:r></w:del><w:r>"
        + "<w:instrText>PAGE</w:instrText><w:t>End.</w:t></w:r>"
        + "<mc:Fallback><w:r><w:t>twice</w:t></w:r></mc:Fallback></w:p>"
    )  # fmt: skip
    _docx(tmp_path / "a.docx", body)
    _docx(tmp_path / "b.bin", body, **{"docProps/core.xml": '<c xmlns:dc="d"><dc:title>Of\nferns</dc:title></c>'})
    first, second = _documents(tmp_path)
    assert first.text.split("\n") == [
        "The fern",
        "",
        "It grows in shade & rain.\tYes.",
        "",
        "- one",
        "a b\tc",
        "d\te",
        "",
        "End.",
    ]
    assert (first.title, second.title, second.text) == ("The fern", "Of ferns", first.text)


def test_epub_chapters_in_reading_order(tmp_path: Path) -> None:
    page = "<html xmlns='http://www.w3.org/1999/xhtml'><body><h1>{0}</h1><p>{0} text &eacute;.</p></body></html>"
    package = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
      <metadata><dc:title>The  Garden</dc:title><dc:creator>A. B.</dc:creator><dc:creator>C. D.</dc:creator>
      <dc:language>en</dc:language><dc:rights>CC-BY-4.0</dc:rights></metadata>
      <manifest><item id="1" href="text/b%20b.xhtml"/><item id="2" href="../a.xhtml#x"/>
      <item id="n" href="nav.xhtml" properties="nav"/><item id="3" href="c.xhtml"/>
      <item id="4" href="../../../etc/passwd"/></manifest>
      <spine><itemref idref="n"/><itemref idref="2"/><itemref idref="1"/><itemref idref="3" linear="no"/>
      <itemref idref="4"/></spine>
      </package>"""
    entries: dict[str, str | bytes] = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/p.opf"/></rootfiles></container>',
        "OPS/p.opf": package, "OPS/text/b b.xhtml": page.format("Second"), "a.xhtml": page.format("First"),
        "OPS/nav.xhtml": page.format("Contents"), "OPS/c.xhtml": page.format("Aside"),
    }  # fmt: skip
    _zip(tmp_path / "book.dat", entries)
    (book,) = _documents(tmp_path)
    assert book.text == "First\n\nFirst text \u00e9.\n\nSecond\n\nSecond text \u00e9."
    assert (book.title, book.license) == ("The Garden", "CC-BY-4.0")
    assert book.meta == {"chapters": 2, "creator": "A. B.; C. D.", "language": "en", "path": "book.dat"}
    secret = '<e><CipherReference URI="a.xhtml"/></e>'
    _zip(tmp_path / "book.dat", {**entries, "META-INF/encryption.xml": secret})
    assert _skipped(tmp_path) == {"book.dat": "encrypted"}


def test_bad_zip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = _docx(tmp_path / "good.docx", _paragraph("Good."))
    data = good.read_bytes()
    _zip(tmp_path / "plain.docx", {"a.txt": "no document"})
    _zip(tmp_path / "plain.epub", {"a.txt": "no document"})
    _zip(tmp_path / "plain.zip", {"a.txt": "no document"})
    (tmp_path / "cut.docx").write_bytes(data[: len(data) // 2])
    _docx(tmp_path / "bomb.docx", _paragraph("a" * 30_000_000))
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    _docx(tmp_path / "laughs.docx", _paragraph("&e9;"), f'<!DOCTYPE d [<!ENTITY e0 "ha">{entities}]>')
    _docx(tmp_path / "outside.docx", _paragraph("&x;"), '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>')
    _docx(tmp_path / "broken.docx", "<w:p>")
    _docx(tmp_path / "deep.docx", "<w:p>" * 5000 + "</w:p>" * 5000)
    _docx(tmp_path / "empty.docx", _paragraph(" "))
    damaged = bytearray(data)
    damaged[data.index(b"word/document.xml") + 60] ^= 0xFF
    (tmp_path / "damaged.docx").write_bytes(damaged)
    end = data.rindex(b"PK\x05\x06") + 12
    (tmp_path / "many.docx").write_bytes(data[:end] + struct.pack("<I", 2**30) + data[end + 4 :])
    locked = bytearray(data)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := data.find(mark, place + 1)) >= 0:
            locked[place + flags] |= 1
    (tmp_path / "locked.docx").write_bytes(locked)
    assert _skipped(tmp_path) == {
        "bomb.docx": "a zip bomb (unpacks to more than 200 times its size)",
        "broken.docx": "damaged XML in word/document.xml",
        "cut.docx": "damaged zip file",
        "damaged.docx": "damaged zip file",
        "deep.docx": "XML nested too deeply",
        "empty.docx": "a DOCX file without text",
        "laughs.docx": "XML that declares entities",
        "locked.docx": "encrypted",
        "many.docx": "a zip file with too many entries",
        "outside.docx": "XML that declares entities",
        "plain.docx": "a zip file without a Word document in it",
        "plain.epub": "a zip file without a book in it",
        "plain.zip": "no reader for .zip",
    }
    assert [document.text for document in _documents(tmp_path)] == ["Good."]
    monkeypatch.setattr(decoding, "MAX_BYTES", 2**20)
    monkeypatch.setattr(archive, "MAX_RATIO", 10**6)
    assert _skipped(tmp_path)["bomb.docx"] == "more than 1 MiB in one file"


def test_a_zip_that_lies_about_its_sizes_is_read_within_the_limit(tmp_path: Path) -> None:
    path = _docx(tmp_path / "a.docx", _paragraph("a" * 5_000_000))
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        real = file.getinfo("word/document.xml").file_size
    path.write_bytes(data.replace(struct.pack("<I", real), struct.pack("<I", 100)))
    (reason,) = _skipped(tmp_path).values()
    assert reason in ("damaged zip file", "damaged XML in word/document.xml")  # zipfile itself stops at 100 bytes


def test_restructured_text_becomes_running_text() -> None:
    source = """\
:orphan:

.. _start:

==========
The *fern*
==========

See :ref:`the guide <guide>` and `its page <https://example.org>`_, ``a_b`` or :class:`~x.Fern`.
Note this [1]_ **now**::

    x = `a` * 2
    y = **b

.. image:: a.png
   :alt: a picture

.. note:: Water it
   each day.

.. code-block:: python
   :linenos:

   def f(): ...

.. toctree::
   a
   b

.. a comment
   of two lines

Care
----

* one
* two_

.. tab-set::

   .. tab-item:: Linux

      Run *it*.
"""
    text, title = rst.plain(source)
    assert title == "The fern"
    assert text.split("\n") == [
        "The fern", "", "See the guide and its page, a_b or x.Fern.", "Note this now:", "", "x = `a` * 2", "y = **b",
        "",
        "Water it", "", "each day.", "", "def f(): ...", "", "Care", "", "* one", "* two", "", "Run it.", "",
    ]  # fmt: skip


MIT = """Permission is hereby granted, free of charge, to any person ...
The above copyright notice and this permission notice shall be included in all copies"""
BSD = """Redistributions in binary form must ... Neither the name of X nor ... may be used to endorse
or promote products"""


def test_source_code_with_its_language_and_licence(tmp_path: Path) -> None:
    files = {
        "a/LICENSE": f"MIT License\n\n{MIT}",
        "a/main.py": "print(1)\n", "a/run": "#!/usr/bin/env python3\nprint(2)\n", "a/Makefile": "all:\n\ttrue\n",
        "a/lib/x.rs": "// SPDX-License-Identifier: Apache-2.0 OR MIT\nfn main() {}\n", "a/README.md": "# Read me\n",
        "a/build/out.js": "x", "a/.gitignore": "build/\n*.log\n!keep.log\n", "a/b.log.txt": "text",
        "a/sub/.gitignore": "/only.c\n", "a/sub/only.c": "int x;", "a/sub/deep/only.c": "int y;",
        "b/x.go": "package x\n", "b/COPYING": "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007",
        "c/y.hs": "main = pure ()\n",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    found = {
        document.meta["path"]: (document.meta.get("programming_language"), document.license)
        for document in readers.read(tmp_path, "code", "unknown")
        if isinstance(document, Document)
    }
    assert found == {
        "a/Makefile": ("Makefile", "MIT"),
        "a/README.md": (None, "MIT"),
        "a/b.log.txt": (None, "MIT"),
        "a/lib/x.rs": ("Rust", "Apache-2.0 OR MIT"),
        "a/main.py": ("Python", "MIT"),
        "a/run": ("Python", "MIT"),
        "a/sub/deep/only.c": ("C", "MIT"),
        "b/x.go": ("Go", "GPL-3.0"),
        "c/y.hs": ("Haskell", "unknown"),
    }
    assert _skipped(tmp_path) == {}


@pytest.mark.parametrize(
    ("texts", "expression"),
    [
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": "Apache License\n  Version 2.0, January 2004"}, "Apache-2.0 OR MIT"),
        ({"COPYING": "GNU General Public License\nVersion 3",
          "COPYING.LESSER": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 3"}, "LGPL-3.0"),
        ({"LICENSE": BSD}, "BSD-3-Clause"),
        ({"LICENSE": "Creative Commons Attribution-NonCommercial-ShareAlike 4.0 International"}, "CC-BY-NC-SA-4.0"),
        ({"LICENSE": "All rights reserved."}, ""),
    ],
)  # fmt: skip
def test_licence_texts(texts: dict[str, str], expression: str) -> None:
    assert licences.of_files(texts) == expression


def test_the_project_knows_its_own_licence() -> None:
    text = (Path(__file__).parents[2] / "LICENSE").read_text(encoding="utf-8")
    assert licences.guess(text) == "Apache-2.0"


MAILS = b"""From ann@example.org Mon Jan  1 10:00:00 2024
From: Ann <ann@example.org>
Subject: =?utf-8?q?Re=3A_The_f=C3=A9rn?=
Date: Mon, 1 Jan 2024 10:00:00 +0000
Message-ID: <1@example.org>
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Water it, caf=E9.

>From here on it is dry.
On Sun, Bob Smith
<bob@example.org> wrote:
> Does it grow?
>
> Bob
It does.
--=20
Ann
Garden Ltd.

From bob@example.org Mon Jan  1 11:00:00 2024
Subject: html
Content-Type: multipart/alternative; boundary=x

--x
Content-Type: text/html

<p>Marked <b>text</b></p>
--x
Content-Type: text/plain

Plain text.
--x--

From c@example.org Mon Jan  1 12:00:00 2024
Subject: only html
Content-Type: multipart/mixed; boundary=x

--x
Content-Type: text/html; charset=utf-8

<p>Caf\xc3\xa9 <b>text</b></p>
--x
Content-Type: text/plain
Content-Disposition: attachment; filename=a.txt

attached
--x--

From d@example.org Mon Jan  1 12:00:00 2024
Subject: nothing new

> all quoted
"""


def test_mail_archives_give_what_each_sender_wrote(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(MAILS)
    one, two, three, four = readers.read(tmp_path)
    assert isinstance(one, Document) and isinstance(two, Document) and isinstance(three, Document)
    assert one.text == "Water it, caf\u00e9.\n\nFrom here on it is dry.\nIt does."
    assert one.title == "The f\u00e9rn"
    assert one.meta == {
        "date": "2024-01-01T10:00:00+00:00", "message_id": "<1@example.org>", "row": 1, "path": "list.txt",
    }  # fmt: skip
    assert (two.text, three.text) == ("Plain text.", "Caf\u00e9 text")
    assert four == Skipped("list.txt", "a mail without text of its own", 4)


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("Yes.\n\n-----Original Message-----\nFrom: A\nTo: B\n\nQuestion?", "Yes."),
        ("Yes.\n\nFrom: A <a@b>\nSent: Monday\nTo: B\n\nQuestion?", "Yes."),
        ("Yes.\n_______________________________________________\nGardens mailing list\nhttp://x", "Yes."),
        ("Yes.\n\nSent from my telephone", "Yes."),
        ("A list:\n> quoted\n\nAnswer.", "A list:\n\nAnswer."),
        ("Am 1.1.2024 schrieb Bob:\n\n> quoted\nAnswer.", "Answer."),
        ("One.\n--\n" + "Two.\n" * 30, "One.\n--\n" + "Two.\n" * 29 + "Two."),
    ],
    ids=["original", "outlook", "list", "phone", "no announcement", "german", "a rule, no signature"],
)
def test_what_is_left_out_of_a_mail(written: str, own: str) -> None:
    assert mbox.own_text(written) == own


def test_a_mail_with_many_parts_in_parts(tmp_path: Path) -> None:
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    (tmp_path / "a.eml").write_text("MIME-Version: 1.0\n" + nested + "Content-Type: text/plain\n\nx\n")
    assert _skipped(tmp_path) == {"a.eml": "a mail with too many parts in parts"}


PAGE = (
    b"<html><head><title>T</title></head><body><main><p>The fern grows in the shade, caf\xe9.</p></main></body></html>"
)


def _record(body: bytes, *headers: str, status: str = "200 OK", kind: str = "text/html; charset=iso-8859-1") -> bytes:
    http = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Type: {kind}", *headers, "", "")).encode() + body
    head = ("WARC/1.0", "WARC-Type: response", "WARC-Target-URI: https://example.org/a",
            "WARC-Date: 2024-01-01T00:00:00Z", "WARC-Record-ID: <urn:uuid:1>",
            "Content-Type: application/http; msgtype=response", f"Content-Length: {len(http)}", "", "")  # fmt: skip
    return "\r\n".join(head).encode() + http + b"\r\n\r\n"


def _chunked(data: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:50], data[50:])) + b"0\r\n\r\n"


def test_web_archives_plain_and_packed(tmp_path: Path) -> None:
    records = [
        _record(PAGE), _record(b"Plain \xe9.", kind="text/plain; charset=latin-1"),
        _record(PAGE, status="404 Not Found"),
        _record(b"\x89PNG", kind="image/png"), _record(gzip.compress(PAGE), "Content-Encoding: gzip"),
        _record(zlib.compress(PAGE), "Content-Encoding: deflate"),
        _record(brotli.compress(PAGE), "Content-Encoding: br"),
        _record(_chunked(PAGE), "Transfer-Encoding: chunked"), _record(PAGE, "Content-Encoding: gzip"),
        _record(pdf.document("T", ["A page."]), kind="application/pdf"), _record(b"<html><body></body></html>"),
    ]  # fmt: skip
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "b.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    page = "The fern grows in the shade, caf\u00e9."
    for name in ("a.warc", "b.warc.gz"):
        found = _documents(tmp_path / name)
        assert [document.text.strip() for document in found] == [
            page, "Plain \u00e9.", page, page, page, page, page, "T\n\nA page.",
        ]  # fmt: skip
        assert (found[0].url, found[0].title, found[0].meta["date"]) == (
            "https://example.org/a",
            "T",
            "2024-01-01T00:00:00Z",
        )
        assert [document.meta["row"] for document in found] == [1, 2, 5, 6, 7, 8, 9, 10]
        assert _skipped(tmp_path / name) == {name: "a page without main text"}


def test_a_web_archive_that_is_cut_damaged_or_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_BYTES", 2**20)
    record = _record(PAGE)
    packed = gzip.compress(record)
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 0xFF
    bomb = _record(gzip.compress(b"<html>" + b"a" * 2**22), "Content-Encoding: gzip")
    (tmp_path / "bomb.warc").write_bytes(bomb + record)
    (tmp_path / "cut.warc").write_bytes(record + record[:-80])
    (tmp_path / "cut.warc.gz").write_bytes(packed + packed[:-60])
    (tmp_path / "damaged.warc.gz").write_bytes(packed + bytes(damaged))
    (tmp_path / "junk.warc").write_bytes(record + b"junk\r\n\r\n" + record)
    found = list(readers.read(tmp_path))
    assert [(item.meta["path"], item.meta["row"]) for item in found if isinstance(item, Document)] == [
        ("bomb.warc", 2), ("cut.warc", 1), ("cut.warc.gz", 1), ("damaged.warc.gz", 1), ("junk.warc", 1),
    ]  # fmt: skip
    assert [(item.path, item.reason, item.row) for item in found if isinstance(item, Skipped)] == [
        ("bomb.warc", "more than 1 MiB in one file", 1),
        ("cut.warc", "a record that ends too early", 2),
        ("cut.warc.gz", "a record that ends too early", 2),
        ("damaged.warc.gz", "damaged WARC file", 2),
        ("junk.warc", "damaged WARC file", 2),
    ]


def test_a_wet_file(tmp_path: Path) -> None:
    text = "Caf\u00e9 text.".encode()
    head = ("WARC/1.0", "WARC-Type: conversion", "WARC-Target-URI: https://example.org/b",
            "WARC-Record-ID: <urn:uuid:2>", "WARC-Date: 2024-01-01T00:00:00Z", "Content-Type: text/plain",
            f"Content-Length: {len(text)}", "", "")  # fmt: skip
    (tmp_path / "a.wet").write_bytes("\r\n".join(head).encode() + text + b"\r\n\r\n")
    (document,) = _documents(tmp_path)
    assert (document.text, document.url) == ("Caf\u00e9 text.", "https://example.org/b")


def test_zstandard_in_frames_and_cut(tmp_path: Path) -> None:
    frame = bytes(pyarrow.compress(b'{"text": "One."}\n' * 2000, codec="zstd", asbytes=True))
    (tmp_path / "a.jsonl").write_bytes(frame + frame)
    (tmp_path / "cut.jsonl.zst").write_bytes(frame[:-4])
    (tmp_path / "junk.jsonl.zst").write_bytes(frame[:30] + b"junk" * 20)
    assert len([1 for item in readers.read(tmp_path / "a.jsonl") if isinstance(item, Document)]) == 4000
    assert set(_skipped(tmp_path).values()) == {"damaged compressed file"}
    assert set(_skipped(tmp_path)) == {"cut.jsonl.zst", "junk.jsonl.zst"}


HOSTILE = {
    "fences.md": b"```x\n" * 40_000,
    "comments.md": b"<!-- " * 10_000,
    "links.md": b"![" * 20_000,
    "strong.md": b"**a " * 50_000,
    "table.rst": b"+" + b"--" * 5_000 + b"x",
    "marks.rst": b"``a **b :a:" * 10_000,
    "nested.rst": b"".join(b" " * depth + b".. a::\n" for depth in range(600)),
    "blank.eml": b"MIME-Version: 1.0\n\n" + b" \n" * 200_000 + b">a\n\n" * 100_000,
    "quotes.csv": b"text,n\n" + b'"a' * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_take_no_longer_than_others(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(HOSTILE[name])
    start = time.process_time()
    assert len(list(readers.read(tmp_path))) == 1
    assert time.process_time() - start < 3


def test_a_markdown_fence_that_is_never_closed_ends_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Text.\n\n```python\nx = a_b_c * 2 * 3\n# end\n")
    assert [document.text for document in _documents(tmp_path)] == ["Text.\n\nx = a_b_c * 2 * 3\n# end\n"]


def test_any_damage_is_a_reason(tmp_path: Path) -> None:
    """Cut and overwrite a file of each format at random places: no reader fails in a way that it does not know."""
    chance = random.Random(0)
    records = [_record(PAGE), _record(gzip.compress(PAGE), "Content-Encoding: gzip")]
    table = pyarrow.table({"text": [f"Row {number}." for number in range(40)]})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table, max_chunksize=10)
    _docx(tmp_path / "a.docx", _paragraph("One.") * 20)
    (tmp_path / "a.warc").write_bytes(b"".join(records))
    (tmp_path / "b.warc.gz").write_bytes(b"".join(map(gzip.compress, records)))
    (tmp_path / "a.mbox").write_bytes(MAILS)
    (tmp_path / "a.pdf").write_bytes(pdf.document("T", ["A page of text."] * 3))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "One."}\n' * 100))
    (tmp_path / "a.json").write_bytes(b'[{"text": "One."}, {"text": "Two."}]')
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for _ in range(30):
            data = bytearray(whole[: chance.choice((len(whole), chance.randrange(1, len(whole))))])
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            path.write_bytes(data)
            reasons = [item.reason for item in readers.read(path) if isinstance(item, Skipped)]
            assert not [reason for reason in reasons if "failed" in reason or "cannot be opened" in reason], path
