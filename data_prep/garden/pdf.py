"""Write a PDF of running text: A4, Helvetica, one column, page numbers.

No images, no compression, the same bytes every time.

Source: ISO 32000-1, 7.5 (file structure) and 9.4 (text objects). Text must be in Latin-1.
"""

from __future__ import annotations

import textwrap

WIDTH, HEIGHT, MARGIN, SIZE, LEADING = 595, 842, 64, 11, 15
COLUMNS = 84
LINES = (HEIGHT - 2 * MARGIN) // LEADING
BODY = LINES - 3  # the last lines of a page are for the footer


def document(title: str, paragraphs: list[str], footer: str = "page {page}") -> bytes:
    """Return the bytes of a PDF with the title and the paragraphs; each page ends with `footer`."""
    return _file(_objects(title, _pages([title, *paragraphs], footer)))


def _pages(paragraphs: list[str], footer: str) -> list[list[str]]:
    """Return the lines of each page; a paragraph stays on one page as long as it fits on any."""
    pages: list[list[str]] = [[]]
    for paragraph in paragraphs:
        lines = textwrap.wrap(paragraph, COLUMNS)
        while lines:
            if pages[-1] and len(pages[-1]) + len(lines) > BODY:
                pages.append([])
            pages[-1] += [*lines[:BODY], ""]
            lines = lines[BODY:]
    filled = [lines + [""] * (LINES - 1 - len(lines)) for lines in pages]
    return [[*lines, footer.format(page=number)] for number, lines in enumerate(filled, start=1)]


def _objects(title: str, pages: list[list[str]]) -> list[bytes]:
    """Return the bodies of objects 1, 2, ...: catalog, page tree, font, information, then page and content by turns."""
    first = 5
    kids = " ".join(f"{first + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode("ascii"),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Title (" + _escaped(title) + b") >>",
    ]
    for index, lines in enumerate(pages):
        content = _content(lines)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] "
            f"/Resources << /Font << /F1 3 0 R >> >> /Contents {first + 2 * index + 1} 0 R >>".encode("ascii")
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n".encode("ascii") + content + b"\nendstream")
    return objects


def _content(lines: list[str]) -> bytes:
    start = f"BT /F1 {SIZE} Tf {LEADING} TL {MARGIN} {HEIGHT - MARGIN} Td".encode("ascii")
    return b"\n".join([start, *(b"(" + _escaped(line) + b") Tj T*" for line in lines), b"ET"])


def _escaped(text: str) -> bytes:
    for character in ("\\", "(", ")"):
        text = text.replace(character, "\\" + character)
    return text.encode("latin-1")


def _file(objects: list[bytes]) -> bytes:
    """Return header, objects, cross-reference table and trailer."""
    data = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n".encode("ascii") + body + b"\nendobj\n"
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode("ascii")
    for offset in offsets:
        data += f"{offset:010} 00000 n \n".encode("ascii")
    data += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info 4 0 R >>\nstartxref\n{start}\n%%EOF\n".encode(
        "ascii"
    )
    return bytes(data)
