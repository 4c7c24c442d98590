"""WARC (ISO 28500), plain or compressed: one document for each page of a web archive; WET files are WARC too.

Read by fastwarc (424 MB a CPU second; warcio 207, on short records 100): plain text becomes documents at 190 MB, HTML
at 40, which is main-text extraction. HTML gives its main text, plain text itself, PDF its running text;
the address is the record's target, `meta.row` the record's number. Content encodings (gzip, deflate, br) and chunks are
undone within the limit for one file.

Left out without being counted: requests, metadata, repeated visits, answers other than 200, and what is no text
(pictures, fonts, scripts, style sheets, data). A page that claims to be text and gives none is counted.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.files import decoding
from data_prep.files.decoding import Unreadable
from data_prep.readers import html, pdf
from data_prep.records import Document

SUFFIXES = (".warc", ".wet")
_PAGES = ("text/html", "application/xhtml+xml")


def recognises(head: bytes) -> bool:
    """Tell WARC by its first line."""
    return re.match(rb"WARC/\d\.\d+\s*\n", head) is not None


def read(path: Path) -> Iterator[Document | Unreadable]:
    """Yield each page, and the reason for each that cannot be read."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    wanted = WarcRecordType.response | WarcRecordType.resource | WarcRecordType.conversion
    number = 0
    with path.open("rb") as stream:
        try:
            for record in ArchiveIterator(stream, record_types=wanted, func_filter=None):
                number += 1
                try:
                    document = _document(record)
                except Unreadable as error:
                    yield Unreadable(error.reason, number)
                    continue
                if document:
                    document.url = document.url if not record.headers.get("WARC-Target-URI") else _address(record)
                    document.meta |= {"date": record.headers.get("WARC-Date") or "", "row": number}
                    yield document
        except (OSError, zlib.error, ValueError) as error:
            raise Unreadable("damaged WARC file", number + 1) from error


def _address(record: Any) -> str:
    return str(record.headers.get("WARC-Target-URI")).strip("<>")


def _document(record: Any) -> Document | None:
    """Return a record's document, None for one that is no document."""
    http = record.http_headers
    kind = ((record.http_content_type if http else record.headers.get("Content-Type")) or "").partition(";")[0].strip()
    if http and http.status_code != 200:
        return None
    if kind not in (*_PAGES, "text/plain", "application/pdf"):
        if not kind and not record.content_length:
            raise Unreadable("a record that ends too early")
        return None
    data = _payload(record, http)
    if kind == "application/pdf":
        return pdf.document(data)
    if kind in _PAGES:
        return html.page(data, record.http_charset or "")
    text = html.decoded(data, record.http_charset or "")
    if not text.strip():
        raise Unreadable("empty file")
    return Document("", text, "")


def _payload(record: Any, http: Any) -> bytes:
    """Return a record's content, unpacked.

    Raises: Unreadable for one that is cut off, damaged or too big.
    """
    size, limit = record.content_length, decoding.MAX_BYTES
    if size > limit:
        raise Unreadable(f"more than {limit // 2**20} MiB in one file")
    data: bytes = record.reader.read(size)
    if len(data) < size:
        raise Unreadable("a record that ends too early")
    if http and "chunked" in (http.get("Transfer-Encoding") or "").lower():
        data = _joined(data)
    packing = (http.get("Content-Encoding") or "").strip().lower() if http else ""
    return _unpacked(data, packing, limit) if packing not in ("", "identity") else data


def _joined(data: bytes) -> bytes:
    """Return chunks (RFC 9112, 7.1) as one; crawlers also store what is said to be in chunks and is not."""
    stream, pieces = io.BytesIO(data), []
    while line := stream.readline(64):
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return data
        if not size:
            break
        pieces.append(stream.read(size))
        stream.readline(8)
    return b"".join(pieces)


def _unpacked(data: bytes, packing: str, limit: int) -> bytes:
    """Undo a content encoding; what is not packed, whatever its headers say, is returned as it is."""
    try:
        if packing in ("gzip", "x-gzip"):
            if not data.startswith(b"\x1f\x8b"):
                return data
            unpacked = zlib.decompressobj(31).decompress(data, limit + 1)
        elif packing == "deflate":
            unpacked = zlib.decompressobj(15 if data[:1] == b"\x78" else -15).decompress(data, limit + 1)
        elif packing == "br":
            unpacked = _brotli(data, limit + 1)
        else:
            raise Unreadable(f"content encoding {packing[:20]}")
    except zlib.error as error:
        raise Unreadable("damaged content encoding") from error
    if len(unpacked) > limit:
        raise Unreadable(f"more than {limit // 2**20} MiB in one file")
    return unpacked


def _brotli(data: bytes, limit: int) -> bytes:
    import brotli  # comes with fastwarc

    try:
        return bytes(brotli.Decompressor().process(data, output_buffer_limit=limit))
    except brotli.error as error:
        raise Unreadable("damaged content encoding") from error
